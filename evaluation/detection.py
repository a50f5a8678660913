"""Boxes against the truth: AP50, AP50:95, how often the main object is hit, and the recall of the best boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from evaluation.average_precision import Boxes, average_precisions
from evaluation.result import IntervalKind, MetricValue
from evaluation.stats import clustered_interval, wilson_interval
from reporting.errors import DataError

Bools = npt.NDArray[np.bool_]


class Truth(NamedTuple):
    """What a picture shows.

    Attributes:
        boxes: (n, 4) x0, y0, x1, y1 in pixels, x0 < x1 and y0 < y1; [] for a picture of nothing.
        labels: n classes; all "" where there are none.
    """

    boxes: npt.ArrayLike
    labels: Sequence[str]


class Found(NamedTuple):
    """What a detector found in it.

    Attributes:
        boxes: (m, 4) as in `Truth`; a box without area (x0 = x1) is allowed and never hits.
        scores: (m,) finite, in any order; the greater is the surer. Equal ones rank in the order given.
        labels: m classes; all "" where the detector knows none.
    """

    boxes: npt.ArrayLike
    scores: npt.ArrayLike
    labels: Sequence[str]


class ClassPrecision(BaseModel):
    """Average precision of one class.

    Attributes:
        label: A class of the truth.
        truth_count: Its true boxes, >= 1.
        found_count: Boxes found that claim it.
        ap50: At IoU .5, in [0, 1].
        ap50_95: Mean over IoU .5, .55 ... .95, in [0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    truth_count: int = Field(ge=1)
    found_count: int = Field(ge=0)
    ap50: float = Field(ge=0, le=1)
    ap50_95: float = Field(ge=0, le=1)


class DetectionResult(BaseModel):
    """What a detector is worth on labelled pictures.

    Attributes:
        picture_count: Pictures.
        truth_count: True boxes.
        found_count: Boxes found, all of them.
        ap50: At IoU .5 with every class taken for the same one; None without a true box: there was nothing to find.
        ap50_95: Likewise, mean over IoU .5 to .95.
        mean_ap50: Mean of the classes' ap50, whatever their sizes; None without a true box, 0 for a detector that
            knows no classes where the truth has some.
        mean_ap50_95: Likewise.
        classes: The classes of the truth by name. A class that was only ever found has no average precision and does
            not enter the means; its boxes count against the class-agnostic values.
        main_object_hit: Share of the pictures with a true box whose surest box overlaps one with IoU >= .5. A
            picture in which nothing was found is a miss.
        main_object_and_category_hit: The same, and the box's label is that true box's.
        recall_at_20: Share of the true boxes that a picture's 20 surest boxes find at IoU >= .5, whatever the
            class, matched as for average precision; its interval is over pictures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture_count: int = Field(ge=0)
    truth_count: int = Field(ge=0)
    found_count: int = Field(ge=0)
    ap50: float | None
    ap50_95: float | None
    mean_ap50: float | None
    mean_ap50_95: float | None
    classes: tuple[ClassPrecision, ...]
    main_object_hit: MetricValue
    main_object_and_category_hit: MetricValue
    recall_at_20: MetricValue


def measure_detection(truths: Sequence[Truth], found: Sequence[Found], *, max_boxes: int = 100) -> DetectionResult:
    """Measure a detector.

    Average precision is COCO's: 101 points of recall, greedy matching by falling score, at most `max_boxes` a picture
    (and class) looked at, computed by faster-coco-eval. Equal scores rank in the order of the pictures, then of the
    boxes as given.

    Args:
        truths: One for each picture.
        found: One for each picture, in the same order.
        max_boxes: >= 1; COCO's 100.

    Raises:
        ConfigError: faster-coco-eval is not installed.
        DataError: The lists disagree in length, or a box, score or label cannot be used; picture and box are named.
    """
    if len(truths) != len(found):
        raise DataError(f"detection: {len(found)} answers to {len(truths)} pictures; expected one for each, [] if none")
    true, answers = true_boxes(truths), found_boxes(found)
    agnostic = average_precisions(_unlabelled(true), _unlabelled(answers), max_boxes=max_boxes).get("")
    by_class = average_precisions(true, answers, max_boxes=max_boxes)
    claimed = Counter(label for one in answers for label in one.labels)
    wanted = Counter(label for one in true for label in one.labels)
    classes = tuple(
        ClassPrecision(label=label, truth_count=wanted[label], found_count=claimed[label], ap50=ap50, ap50_95=ap50_95)
        for label, (ap50, ap50_95) in sorted(by_class.items())
    )
    hits = [main_object(one, other) for one, other in zip(true, answers, strict=True) if one.labels]
    return DetectionResult(
        picture_count=len(true),
        truth_count=sum(wanted.values()),
        found_count=sum(claimed.values()),
        ap50=agnostic[0] if agnostic else None,
        ap50_95=agnostic[1] if agnostic else None,
        mean_ap50=float(np.mean([one.ap50 for one in classes])) if classes else None,
        mean_ap50_95=float(np.mean([one.ap50_95 for one in classes])) if classes else None,
        classes=classes,
        main_object_hit=_share("main_object_hit", [hit.is_hit for hit in hits]),
        main_object_and_category_hit=_share("main_object_and_category_hit", [hit.is_right for hit in hits]),
        recall_at_20=_recall(true, answers, 20),
    )


class MainObject(NamedTuple):
    """Whether a picture's surest box is an object of it.

    Attributes:
        is_hit: It overlaps a true box with IoU >= .5.
        is_right: One of the true boxes that it overlaps so has its label.
    """

    is_hit: bool
    is_right: bool


def main_object(true: Boxes, answer: Boxes) -> MainObject:
    """Judge the surest box of one picture; the first given of equal scores, a miss where there is none.

    Example:
        >>> shown = true_boxes([Truth([[0, 0, 10, 10]], ["cup"])])[0]
        >>> main_object(shown, found_boxes([Found([[0, 0, 10, 8]], [0.9], ["hat"])])[0])
        MainObject(is_hit=True, is_right=False)
    """
    if not answer.labels or not true.labels:
        return MainObject(is_hit=False, is_right=False)
    best = int(answer.scores.argmax())
    near = iou(answer.corners[best : best + 1], true.corners)[0] >= 0.5
    labels = {true.labels[at] for at in np.flatnonzero(near)}
    return MainObject(is_hit=bool(labels), is_right=answer.labels[best] in labels)


def matched(true: Boxes, answer: Boxes, *, top: int, minimum: float = 0.5) -> Bools:
    """Tell which true boxes of a picture are found, whatever the labels.

    COCO's greedy rule: by falling score (ties as given) each box takes the free true box that it overlaps most, the
    later one of equals, if its IoU is at least `minimum`.

    Args:
        true: n boxes.
        answer: m boxes.
        top: Only so many of the surest boxes count, >= 0.
        minimum: IoU in (0, 1].

    Returns:
        (n,) bool.
    """
    taken: Bools = np.zeros(len(true.labels), dtype=np.bool_)
    overlaps = iou(answer.corners, true.corners)
    for box in np.argsort(-answer.scores, kind="stable")[:top]:
        free = np.where(taken, -1.0, overlaps[box])
        if len(free) and free.max() >= minimum:
            taken[len(free) - 1 - int(free[::-1].argmax())] = True
    return taken


def iou(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return intersection over union of every pair, (n, m) in [0, 1]; 0 with a box that has no area.

    Args:
        first: (n, 4) x0, y0, x1, y1.
        second: (m, 4), likewise.

    Example:
        >>> iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
        [[0.333, 0.0]]
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    joined = areas[0][:, None] + areas[1][None, :] - shared
    share: npt.NDArray[np.float64] = shared / np.where(joined > 0, joined, 1)
    return share


def true_boxes(truths: Sequence[Truth]) -> list[Boxes]:
    """Check the truth.

    Raises:
        DataError: A box is not finite or has no area, or labels and boxes disagree in number; names the picture.
    """
    return [
        _checked(f"picture {at}, truth", one.boxes, np.ones(len(one.labels)), one.labels, may_be_empty=False)
        for at, one in enumerate(truths)
    ]


def found_boxes(found: Sequence[Found]) -> list[Boxes]:
    """Check a detector's answers.

    Raises:
        DataError: A box or score is not finite, a box ends before it starts, or boxes, scores and labels disagree in
            number; names the picture.
    """
    return [
        _checked(f"picture {at}, found", one.boxes, one.scores, one.labels, may_be_empty=True)
        for at, one in enumerate(found)
    ]


def _checked(
    where: str, boxes: npt.ArrayLike, scores: npt.ArrayLike, labels: Sequence[str], *, may_be_empty: bool
) -> Boxes:
    corners, sureness = np.asarray(boxes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    corners = corners.reshape(0, 4) if corners.size == 0 else corners
    if corners.shape != (len(labels), 4) or sureness.shape != (len(labels),):
        raise DataError(
            f"{where}: boxes {corners.shape}, scores {sureness.shape}, {len(labels)} labels; expected (n, 4), (n,), n"
        )
    low, high = corners[:, :2], corners[:, 2:]
    is_sized = ((low <= high) if may_be_empty else (low < high)).all(axis=1)
    bad = np.flatnonzero(~(np.isfinite(corners).all(axis=1) & np.isfinite(sureness) & is_sized))
    if len(bad):
        sign = "<=" if may_be_empty else "<"
        raise DataError(
            f"{where}: box {bad[0]} is {corners[bad[0]].tolist()} with score {sureness[bad[0]]};"
            f" expected finite numbers and x0 {sign} x1, y0 {sign} y1"
        )
    return Boxes(corners, sureness, tuple(labels))


def _unlabelled(boxes: Sequence[Boxes]) -> list[Boxes]:
    return [one._replace(labels=("",) * len(one.labels)) for one in boxes]


def _recall(true: Sequence[Boxes], answers: Sequence[Boxes], top: int) -> MetricValue:
    found = [matched(one, other, top=top) for one, other in zip(true, answers, strict=True)]
    values = [float(value) for picture in found for value in picture]
    pictures = [str(at) for at, picture in enumerate(found) for _ in picture]
    return _metric(f"recall_at_{top}", values, clustered_interval(values, pictures), "wilson_clustered")


def _share(name: str, hits: Sequence[bool]) -> MetricValue:
    return _metric(name, [float(hit) for hit in hits], wilson_interval(sum(hits), len(hits)), "wilson")


def _metric(name: str, values: Sequence[float], interval: tuple[float, float], kind: IntervalKind) -> MetricValue:
    mean = sum(values) / len(values) if values else 0.0
    return MetricValue(name=name, value=mean, n=len(values), ci_low=interval[0], ci_high=interval[1], interval=kind)
