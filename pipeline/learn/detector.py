"""`learn detector` from a configuration to a model folder: features, training, thresholds, measurement, report."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from pipeline.learn.artifact import put_in_place, write_detector
from pipeline.learn.backbone import backbone_model, input_spec, need
from pipeline.learn.config import DetectorConfig, ScenesSource
from pipeline.learn.examine import (
    BoxResult,
    MeasureBoxes,
    Seen,
    best_temperature,
    best_threshold,
    generous,
    look,
    measure,
)
from pipeline.learn.features import CHUNK, Chunk, Pictures, compute, read_all
from pipeline.learn.report import write_report
from pipeline.learn.stages import Stages
from pipeline.learn.training import Losses, Trained, train
from pipeline.models.detector import Detector
from pipeline.models.session import OrtSession
from pipeline.models.spec import ARTIFACT_NAME, DetectorOutput, InputSpec, ModelSpec, load_spec, sha256_of, write_spec
from reporting.errors import ConfigError, StoreError


class Learned(BaseModel):
    """What a training run came to.

    Attributes:
        ap50: Class-agnostic, at IoU .5; None where the test holds no object.
        main_object_hit: Share of test pictures whose surest box has IoU >= .5 with a true one.
        seconds: Wall time of this call; parts that an earlier call had done are not in it.
        artifact: The model folder.
        space_id: Of the detector: weights, input and thresholds.
        report: The page to look at.
        resumed_epochs: Epochs that an earlier call had done.
        result: The whole measurement.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ap50: float | None
    mean_ap50: float | None
    main_object_hit: float
    seconds: float
    artifact: str
    space_id: str
    report: str
    resumed_epochs: int
    result: dict[str, Any]


class Sets(NamedTuple):
    """Pictures to train on, to fit thresholds on (none: the configuration names them), and to measure on."""

    train: Pictures
    tune: Pictures | None
    test: Pictures
    classes: tuple[str, ...]


def learn_detector(
    config: DetectorConfig, *, out: Path, work: Path, workers: int, measure_boxes: MeasureBoxes, stages: Stages
) -> Learned:
    """Train, export and measure a detector.

    Args:
        config: What to train.
        out: Folder of model folders; the model's own is replaced when it is finished.
        work: Folder for features and checkpoints; what another configuration left there is not used.
        workers: Processes that compute features.
        measure_boxes: Of the evaluation folder, handed in by the root.
        stages: Shows progress.

    Raises:
        ConfigError: a package of the extra `train` is missing, or the configuration lacks a folder.
        DataError: pictures are missing or damaged, training diverged, or the export is not what was trained.
        StoreError: a folder cannot be made, or a worker process was ended from outside.
    """
    started = time.monotonic()
    torch = need("torch")
    for package in ("onnx", "faster_coco_eval"):
        need(package)  # now, not when the training is over
    torch.set_num_threads(workers)
    _make_folders(out, work)
    sets = picture_sets(config)
    backbone, inputs = _backbone(config, work)
    trained, resumed = _trained(config, sets, backbone, inputs, work, workers, stages)
    candidate = work / "candidate" / config.name
    facts, output = _facts(config), _output(config, sets)
    spec, _ = write_detector(candidate, trained.head, backbone, inputs=inputs, output=output, facts=facts)
    spec = _with_thresholds(config, spec, candidate, sets, stages)
    result, seen = _measured(spec, candidate, sets, measure_boxes, stages)
    spec = spec.model_copy(update={"metrics": spec.metrics | _numbers(result)})
    write_spec(spec, candidate)
    Detector(load_spec(candidate), OrtSession(candidate / ARTIFACT_NAME))  # spec and artifact must belong together
    put_in_place(candidate, out / config.name)
    report = write_report(
        work / "report.html", config=config, spec=spec, result=result, seen=seen, history=trained.history
    )
    return Learned(
        ap50=result.ap50,
        mean_ap50=result.mean_ap50,
        main_object_hit=result.main_object_hit.value,
        seconds=round(time.monotonic() - started, 1),
        artifact=str(out / config.name),
        space_id=spec.space_id,
        report=str(report),
        resumed_epochs=resumed,
        result=result.model_dump(mode="json"),
    )


def _make_folders(out: Path, work: Path) -> None:
    for folder in (out, work):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: cannot be made: {error.strerror}; name another folder") from error


