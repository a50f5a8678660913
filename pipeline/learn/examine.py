"""What a trained detector is worth on pictures nobody trained on, and which thresholds it should have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.features import Pictures
from pipeline.learn.scenes import Scene
from pipeline.models.detections import Box, Found
from pipeline.models.detector import Detector
from pipeline.models.session import Session
from pipeline.models.spec import DetectorOutput, ModelSpec

_BATCH = 16
LOWEST_SCORE = 0.01
"""For measuring, everything above it counts: AP looks at the whole curve, not at one threshold."""
_MOST_BOXES = 100


class BoxResult(Protocol):
    """What a measurement answers; `evaluation.detection.DetectionResult` is one."""

    ap50: float | None
    ap50_95: float | None
    mean_ap50: float | None

    @property
    def main_object_hit(self) -> Any:
        """With `value`, `ci_low`, `ci_high`, `n`."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Return all of it for JSON."""


MeasureBoxes = Callable[[Sequence[tuple[Any, Sequence[str]]], Sequence[tuple[Any, Any, Sequence[str]]]], BoxResult]
"""(boxes, labels) of each picture and (boxes, scores, labels) found in it to a result; handed in by the root."""


class Seen(NamedTuple):
    """One picture, with what is there and what was found."""

    scene: Scene
    found: Found


def look(detector: Detector, pictures: Pictures, *, on_done: Callable[[int], None]) -> list[Seen]:
    """Run a detector over a set."""
    seen: list[Seen] = []
    for start in range(0, len(pictures), _BATCH):
        scenes = [pictures[number] for number in range(start, min(start + _BATCH, len(pictures)))]
        answers = detector.detect_images([scene.image for scene in scenes])
        seen += [Seen(scene, found) for scene, found in zip(scenes, answers, strict=True)]
        on_done(len(scenes))
    return seen


def generous(spec: ModelSpec, session: Session) -> Detector:
    """Return the detector with all it can say: the lowest threshold, the most boxes."""
    assert isinstance(spec.output, DetectorOutput)
    output = spec.output.model_copy(update={"score_thr": LOWEST_SCORE, "floor": LOWEST_SCORE, "topk": _MOST_BOXES})
    return Detector(spec.model_copy(update={"output": output}), session)


def measure(seen: Sequence[Seen], classes: Sequence[str], measure_boxes: MeasureBoxes) -> BoxResult:
    """Measure what was found; an object of no known class has the label "" on both sides."""
    truths = [(scene.boxes, [classes[label] if label >= 0 else "" for label in scene.labels]) for scene, _ in seen]
    found = [
        (
            np.array([one.box for one in answer.objects], np.float64).reshape(-1, 4),
            np.array([one.score for one in answer.objects]),
            [one.label for one in answer.objects],
        )
        for _, answer in seen
    ]
    return measure_boxes(truths, found)


def best_threshold(seen: Sequence[Seen]) -> tuple[float, float]:
    """Return a threshold with the best F1 at IoU .5, and that F1; (0.5, 0) where nothing matches.

    A found box counts once, for the true box of the greatest IoU that no surer one took. Of equal F1 the highest
    threshold; it lies midway between the last box that counts and the next (or the lowest score looked at), rounded
    to as few digits, from three, as still part them.
    """
    scores: list[float] = []
    right: list[bool] = []
    for scene, answer in seen:
        scores += [one.score for one in answer.objects]
        right += matches(scene, answer)
    total = sum(len(scene.boxes) for scene, _ in seen)
    if not any(right):
        return 0.5, 0.0
    order = np.argsort(-np.array(scores), kind="stable")
    falling = np.array(scores)[order]
    f1 = 2 * np.cumsum(np.array(right)[order]) / (np.arange(1, len(order) + 1) + total)
    f1[:-1][falling[:-1] == falling[1:]] = -1  # no threshold parts equal scores
    best = int(np.argmax(f1))
    following = float(falling[best + 1]) if best + 1 < len(falling) else min(LOWEST_SCORE, float(falling[best]) / 2)
    return _between(following, float(falling[best])), float(f1[best])


def _between(low: float, high: float) -> float:
    """Return the middle, rounded to as few digits, from three, as keep it in (low, high]."""
    middle = (low + high) / 2
    return next((short for digits in range(3, 16) if low < (short := round(middle, digits)) <= high), high)


def matches(scene: Scene, answer: Found) -> list[bool]:
    """Tell of each found box whether it is a true one at IoU .5; the surest box has the first choice."""
    free = [Box(*(round(float(side)) for side in box)) for box in scene.boxes]
    verdicts = []
    for one in answer.objects:
        overlaps = [one.box.iou(box) for box in free]
        best = max(range(len(free)), key=overlaps.__getitem__, default=None)
        verdicts.append(best is not None and overlaps[best] >= 0.5)
        if best is not None and overlaps[best] >= 0.5:
            del free[best]
    return verdicts


def best_temperature(seen: Sequence[Seen]) -> float:
    """Return the temperature in 0.5 ... 5 with the least log loss of matched boxes' classes; 1 where there are none.

    The detector that looked had temperature 1: its class scores are softmax values, whose logarithms are logits.
    """
    logits: list[NDArray[np.float64]] = []
    labels: list[int] = []
    for scene, answer in seen:
        for one in answer.objects:
            overlaps = [
                one.box.iou(Box(*(round(float(side)) for side in box))) if label >= 0 else 0.0
                for box, label in zip(scene.boxes, scene.labels, strict=True)
            ]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best >= 0 and overlaps[best] >= 0.5 and one.class_scores:
                logits.append(np.log(np.maximum(np.array(one.class_scores, np.float64), 1e-12)))
                labels.append(int(scene.labels[best]))
    if not logits:
        return 1.0
    rows, places = np.stack(logits), np.array(labels)
    candidates = np.round(np.arange(0.5, 5.01, 0.05), 2)
    return float(min(candidates, key=lambda temperature: _log_loss(rows / temperature, places)))


def _log_loss(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(labels)), labels].mean())
