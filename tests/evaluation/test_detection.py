"""Boxes against the truth: equal to average precision by its definition, on pixels counted one by one."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.detection import (
    Found,
    Truth,
    found_boxes,
    iou,
    main_object,
    matched,
    measure_detection,
    true_boxes,
)
from reporting.errors import ConfigError, DataError

LABELS = ("cup", "hat", "shoe")
corner = st.integers(0, 6)
side = st.integers(1, 5)
box = st.builds(lambda x, y, width, height: (x, y, x + width, y + height), corner, corner, side, side)
labelled = st.tuples(box, st.sampled_from(LABELS))
# Two decimals: plenty of equal scores.
scored = st.tuples(box, st.integers(0, 20).map(lambda score: score / 20), st.sampled_from(LABELS))
pictures = st.lists(st.tuples(st.lists(labelled, max_size=4), st.lists(scored, max_size=6)), min_size=1, max_size=5)


def as_inputs(drawn):
    truths = [Truth([row[0] for row in true], [row[1] for row in true]) for true, _ in drawn]
    found = [Found([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]) for _, rows in drawn]
    return truths, found


def pixels(corners):
    x0, y0, x1, y1 = corners
    return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}


def overlap(one, other):
    first, second = pixels(one), pixels(other)
    return len(first & second) / len(first | second)


def taken_by(true, rows, minimum):
    """For each found box by falling score: the true box that it takes, or None."""
    free, takes = list(range(len(true))), []
    for row in sorted(rows, key=lambda row: -row[1]):
        near = [at for at in free if overlap(true[at], row[0]) >= minimum]
        takes.append(max(near, key=lambda at: (overlap(true[at], row[0]), at)) if near else None)
        free = [at for at in free if at != takes[-1]]
    return takes


def precision_by_definition(drawn, label, minimum):
    """Average precision by its definition: the best precision at each of 101 recalls or beyond."""
    wanted = 0
    answers: list[tuple[float, int | None]] = []
    for true, rows in drawn:
        mine = [corners for corners, name in true if label in (None, name)]
        theirs = [row for row in rows if label in (None, row[2])]
        wanted += len(mine)
        takes = taken_by(mine, theirs, minimum)
        answers += zip((row[1] for row in sorted(theirs, key=lambda row: -row[1])), takes, strict=True)
    curve, hits = [], 0
    for rank, (_, take) in enumerate(sorted(answers, key=lambda answer: -answer[0]), start=1):
        hits += take is not None
        curve.append((hits / wanted, hits / rank))
    cuts = np.linspace(0, 1, 101)
    return sum(max((precision for recall, precision in curve if recall >= cut), default=0) for cut in cuts) / 101


def mean_over_overlaps(drawn, label):
    return np.mean([precision_by_definition(drawn, label, minimum) for minimum in np.linspace(0.5, 0.95, 10)])


@settings(max_examples=60)
@given(pictures)
def test_average_precision_equals_its_definition(drawn):
    result = measure_detection(*as_inputs(drawn))
    names = sorted({name for true, _ in drawn for _, name in true})
    assert [one.label for one in result.classes] == names
    if not names:
        assert result.ap50 is result.ap50_95 is result.mean_ap50 is result.mean_ap50_95 is None
        return
    assert result.ap50 == pytest.approx(precision_by_definition(drawn, None, 0.5), abs=1e-9)
    assert result.ap50_95 == pytest.approx(mean_over_overlaps(drawn, None), abs=1e-9)
    for one in result.classes:
        assert one.ap50 == pytest.approx(precision_by_definition(drawn, one.label, 0.5), abs=1e-9)
        assert one.ap50_95 == pytest.approx(mean_over_overlaps(drawn, one.label), abs=1e-9)
    assert result.mean_ap50 == pytest.approx(np.mean([one.ap50 for one in result.classes]))
    assert result.mean_ap50_95 == pytest.approx(np.mean([one.ap50_95 for one in result.classes]))


@given(pictures, st.integers(0, 4))
def test_the_boxes_found_equal_greedy_matching_on_pixels(drawn, top):
    for (true, rows), shown, answer in zip(drawn, *(as_checked(drawn)), strict=True):
        best = sorted(rows, key=lambda row: -row[1])[:top]
        takes = taken_by([corners for corners, _ in true], best, 0.5)
        assert set(np.flatnonzero(matched(shown, answer, top=top))) == {take for take in takes if take is not None}


def as_checked(drawn):
    truths, found = as_inputs(drawn)
    return true_boxes(truths), found_boxes(found)


@given(st.lists(box, max_size=4), st.lists(box, max_size=4))
def test_overlap_equals_counted_pixels(first, second):
    arrays = [np.array(boxes, dtype=np.float64).reshape(-1, 4) for boxes in (first, second)]
    expected = [[overlap(one, other) for other in second] for one in first]
    assert iou(*arrays).shape == (len(first), len(second))
    assert iou(*arrays).tolist() == expected


def test_right_wrong_right_gives_the_precision_computed_by_hand():
    """Precision 1 up to recall .5 (51 of the 101 points), then 2/3 (50 points)."""
    truths = [Truth([(0, 0, 10, 10), (20, 0, 30, 10)], ["cup", "cup"])]
    found = [Found([(0, 0, 10, 10), (50, 50, 60, 60), (20, 0, 30, 10)], [0.9, 0.8, 0.7], ["cup"] * 3)]
    result = measure_detection(truths, found)
    assert result.ap50 == result.ap50_95 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_box_of_overlap_070_counts_at_five_of_the_ten_levels():
    result = measure_detection([Truth([(0, 0, 10, 10)], ["cup"])], [Found(np.array([[0, 0, 10, 7.2]]), [0.9], ["cup"])])
    assert result.ap50 == 1.0
    assert result.ap50_95 == pytest.approx(0.5)  # at .5 .55 .6 .65 .7


def test_a_second_box_on_the_same_object_is_a_false_one():
    found = [Found([(0, 0, 10, 10), (0, 0, 10, 10)], [0.9, 0.8], ["cup", "cup"])]
    truths = [Truth([(0, 0, 10, 10), (50, 50, 60, 60)], ["cup", "cup"])]
    assert measure_detection(truths, found).ap50 == pytest.approx(51 / 101)


def test_of_two_objects_overlapped_alike_the_later_is_taken_as_coco_does():
    truths = [Truth([(0, 0, 10, 10), (2, 0, 12, 10)], ["cup", "cup"])]
    found = [Found([(1, 0, 11, 10), (5, 0, 12, 10)], [0.9, 0.8], ["cup", "cup"])]  # the second fits only the later one
    assert matched(true_boxes(truths)[0], found_boxes(found)[0], top=20).tolist() == [False, True]
    result = measure_detection(truths, found)
    assert result.ap50 == pytest.approx(51 / 101)
    assert result.recall_at_20.value == 0.5


@pytest.mark.parametrize("size", [20, 60, 600, 20_000])
def test_objects_of_every_size_count(size):
    shown = [(0, 0, size, size)]
    result = measure_detection([Truth(shown, ["cup"])], [Found(shown, [0.9], ["cup"])])
    assert (result.ap50, result.ap50_95, result.recall_at_20.value) == (1.0, 1.0, 1.0)


def test_equal_scores_rank_by_picture_then_as_given():
    hit, miss = (0, 0, 10, 10), (50, 50, 60, 60)
    truths = [Truth([hit], ["cup"])]
    first = measure_detection(truths, [Found([hit, miss], [0.5, 0.5], ["cup"] * 2)])
    second = measure_detection(truths, [Found([miss, hit], [0.5, 0.5], ["cup"] * 2)])
    assert (first.ap50, second.ap50) == (1.0, 0.5)
    assert (first.main_object_hit.value, second.main_object_hit.value) == (1.0, 0.0)
    two = [*truths, Truth([], [])]
    late = measure_detection(two, [Found([hit], [0.5], ["cup"]), Found([miss], [0.5], ["cup"])])
    assert late.ap50 == 1.0


def test_only_the_best_hundred_boxes_of_a_picture_count():
    hit, miss = (0, 0, 10, 10), (50, 50, 60, 60)
    truths = [Truth([hit], ["cup"])]
    found = [Found([miss] * 100 + [hit], [0.9] * 100 + [0.1], ["cup"] * 101)]
    assert measure_detection(truths, found).ap50 == 0.0
    assert measure_detection(truths, found, max_boxes=101).ap50 == pytest.approx(1 / 101)
    assert measure_detection(truths, found).recall_at_20.value == 0.0


def test_nothing_found_scores_zero_and_nothing_to_find_scores_nothing():
    shown, empty, nothing = Truth([(0, 0, 10, 10)], ["cup"]), Truth([], []), Found([], [], [])
    lost = measure_detection([shown, empty], [nothing, nothing])
    assert (lost.ap50, lost.ap50_95, lost.mean_ap50, lost.main_object_hit.value) == (0.0, 0.0, 0.0, 0.0)
    assert (lost.main_object_hit.n, lost.recall_at_20.n) == (1, 1)
    found = Found([(0, 0, 10, 10)], [0.9], ["cup"])
    for result in (measure_detection([], []), measure_detection([empty], [found])):
        assert (result.ap50, result.mean_ap50, result.classes) == (None, None, ())
        assert (result.main_object_hit.n, result.main_object_hit.ci_low, result.main_object_hit.ci_high) == (0, 0, 1)
    assert result.found_count == 1


def test_a_box_in_a_picture_of_nothing_lowers_the_precision_but_is_no_missed_main_object():
    shown, hit = Truth([(0, 0, 10, 10)], ["cup"]), Found([(0, 0, 10, 10)], [0.8], ["cup"])
    result = measure_detection([shown, Truth([], [])], [hit, hit._replace(scores=[0.9])])
    assert result.ap50 == pytest.approx(0.5)
    assert (result.main_object_hit.value, result.main_object_hit.n) == (1.0, 1)


def test_a_class_that_is_only_found_spoils_the_class_agnostic_value_alone():
    truths = [Truth([(0, 0, 10, 10)], ["cup"])]
    found = [Found([(50, 50, 60, 60), (0, 0, 10, 10)], [0.9, 0.8], ["hat", "cup"])]
    result = measure_detection(truths, found)
    assert result.ap50 == pytest.approx(0.5)
    assert result.mean_ap50 == 1.0
    assert [(one.label, one.truth_count, one.found_count) for one in result.classes] == [("cup", 1, 1)]


def test_a_detector_without_classes_is_measured_by_its_boxes():
    result = measure_detection(
        [Truth([(0, 0, 10, 10)], ["cup"])], [Found(np.array([[0.0, 0, 10, 10]]), np.array([0.9]), [""])]
    )
    assert (result.ap50, result.mean_ap50) == (1.0, 0.0)
    assert (result.main_object_hit.value, result.main_object_and_category_hit.value) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("corners", "label", "is_hit", "is_right"),
    [
        ((0, 0, 10, 5), "cup", True, True),  # IoU .5 exactly
        ((0, 0, 10, 4), "cup", False, False),
        ((0, 0, 10, 10), "hat", True, False),
        ((20, 0, 30, 10), "hat", True, True),
        ((0, 0, 0, 10), "cup", False, False),  # no area
    ],
)
def test_the_main_object_is_the_surest_box_and_its_class(corners, label, is_hit, is_right):
    shown = true_boxes([Truth([(0, 0, 10, 10), (20, 0, 30, 10)], ["cup", "hat"])])[0]
    answer = found_boxes([Found([(60, 60, 70, 70), corners], [0.2, 0.9], ["cup", label])])[0]
    assert main_object(shown, answer) == (is_hit, is_right)


def test_either_of_two_true_boxes_that_overlap_gives_the_class():
    shown = true_boxes([Truth([(0, 0, 10, 10), (0, 0, 10, 9)], ["cup", "saucer"])])[0]
    for label in ("cup", "saucer"):
        assert main_object(shown, found_boxes([Found([(0, 0, 10, 10)], [0.9], [label])])[0]).is_right


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        (Truth([(0, 0, 0, 10)], ["cup"]), Found([], [], []), "picture 0, truth: box 0 .*x0 < x1"),
        (Truth([(0, 0, 5, float("nan"))], ["cup"]), Found([], [], []), "picture 0, truth: box 0"),
        (Truth([], []), Found([(0, 0, 1, 1), (5, 0, 1, 1)], [1, 1], ["", ""]), "found: box 1 .*x0 <= x1"),
        (Truth([], []), Found([(0, 0, 1, 1)], [float("nan")], [""]), "found: box 0 .* score nan"),
        (Truth([], []), Found([(0, 0, 1, float("inf"))], [1], [""]), "found: box 0"),
        (Truth([(0, 0, 1)], ["cup"]), Found([], [], []), r"boxes \(1, 3\)"),
        (Truth([], []), Found([(0, 0, 1, 1)], [1, 2], [""]), r"scores \(2,\)"),
        (Truth([(0, 0, 1, 1)], []), Found([], [], []), "0 labels"),
    ],
)
def test_bad_boxes_are_refused_with_their_place(truth, found, message):
    with pytest.raises(DataError, match=message):
        measure_detection([truth], [found])


def test_lists_of_different_length_are_refused():
    with pytest.raises(DataError, match="2 answers to 1 pictures"):
        measure_detection([Truth([], [])], [Found([], [], [])] * 2)


def test_without_the_library_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ConfigError, match=r"pip install 'funnelgate\[train\]'"):
        measure_detection([Truth([(0, 0, 1, 1)], ["cup"])], [Found([], [], [])])
