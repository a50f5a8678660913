"""Training: stopped or not it ends with the same weights, and on a few scenes it learns them by heart."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funnelgate
from pipeline.learn.artifact import write_detector
from pipeline.learn.backbone import CHANNELS, LEVELS, STRIDES, backbone_model, input_spec
from pipeline.learn.config import ScenesSource, Training
from pipeline.learn.examine import generous, look, measure
from pipeline.learn.features import Chunk, compute, read_all
from pipeline.learn.scenes import scene_sets
from pipeline.learn.training import Losses, Trained, train
from pipeline.models.session import OrtSession
from pipeline.models.spec import ARTIFACT_NAME, DetectorOutput
from reporting.errors import DataError

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.usefixtures("training_packages")]
SETTINGS = Training(epochs=4, batch=4, channels=8)


@pytest.fixture(scope="module")
def chunk() -> Chunk:
    """Noise for the features of ten pictures of 64 x 64 px, each with two boxes."""
    rng = np.random.default_rng(3)
    maps = {
        level: rng.normal(0, 1, (10, channels, 64 // stride, 64 // stride)).astype(np.float16)
        for level, channels, stride in zip(LEVELS, CHANNELS, STRIDES, strict=True)
    }
    boxes = [np.array([[2, 3, 30, 40], [33, 30, 60, 63]], np.float32) + n % 3 for n in range(10)]
    return Chunk(maps, boxes, [np.array([n % 2, -1]) for n in range(10)])


def trained(chunk: Chunk, checkpoint: Path, settings: Training = SETTINGS, **changes: Any) -> Trained:
    given: dict[str, Any] = {"maps": 1, "classes": 2, "seed": 7, "on_epoch": lambda _: None} | changes
    return train(chunk, settings, checkpoint=checkpoint, **given)


def weights(found: Trained) -> str:
    content = b"".join(value.numpy().tobytes() for value in found.head.state_dict().values())
    return hashlib.sha256(content).hexdigest()


class Stopped(Exception):
    """The run is ended from outside."""


def test_a_stopped_training_goes_on_and_ends_with_the_same_weights(chunk: Chunk, tmp_path: Path) -> None:
    whole = trained(chunk, tmp_path / "whole")
    told: list[int] = []

    def stop(losses: Losses) -> None:
        told.append(losses.epoch)
        if losses.epoch == 1:
            raise Stopped

    with pytest.raises(Stopped):
        trained(chunk, tmp_path / "stopped", on_epoch=stop)
    found = trained(chunk, tmp_path / "stopped", on_epoch=lambda losses: told.append(losses.epoch))
    assert told == [0, 1, 2, 3]
    assert weights(found) == weights(whole)
    assert found.history == whole.history
    again = trained(chunk, tmp_path / "stopped", on_epoch=stop)  # nothing is left to do
    assert weights(again) == weights(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped", "whole"]


def test_another_seed_gives_other_weights(chunk: Chunk, tmp_path: Path) -> None:
    short = SETTINGS.model_copy(update={"epochs": 1})
    found = [weights(trained(chunk, tmp_path / str(n), short, seed=seed)) for n, seed in enumerate((7, 8, 7))]
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize("epochs", [1, 2, 5, 6])
def test_any_number_of_steps_has_a_schedule(chunk: Chunk, tmp_path: Path, epochs: int) -> None:
    """A batch of more pictures than there are makes one step an epoch."""
    steps: list[int] = []
    settings = SETTINGS.model_copy(update={"epochs": epochs, "batch": 32})
    found = trained(chunk, tmp_path / "c", settings, on_step=lambda: steps.append(1))
    assert len(steps) == len(found.history) == epochs


@pytest.mark.parametrize("content", ["other", b"", b"no checkpoint", "cut"])
def test_a_checkpoint_of_something_else_is_refused_with_the_remedy(
    chunk: Chunk, tmp_path: Path, content: str | bytes
) -> None:
    path = tmp_path / "c"
    other = SETTINGS.model_copy(update={"epochs": 1, "channels": 16 if content == "other" else 8})
    trained(chunk, path, other)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"/c: not a checkpoint of this training: (.|\n)*; delete it to begin anew"):
        trained(chunk, path, SETTINGS.model_copy(update={"epochs": 1}))


def test_a_loss_that_is_no_number_is_refused_at_once(chunk: Chunk, tmp_path: Path) -> None:
    broken = chunk._replace(maps=chunk.maps | {"c3": chunk.maps["c3"] * np.float16(np.inf)})
    with pytest.raises(DataError, match=r"the loss of epoch 0, step 0 is nan; lower learning_rate"):
        trained(broken, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_pictures_without_boxes_or_labels_are_trained_on_too(chunk: Chunk, tmp_path: Path) -> None:
    none = [np.zeros((0, 4), np.float32)] * 10
    found = trained(chunk._replace(boxes=none, labels=[np.zeros(0, np.int64)] * 10), tmp_path / "c")
    assert found.history[-1].heat < found.history[0].heat
    assert (found.history[0].box, found.history[0].kind) == (0, 0)


def test_it_learns_a_few_scenes_by_heart(tmp_path: Path) -> None:
    """Thirty epochs on eight scenes; measured through the exported model, as everybody runs it."""
    import onnx

    sets = scene_sets(ScenesSource(kind="scenes", drawn=0, altered=0, train=8, test=8, looks=("noto",)), seed=11)
    model, embedder = backbone_model()
    onnx.save(model, str(tmp_path / "backbone.onnx"))
    inputs = input_spec(256, 256, embedder)
    paths = compute(sets.train, tmp_path / "backbone.onnx", inputs, tmp_path / "f", workers=1, on_done=lambda _: None)
    found = trained(
        read_all(paths),
        tmp_path / "c",
        Training(epochs=30, batch=1, learning_rate=4e-3),
        classes=len(sets.train.classes),
    )
    output = DetectorOutput(
        kind="detector", classes=sets.train.classes, box="xyxy_abs_original", score_thr=0.3, nms_iou=0.5, topk=50
    )
    facts = {"name": "by-heart", "version": 1, "licence": "Apache-2.0"}
    facts |= dict.fromkeys(("train_planid", "data_digest", "code_commit"))
    spec, _ = write_detector(
        tmp_path / "model",
        found.head,
        tmp_path / "backbone.onnx",
        inputs=inputs,
        output=output,
        facts=facts,
    )
    detector = generous(spec, OrtSession(tmp_path / "model" / ARTIFACT_NAME))
    services = funnelgate.Services()
    result: Any = measure(
        look(detector, sets.train, on_done=lambda _: None), sets.train.classes, services.measure_boxes
    )
    assert result.ap50 > 0.9
    assert result.main_object_and_category_hit.value >= 7 / 8  # 8/8 or 7/8: processors round differently
    unseen: Any = measure(
        look(detector, replace(sets.train, seed=12), on_done=lambda _: None), sets.train.classes, services.measure_boxes
    )
    assert unseen.ap50 < result.ap50  # it is these scenes that it knows
