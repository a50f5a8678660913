"""The model folder: its graph answers as torch does, equal weights give equal bytes, and it is in place or is not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.learn import artifact
from pipeline.learn.artifact import Parity, compare, put_in_place, write_detector
from pipeline.learn.backbone import LEVELS, backbone_model, input_spec
from pipeline.learn.network import answering, make_head
from pipeline.models.catalog import open_detector
from pipeline.models.detector import Detector
from pipeline.models.session import OrtSession
from pipeline.models.spec import ARTIFACT_NAME, SPEC_NAME, DetectorOutput, InputSpec, ModelSpec, load_spec
from reporting.errors import DataError

train = [pytest.mark.slow, pytest.mark.train, pytest.mark.usefixtures("training_packages")]
FACTS: dict[str, Any] = {
    "name": "random",
    "version": 3,
    "licence": "Apache-2.0",
    "train_planid": None,
    "data_digest": None,
    "code_commit": None,
}


def folder_of(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    for name in (ARTIFACT_NAME, SPEC_NAME):
        (path / name).write_text(text)
    return path


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def whole(name: str, text: str) -> dict[str, str]:
    return {f"{name}/{ARTIFACT_NAME}": text, f"{name}/{SPEC_NAME}": text}


def test_a_finished_folder_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    made = folder_of(tmp_path / "made", "new")
    put_in_place(made, tmp_path / "out/sub/tiny")
    assert content(tmp_path / "out/sub") == whole("tiny", "new")
    folder_of(tmp_path / "old", "newer")
    put_in_place(tmp_path / "old", tmp_path / "out/sub/tiny")
    assert content(tmp_path / "out/sub") == whole("tiny", "newer")
    assert content(made) == {ARTIFACT_NAME: "new", SPEC_NAME: "new"}


@pytest.mark.parametrize("replaces", [False, True])
def test_what_a_killed_run_left_beside_the_folder_goes(tmp_path: Path, replaces: bool) -> None:
    made = folder_of(tmp_path / "made", "new")
    if replaces:
        folder_of(tmp_path / "out/tiny", "last")
    folder_of(tmp_path / "out/.tiny.part/sub", "half")
    folder_of(tmp_path / "out/.tiny.old", "before")
    put_in_place(made, tmp_path / "out/tiny")
    assert content(tmp_path / "out") == whole("tiny", "new")


@pytest.mark.parametrize("existing", [".tiny.old", "tiny"])
def test_a_copy_that_fails_leaves_the_folder_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: str
) -> None:
    """A full disk; `.tiny.old` is all there is where an earlier run was killed between its two renames."""
    made = folder_of(tmp_path / "made", "new")
    folder_of(tmp_path / "out" / existing, "old")

    def full(source: Path, target: Path) -> None:
        target.mkdir()
        (target / ARTIFACT_NAME).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(OSError, match="No space"):
        put_in_place(made, tmp_path / "out/tiny")
    assert {name: text for name, text in content(tmp_path / "out").items() if ".part" not in name} == whole(
        existing, "old"
    )
    monkeypatch.undo()
    put_in_place(made, tmp_path / "out/tiny")
    assert content(tmp_path / "out") == whole("tiny", "new")


@pytest.fixture(scope="module")
def backbone(training_packages: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InputSpec]:
    import onnx

    model, embedder = backbone_model()
    path = tmp_path_factory.mktemp("backbone") / "backbone.onnx"
    onnx.save(model, str(path))
    return path, input_spec(128, 96, embedder)


def head_of(classes: int, maps: int = 1) -> Any:
    """A head with random weights, whose heat is anywhere between 0 and 1."""
    import torch

    torch.manual_seed(9)
    head = make_head(channels=8, maps=maps, classes=classes).eval()
    for level in head.levels:
        torch.nn.init.normal_(level.heat.weight, 0, 0.5)
        torch.nn.init.zeros_(level.heat.bias)
    return head


def written(folder: Path, backbone: tuple[Path, InputSpec], head: Any, **output: Any) -> tuple[ModelSpec, Parity]:
    given: dict[str, Any] = {"classes": ("a", "b"), "score_thr": 0.3, "nms_iou": 0.5, "topk": 50} | output
    block = DetectorOutput(kind="detector", box="xyxy_abs_original", **given)
    return write_detector(folder, head, backbone[0], inputs=backbone[1], output=block, facts=FACTS)


class TestExport:
    """With torch."""

    pytestmark = train

    @pytest.mark.parametrize(("maps", "classes", "heat"), [(1, 2, "agnostic"), (2, 0, "per_class"), (1, 0, "agnostic")])
    def test_the_one_graph_answers_as_torch_does_on_the_backbones_maps(
        self, tmp_path: Path, backbone: tuple[Path, InputSpec], maps: int, classes: int, heat: str
    ) -> None:
        import torch

        head = head_of(classes, maps)
        labels = ("a", "b")[: max(classes, maps if maps > 1 else 0)]
        spec, parity = written(tmp_path / "m", backbone, head, heat=heat, classes=labels)
        assert max(parity) < 1e-3
        rng = np.random.default_rng(1)
        pixels = rng.normal(0, 1, (3, 3, spec.input.height, spec.input.width)).astype(np.float32)
        features = OrtSession(backbone[0]).run(pixels)
        with torch.no_grad():
            module = answering(head, width=spec.input.width, height=spec.input.height)
            expected = [part.numpy() for part in module(*(torch.from_numpy(features[level]) for level in LEVELS))]
        found = OrtSession(tmp_path / "m" / ARTIFACT_NAME).run(pixels)
        assert list(found) == (["boxes", "scores", "classes"] if classes else ["boxes", "scores"])
        # Weights are stored as float16: a peak may become none, a box moves by a fraction of a pixel.
        np.testing.assert_allclose(found["boxes"], expected[0], atol=0.5)
        both = (found["scores"] > 0) & (expected[1] > 0)
        assert both.sum() > 0.95 * max((found["scores"] > 0).sum(), (expected[1] > 0).sum())
        np.testing.assert_allclose(found["scores"][both], expected[1][both], atol=0.02)
        if classes:
            np.testing.assert_allclose(found["classes"], expected[2], atol=0.1)

    def test_equal_weights_give_equal_bytes_and_the_folder_opens(
        self, tmp_path: Path, backbone: tuple[Path, InputSpec]
    ) -> None:
        first, _ = written(tmp_path / "one", backbone, head_of(2))
        second, _ = written(tmp_path / "two", backbone, head_of(2))
        assert first == second == load_spec(tmp_path / "one")
        for name in (ARTIFACT_NAME, SPEC_NAME, "LICENSE"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        detector = open_detector(str(tmp_path / "one"))
        assert isinstance(detector, Detector)
        assert detector.version == f"random@3:{first.space_id}"
        answer = detector.detect_images([np.full((50, 70, 3), 200, np.uint8)])
        assert len(answer) == 1
        assert set(first.metrics) == {"parity_box_pixels", "parity_score", "parity_class_logit"}
        assert set(first.engine_env.versions) == {"torch", "onnx", "onnxruntime"}

    def test_another_weight_gives_another_space(self, tmp_path: Path, backbone: tuple[Path, InputSpec]) -> None:
        import torch

        head = head_of(2)
        first, _ = written(tmp_path / "one", backbone, head)
        with torch.no_grad():
            head.levels[0].heat.bias += 0.01
        second, _ = written(tmp_path / "two", backbone, head)
        assert first.space_id != second.space_id
        assert first.root_sha256 != second.root_sha256

    def test_a_head_that_the_graph_does_not_answer_for_is_seen(
        self, tmp_path: Path, backbone: tuple[Path, InputSpec]
    ) -> None:
        import torch

        head, inputs = head_of(2), backbone[1]
        module = answering(head, width=inputs.width, height=inputs.height)
        artifact._export_head(module, ("boxes", "scores", "classes"), inputs, tmp_path / "head.onnx")
        assert max(compare(module, tmp_path / "head.onnx", inputs)) < 1e-3
        with torch.no_grad():
            for level in head.levels:
                level.distance.bias += 1
            head.kind.bias += 1
        other = compare(module, tmp_path / "head.onnx", inputs)
        assert other.box_pixels > 1
        assert other.class_logit == pytest.approx(1, abs=1e-3)
        with torch.no_grad():
            head.kind.bias.fill_(float("nan"))
        assert np.isnan(compare(module, tmp_path / "head.onnx", inputs).class_logit)

    @pytest.mark.parametrize(
        "parity", [Parity(0.06, 0, 0), Parity(0, 0.002, 0), Parity(0, 0, 0.02), Parity(0, 0, float("nan"))]
    )
    def test_a_graph_that_differs_from_torch_is_not_written(
        self,
        tmp_path: Path,
        backbone: tuple[Path, InputSpec],
        monkeypatch: pytest.MonkeyPatch,
        parity: Parity,
    ) -> None:
        monkeypatch.setattr(artifact, "compare", lambda *_: parity)
        with pytest.raises(DataError, match=r"export of random: ONNX Runtime differs from torch by .*nothing written"):
            written(tmp_path / "m", backbone, head_of(2))
        assert not (tmp_path / "m").exists()
