"""The cut backbone: the embedder's own maps, at any size, and blind to where in the picture a thing is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.learn import backbone
from pipeline.learn.backbone import CHANNELS, LEVELS, STRIDES, backbone_model, input_spec, need
from pipeline.models.catalog import DEFAULT_EMBEDDER, resolve
from pipeline.models.session import OrtSession
from pipeline.models.spec import ARTIFACT_NAME
from reporting.errors import ConfigError, DataError

train = [pytest.mark.slow, pytest.mark.train, pytest.mark.usefixtures("training_packages")]


@pytest.mark.parametrize("package", ["torch", "onnx", "faster_coco_eval"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"training needs {package}, .* `make train-venv`, or `pip install torch=="):
        need(package)


def test_the_input_is_the_embedders_but_the_whole_picture_on_grey() -> None:
    given = resolve(DEFAULT_EMBEDDER)[0]
    found = input_spec(512, 384, given)
    assert (found.width, found.height, found.resize, found.fill) == (512, 384, "letterbox", (127, 127, 127))
    kept = {"mean", "std", "color", "layout", "dtype"}
    assert found.model_dump(include=kept) == given.input.model_dump(include=kept)


@pytest.fixture(scope="module")
def session(training_packages: None, tmp_path_factory: pytest.TempPathFactory) -> OrtSession:
    import onnx

    path = tmp_path_factory.mktemp("backbone") / "backbone.onnx"
    onnx.save(backbone_model()[0], str(path))
    return OrtSession(path)


def noise(width: int, height: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, (2, 3, height, width)).astype(np.float32)


class TestCut:
    """What the graph answers."""

    pytestmark = train

    @pytest.mark.parametrize(("width", "height"), [(256, 256), (512, 384), (64, 96)])
    def test_every_level_has_its_stride_and_channels_at_any_multiple_of_32(
        self, session: OrtSession, width: int, height: int
    ) -> None:
        found = session.run(noise(width, height))
        assert list(found) == list(LEVELS)
        for level, channels, stride in zip(LEVELS, CHANNELS, STRIDES, strict=True):
            assert found[level].shape == (2, channels, height // stride, width // stride)
            assert np.isfinite(found[level]).all()
            assert float(found[level].std()) > 0.1

    def test_what_the_embedder_makes_of_the_last_map_is_its_own_vector(
        self, session: OrtSession, tmp_path: Path
    ) -> None:
        """The rest of the embedder's graph, run on c5, answers as the whole graph does."""
        import onnx

        spec, folder = resolve(DEFAULT_EMBEDDER)
        whole = onnx.shape_inference.infer_shapes(onnx.load(str(folder / ARTIFACT_NAME)), strict_mode=True)
        last = backbone._last_of_each_resolution(whole, folder)[-1]
        rest = onnx.utils.Extractor(whole).extract_model([last], [whole.graph.output[0].name])
        rest.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
        onnx.save(rest, str(tmp_path / "rest.onnx"))
        pixels = noise(spec.input.width, spec.input.height)
        (expected,) = OrtSession(folder / ARTIFACT_NAME).run(pixels).values()
        (found,) = OrtSession(tmp_path / "rest.onnx").run(session.run(pixels)["c5"]).values()
        np.testing.assert_allclose(found, expected, atol=1e-4)

    def test_a_shift_by_a_cell_shifts_every_map(self, session: OrtSession) -> None:
        """By 32 px; far enough from the borders, which pad with zeros."""
        picture = np.zeros((1, 3, 896, 896), np.float32)
        patch = np.random.default_rng(2).normal(0, 1, (1, 3, 96, 96)).astype(np.float32)
        moved = picture.copy()
        picture[:, :, 384:480, 384:480] = patch
        moved[:, :, 384:480, 416:512] = patch
        there, here = session.run(picture), session.run(moved)
        for level, stride in zip(LEVELS, STRIDES, strict=True):
            cells, first, last = 32 // stride, 384 // stride, 480 // stride
            a = there[level][:, :, first:last, first:last]
            b = here[level][:, :, first:last, first + cells : last + cells]
            scale = float(np.abs(a).max())
            assert np.abs(a - b).max() < 1e-4 * scale, level
            unmoved = here[level][:, :, first:last, first:last]
            assert np.abs(a - unmoved).max() > 0.3 * scale, level

    def test_equal_graphs_have_equal_bytes(self) -> None:
        assert backbone_model()[0].SerializeToString() == backbone_model()[0].SerializeToString()

    def test_a_graph_without_such_maps_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backbone, "CHANNELS", (24, 40, 112, 321))
        with pytest.raises(DataError, match=r"its graph has the maps \['c2', 'c3', 'c4'\], expected"):
            backbone_model()
