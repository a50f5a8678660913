"""Thresholds, calibration and matching of a trained detector, against trying everything."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.learn.examine import Seen, best_temperature, best_threshold, generous, look, matches, measure
from pipeline.learn.scenes import Scene
from pipeline.models.detector import Detector
from pipeline.models.preprocess import Rgb
from pipeline.models.spec import DetectorOutput
from tests.pipeline.learn.seen import Said, Side, seen
from tests.pipeline.models.blobs import BlobSession, FixedSession, detector_spec

CORNERS = st.integers(0, 5)
SIDES = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), CORNERS, CORNERS, st.integers(1, 6), st.integers(1, 6))
SCORES = st.sampled_from([0.011, 0.0125, 0.3, 0.30004, 0.30006, 0.5, 0.9]) | st.floats(0.015625, 1, width=32)
PICTURES = st.lists(st.tuples(st.lists(SIDES, max_size=4), st.lists(st.tuples(SIDES, SCORES), max_size=6)), max_size=4)


def overlap(one: Side, other: Side) -> Fraction:
    across, down = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, across) * max(0, down)
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return Fraction(shared, sum(sizes) - shared)


def hits(there: Sequence[Side], said: Sequence[Said]) -> int:
    """Count the right ones: the surest first, each takes the best free box that it overlaps by half."""
    free, right = list(there), 0
    for box, _ in sorted(said, key=lambda one: (-one[1], one[0])):
        ranked = sorted(free, key=lambda true: -overlap(box, true))
        if ranked and overlap(box, ranked[0]) >= Fraction(1, 2):
            free.remove(ranked[0])
            right += 1
    return right


def f1_at(pictures: Sequence[tuple[Sequence[Side], Sequence[Said]]], threshold: float) -> float:
    kept = [(there, [one for one in said if one[1] >= threshold]) for there, said in pictures]
    found = sum(len(said) for _, said in kept)
    total = sum(len(there) for there, _ in kept)
    return 2 * sum(hits(there, said) for there, said in kept) / (found + total) if found + total else 0.0


@given(PICTURES)
def test_the_threshold_is_the_best_of_all_that_there_are(pictures: list[tuple[list[Side], list[Said]]]) -> None:
    threshold, f1 = best_threshold([seen(there, said) for there, said in pictures])
    scores = sorted({score for _, said in pictures for _, score in said}, reverse=True)
    every = [f1_at(pictures, score) for score in scores]
    best = max(every, default=0.0)
    if best == 0:
        assert (threshold, f1) == (0.5, 0.0)
        return
    assert f1 == pytest.approx(best)
    assert f1_at(pictures, threshold) == pytest.approx(best)  # also after it has been rounded
    highest = scores[next(place for place, value in enumerate(every) if value == pytest.approx(best))]
    assert threshold <= highest
    assert all(score >= highest for score in scores if score >= threshold)


@pytest.mark.parametrize(
    ("said", "threshold", "f1"),
    [
        ([((0, 0, 9, 9), 0.9), ((20, 20, 29, 29), 0.7), ((40, 40, 49, 49), 0.2)], 0.45, 1.0),
        ([((0, 0, 9, 9), 0.9), ((20, 20, 29, 29), 0.7)], 0.355, 1.0),  # nothing was looked at below .01
        ([((0, 0, 9, 9), 0.9), ((40, 40, 49, 49), 0.9)], 0.455, 0.5),  # no threshold parts the two
        ([((40, 40, 49, 49), 0.9)], 0.5, 0.0),
        ([((0, 0, 9, 9), 0.50004), ((40, 40, 49, 49), 0.50002)], 0.50003, 2 / 3),
        ([], 0.5, 0.0),
    ],
)
def test_the_threshold_lies_midway_between_what_counts_and_what_does_not(
    said: list[Said], threshold: float, f1: float
) -> None:
    found = best_threshold([seen([(0, 0, 9, 9), (20, 20, 29, 29)], said)])
    assert found[0] == threshold
    assert found[1] == pytest.approx(f1)


def test_without_pictures_or_boxes_there_is_nothing_to_choose_a_threshold_by() -> None:
    assert best_threshold([]) == (0.5, 0.0)
    assert best_threshold([seen([], [((0, 0, 9, 9), 0.9)]), seen([(0, 0, 9, 9)], [])]) == (0.5, 0.0)


@given(st.lists(SIDES, max_size=4), st.lists(st.tuples(SIDES, SCORES), max_size=6))
def test_matches_are_those_of_the_greedy_rule(there: list[Side], said: list[Said]) -> None:
    one = seen(there, said)
    verdicts = matches(one.scene, one.found)
    assert len(verdicts) == len(said)
    for count in range(len(said) + 1):  # also of every prefix: a threshold cuts there
        prefix = [(tuple(found.box), found.score) for found in one.found.objects[:count]]
        assert sum(verdicts[:count]) == hits(there, prefix)  # type: ignore[arg-type]


def test_a_true_box_is_matched_once_and_by_the_surest() -> None:
    box = (10, 10, 30, 30)
    one = seen([box], [(box, 0.5), ((10, 10, 30, 28), 0.9), ((10, 10, 29, 30), 0.7)])
    assert matches(one.scene, one.found) == [True, False, False]
    assert [found.score for found in one.found.objects] == [0.9, 0.7, 0.5]


@pytest.mark.parametrize(("bottom", "right"), [(20, True), (19, False)])
def test_half_an_overlap_is_enough(bottom: int, right: bool) -> None:
    one = seen([(0, 0, 40, 40)], [((0, 0, 40, bottom), 0.9)])
    assert matches(one.scene, one.found) == [right]


@pytest.mark.parametrize("temperature", [0.6, 1.0, 3.2])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 3, (1500, 6))
    tempered = np.exp(logits / temperature)
    labels = [int(rng.choice(6, p=row / row.sum())) for row in tempered]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    box = (5, 5, 50, 50)
    pictures = [seen([box], [(box, 0.9)], labels=[k], shares=[row]) for k, row in zip(labels, shares, strict=True)]
    assert best_temperature(pictures) == pytest.approx(temperature, rel=0.12)


def test_only_found_objects_of_a_known_class_decide_the_temperature() -> None:
    box, far = (5, 5, 50, 50), (55, 55, 60, 60)
    sure = [[0.999, 0.001]]
    unsure = [seen([box], [(box, 0.9)], labels=[n % 2], shares=[[0.9, 0.1]]) for n in range(10)]
    assert best_temperature(unsure) == 5.0  # right half of the time: as flat as it goes
    ignored = [
        seen([box], [(box, 0.9)], labels=[-1], shares=sure),
        seen([box], [(far, 0.9)], labels=[1], shares=sure),
        seen([box], [(box, 0.9)], labels=[1]),
        seen([], [(box, 0.9)], shares=sure),
    ]
    assert best_temperature(ignored) == 1.0
    assert best_temperature([]) == 1.0
    right = [seen([box], [(box, 0.9)], labels=[0], shares=[[0.9, 0.1]])] * 3
    assert best_temperature([*right, *ignored]) == 0.5


class Blobs:
    """Pictures of one coloured rectangle each, further right from picture to picture."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Scene:
        image: Rgb = np.full((100, 100, 3), 255, np.uint8)
        image[20:60, number : number + 30] = (255, 0, 0)
        box = np.array([[number, 20, number + 30, 60]], np.float32)
        return Scene(f"blob-{number}", image, box, np.array([number % 3], np.int64))

    def identity(self) -> str:
        return str(self.count)