def _trained(
    config: DetectorConfig,
    sets: Sets,
    backbone: Path,
    inputs: InputSpec,
    work: Path,
    workers: int,
    stages: Stages,
) -> tuple[Trained, int]:
    """Return the trained head, and how many epochs an earlier call had done."""
    chunk, features = _features(config, sets, backbone, inputs, work, workers, stages)
    maps, classes = (len(sets.classes), 0) if _per_class(config) else (1, len(sets.classes))
    settings = config.training
    fresh: list[Losses] = []

    def told(losses: Losses) -> None:
        fresh.append(losses)
        stages.say(_told(losses))

    with stages.stage("training", settings.epochs * max(1, len(chunk.boxes) // settings.batch)) as step:
        trained = train(
            chunk,
            settings,
            maps=maps,
            classes=classes,
            seed=config.seed,
            checkpoint=work / f"{_digest(settings.model_dump_json(), features)}.checkpoint",
            on_epoch=told,
            on_step=lambda: step(1),
        )
    return trained, len(trained.history) - len(fresh)


def _per_class(config: DetectorConfig) -> bool:
    """Tell whether each class has a heat map: for few classes of many, overlapping objects."""
    return not isinstance(config.source, ScenesSource)


def _output(config: DetectorConfig, sets: Sets) -> DetectorOutput:
    return DetectorOutput(
        kind="detector",
        classes=sets.classes,
        box="xyxy_abs_original",
        score_thr=0.5 if config.answer.score_thr is None else config.answer.score_thr,
        nms_iou=config.answer.nms_iou,
        topk=config.answer.topk,
        heat="per_class" if _per_class(config) else "agnostic",
        floor=config.answer.floor,
        whole_ratio=config.answer.whole_ratio,
    )


def picture_sets(config: DetectorConfig) -> Sets:
    """Open the pictures that a configuration names."""
    if isinstance(config.source, ScenesSource):
        from pipeline.learn.scenes import scene_sets

        scenes = scene_sets(config.source, config.seed)
        return Sets(scenes.train, scenes.tune, scenes.test, scenes.train.classes)
    from pipeline.learn.voc import voc_sets

    if config.answer.score_thr is None:
        raise ConfigError("answer.score_thr: not given; a VOC source has no third part to choose it on, so name it")
    train_set, test_set = voc_sets(config.source, min_side=max(512, config.width, config.height))
    return Sets(train_set, None, test_set, train_set.classes)


def _backbone(config: DetectorConfig, work: Path) -> tuple[Path, InputSpec]:
    onnx = need("onnx")
    model, embedder = backbone_model()
    path = work / "backbone.onnx"
    onnx.save(model, str(path))
    return path, input_spec(config.width, config.height, embedder)


def _features(
    config: DetectorConfig, sets: Sets, backbone: Path, inputs: InputSpec, work: Path, workers: int, stages: Stages
) -> tuple[Chunk, str]:
    """Return the training pictures' features, and a digest of all they come from."""
    asked = config.source.model_dump_json(include={"kind", "train", "looks", "drawn", "altered", "classes", "flips"})
    same = _digest(
        asked, sets.train.identity(), str(config.seed), inputs.model_dump_json(), sha256_of(backbone), str(CHUNK)
    )
    folder = work / f"features-{same}"
    for old in work.glob("features-*"):
        if old != folder:
            shutil.rmtree(old)  # gigabytes that no configuration here asks for any more
    with stages.stage("pictures through the backbone", len(sets.train)) as step:
        paths = compute(sets.train, backbone, inputs, folder, workers=workers, on_done=step)
    return read_all(paths), same


def _with_thresholds(config: DetectorConfig, spec: ModelSpec, folder: Path, sets: Sets, stages: Stages) -> ModelSpec:
    """Return the spec with the threshold and the temperature that fit the items nobody trained on."""
    if sets.tune is None:
        return spec
    assert isinstance(spec.output, DetectorOutput)
    with stages.stage("thresholds", len(sets.tune)) as step:
        seen = look(generous(spec, OrtSession(folder / ARTIFACT_NAME)), sets.tune, on_done=step)
    threshold, f1 = best_threshold(seen)
    chosen = {"temperature": best_temperature(seen)}
    if config.answer.score_thr is None:
        chosen["score_thr"] = threshold
    output = spec.output.model_copy(update=chosen)
    return spec.model_copy(update={"output": output, "metrics": spec.metrics | {"tune_f1": f1}})


def _measured(
    spec: ModelSpec, folder: Path, sets: Sets, measure_boxes: MeasureBoxes, stages: Stages
) -> tuple[BoxResult, Sequence[Seen]]:
    with stages.stage("measuring", len(sets.test)) as step:
        seen = look(generous(spec, OrtSession(folder / ARTIFACT_NAME)), sets.test, on_done=step)
    return measure(seen, sets.classes, measure_boxes), seen


def _numbers(result: BoxResult) -> dict[str, float]:
    names = {"ap50": result.ap50, "ap50_95": result.ap50_95, "mean_ap50": result.mean_ap50}
    found = {name: float(value) for name, value in names.items() if value is not None}
    return found | {"main_object_hit": float(result.main_object_hit.value)}


def _facts(config: DetectorConfig) -> dict[str, Any]:
    source = config.source
    if isinstance(source, ScenesSource):
        text = f"{source.train} scenes of the sample pack" + (
            ", the Grocery Store Dataset's catalogue pictures and train photos" if source.photos else ""
        )
    else:
        text = f"the list {source.train} of {source.folder.name if source.folder else '?'}"
    return {
        "name": config.name,
        "version": config.version,
        "licence": config.licence,
        "source": f"funnelgate learn detector: head over frozen EfficientNet-Lite0, {text}",
        "train_planid": None,
        "data_digest": _digest(source.model_dump_json(exclude={"photos", "folder"}), str(config.seed)),
        "code_commit": None,
    }


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _told(losses: Losses) -> str:
    return f"epoch {losses.epoch + 1}: heat {losses.heat:.3f}, box {losses.box:.3f}, class {losses.kind:.3f}"