@pytest.mark.parametrize("count", [1, 16, 17, 40])
def test_every_picture_is_looked_at_once_and_in_order(count: int) -> None:
    told: list[int] = []
    found = look(Detector(detector_spec(), BlobSession()), Blobs(count), on_done=told.append)
    assert sum(told) == count
    assert [one.scene.name for one in found] == [f"blob-{number}" for number in range(count)]
    assert all(matches(*one) == [True] for one in found)


def test_a_generous_detector_says_what_the_thresholds_would_hide() -> None:
    cells = [[10.0, 10 + 3 * n, 20, 12 + 3 * n] for n in range(60)]
    scores = [[0.012 + n / 200] for n in range(60)]
    session = FixedSession(boxes=cells, scores=scores, classes=np.zeros((60, 3)))
    spec = detector_spec(score_thr=0.2, floor=0.1, topk=5)
    picture = [np.full((256, 256, 3), 255, np.uint8)]
    assert len(Detector(spec, session).detect_images(picture)[0].objects) == 5
    whole = generous(spec, session)
    assert len(whole.detect_images(picture)[0].objects) == 60
    assert isinstance(whole.spec.output, DetectorOutput)
    assert whole.spec.output.nms_iou == 0.5


def test_what_is_measured_are_the_boxes_scores_and_names_of_both_sides() -> None:
    boxes: list[Side] = [(1, 1, 20, 20), (30, 30, 60, 50), (5, 40, 20, 62)]
    said: list[Said] = [((1, 1, 20, 18), 0.9), ((28, 30, 60, 50), 0.6), ((40, 0, 60, 10), 0.5)]
    pictures: list[Seen] = [
        seen(boxes, said, labels=[0, 1, -1], names=["a", "b", ""]),
        seen([], said[:1], names=["b"]),
        seen(boxes[:1], [], labels=[1]),
    ]
    handed: list[Any] = []

    def recorded(*given: Any) -> Any:
        handed.extend(given)
        return "the result"

    answer: Any = measure(pictures, ("a", "b"), recorded)
    assert answer == "the result"
    truths, found = handed
    assert [(there.tolist(), names) for there, names in truths] == [
        ([list(box) for box in boxes], ["a", "b", ""]),
        ([], []),
        ([list(boxes[0])], ["b"]),
    ]
    assert [(corners.tolist(), scores.tolist(), names) for corners, scores, names in found] == [
        ([list(box) for box, _ in said], [0.9, 0.6, 0.5], ["a", "b", ""]),
        ([list(said[0][0])], [0.9], ["b"]),
        ([], [], []),
    ]
    assert [one[0].shape for one in (*truths, *found)] == [(3, 4), (0, 4), (1, 4), (3, 4), (1, 4), (0, 4)]
