"""Arithmetic of boxes against counted pixels, plain loops, and what the preprocessing really paints."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.boxes import Frame, best_first, has_area, letterbox, overlap, suppress, whole_first, whole_pixels
from pipeline.models.detections import Box
from pipeline.models.preprocess import resize
from tests.pipeline.models.blobs import detector_spec

SIDE = 12
"""Of the small plane on which pixels are counted."""


def corners(low: int = -2, high: int = SIDE + 2) -> st.SearchStrategy[tuple[int, ...]]:
    """Boxes of any kind: sticking out, empty, turned round."""
    return st.tuples(*[st.integers(low, high)] * 4)


def pixels(box: tuple[int, ...]) -> set[tuple[int, int]]:
    return set(itertools.product(range(box[0], box[2]), range(box[1], box[3])))


def as_boxes(rows: list[tuple[int, ...]]) -> np.ndarray:
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


@given(st.lists(corners(), max_size=6), st.lists(corners(), max_size=6))
def test_overlap_is_the_share_of_counted_pixels(first, second):
    found = overlap(as_boxes(first), as_boxes(second))
    assert found.shape == (len(first), len(second))
    for (i, a), (j, b) in itertools.product(enumerate(first), enumerate(second)):
        either = len(pixels(a) | pixels(b))
        expected = len(pixels(a) & pixels(b)) / either if either else 0.0
        assert found[i, j] == pytest.approx(expected, abs=1e-12)
        if pixels(a) and pixels(b):
            assert Box(*a).iou(Box(*b)) == pytest.approx(expected, abs=1e-12)


def plain_suppression(boxes: list[tuple[int, ...]], limit: float, groups: list[int]) -> list[int]:
    """The textbook loop, on counted pixels."""
    kept: list[int] = []
    for place, box in enumerate(boxes):
        for better in kept:
            shared, either = pixels(boxes[better]) & pixels(box), pixels(boxes[better]) | pixels(box)
            if groups[better] == groups[place] and either and len(shared) / len(either) > limit:
                break
        else:
            kept.append(place)
    return kept


@settings(max_examples=200)
@given(st.lists(st.tuples(corners(0, 8), st.integers(0, 2)), max_size=24), st.sampled_from([0.0, 0.2, 1 / 3, 0.5, 1.0]))
def test_suppression_is_the_textbook_loop(rows, limit):
    boxes, groups = [row[0] for row in rows], [row[1] for row in rows]
    assert suppress(as_boxes(boxes), limit).tolist() == plain_suppression(boxes, limit, [0] * len(rows))
    apart = suppress(as_boxes(boxes), limit, groups=np.array(groups, dtype=np.int64))
    assert apart.tolist() == plain_suppression(boxes, limit, groups)


def test_a_repeat_of_a_suppressed_box_is_kept():
    # Each overlaps the next by 2/3, the first and the last by 1/3.
    boxes = as_boxes([(0, 0, 10, 2), (2, 0, 12, 2), (5, 0, 15, 2)])
    assert overlap(boxes, boxes)[0].round(3).tolist() == [1.0, 0.667, 0.333]
    assert suppress(boxes, 0.5).tolist() == [0, 2]


def test_an_overlap_of_exactly_the_limit_is_no_repeat():
    boxes = as_boxes([(0, 0, 2, 2), (1, 0, 3, 2)])
    assert suppress(boxes, 2 / 6).tolist() == [0, 1]
    assert suppress(boxes, 0.3333).tolist() == [0]


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.25, 0.75]), corners(0, 3)), max_size=12))
def test_best_first_is_by_falling_score_and_then_by_box(rows):
    order = best_first(np.array([row[0] for row in rows], dtype=np.float32), as_boxes([row[1] for row in rows]))
    keys = [(-rows[place][0], rows[place][1]) for place in order]
    assert keys == sorted((-score, box) for score, box in rows)


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([(256, 256), (320, 192), (64, 100), (7, 5)]))
@settings(max_examples=60)
def test_letterbox_is_what_the_preprocessing_paints(width, height, into):
    spec = detector_spec(side=into).input
    painted = resize(np.zeros((height, width, 3), dtype=np.uint8), spec)[:, :, 0] < 128
    found = letterbox((width, height), into)
    ys, xs = np.nonzero(painted)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (
        found.left,
        found.top,
        found.left + found.width,
        found.top + found.height,
    )


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(
    st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), numbers, numbers),
    st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=5),
)
def test_to_the_input_and_back_is_where_it_began(affine, rows):
    frame, boxes = Frame(affine[0], affine[1], affine[2], affine[3], 100, 100), np.array(rows)
    largest = 1e-9 * (1 + np.abs(boxes).max() + max(map(abs, affine)) * 1e3)
    np.testing.assert_allclose(frame.to_picture(frame.to_input(boxes)), boxes, atol=largest)
    for row, found in zip(rows, frame.to_picture(boxes), strict=True):
        across = [row[place] * affine[0] + affine[2] for place in (0, 2)]
        down = [row[place] * affine[1] + affine[3] for place in (1, 3)]
        assert found.tolist() == pytest.approx([across[0], down[0], across[1], down[1]])


@given(st.lists(st.tuples(*[st.floats(-50, 50)] * 4), max_size=8), st.integers(1, 20), st.integers(1, 20))
def test_whole_pixels_lie_in_the_picture_and_say_whether_they_hold_any(rows, width, height):
    boxes = np.array(rows, dtype=np.float64).reshape(-1, 4)
    whole = whole_pixels(boxes, width, height)
    plane = Box(0, 0, width, height)
    for row, found, held in zip(rows, whole.tolist(), has_area(whole), strict=True):
        assert min(found) >= 0
        assert max(found[0::2]) <= width
        assert max(found[1::2]) <= height
        assert held == bool(pixels(tuple(found)))
        if held:
            assert pixels(tuple(found)) <= pixels(plane)
        for edge, got, limit in zip(row, found, (width, height, width, height), strict=True):
            assert abs(min(max(edge, 0), limit) - got) <= 0.5


@pytest.mark.parametrize(
    "box",
    [(3, 3, 3, 9), (3, 3, 9, 3), (9, 3, 3, 9), (-9, 2, -1, 8), (10, 2, 14, 8), (2, -5, 8, -1), (3.1, 0, 3.4, 9)],
    ids=["no width", "no height", "turned round", "left of it", "right of it", "above it", "thinner than a pixel"],
)
def test_a_box_that_holds_no_pixel_of_the_picture_has_no_area(box):
    assert has_area(whole_pixels(np.array([box], dtype=np.float64), 10, 10)).tolist() == [False]


def test_no_boxes_are_no_boxes():
    none = np.empty((0, 4), dtype=np.int64)
    assert overlap(none, none).shape == (0, 0)
    assert suppress(none, 0.5).tolist() == []
    assert best_first(np.empty(0, dtype=np.float32), none).tolist() == []
    assert whole_pixels(none.astype(float), 5, 5).shape == (0, 4)


def textbook_whole_first(rows: list[tuple[int, ...]], scores: list[float], ratio: float) -> list[int]:
    """Each box in turn changes places with the surest larger one around it, counted pixel by pixel; none twice."""
    order = list(range(len(rows)))
    moved: set[int] = set()
    for part in range(len(rows)):
        mine = pixels(rows[part])
        for whole in range(part + 1, len(rows)):
            theirs = pixels(rows[whole])
            around = len(mine & theirs) >= 0.85 * len(mine) and len(theirs) >= 1.2 * len(mine)
            if not {part, whole} & moved and around and scores[whole] >= ratio * scores[part]:
                order[part], order[whole] = whole, part
                moved |= {part, whole}
    return order


side = st.tuples(st.integers(0, SIDE - 1), st.integers(1, SIDE)).map(lambda at: (at[0], min(SIDE, at[0] + at[1])))
held = st.tuples(side, side).map(lambda sides: (sides[0][0], sides[1][0], sides[0][1], sides[1][1]))


@settings(deadline=None)
@given(
    st.lists(st.tuples(held, st.integers(1, 9)), max_size=8),
    st.sampled_from([0.0, 0.5, 0.9, 1.0]),
)
def test_wholes_change_places_with_their_parts_as_in_the_textbook_loop(found, ratio):
    ranked = sorted(found, key=lambda one: -one[1])
    rows, scores = [box for box, _ in ranked], [score / 10 for _, score in ranked]
    order = whole_first(as_boxes(rows), np.array(scores), ratio).tolist()
    assert order == textbook_whole_first(rows, scores, ratio)
    assert sorted(order) == list(range(len(rows)))


def test_the_handle_and_the_head_of_a_hammer_come_after_the_hammer_but_not_a_bench_that_is_less_sure():
    head, handle, hammer, bench = (2, 0, 8, 3), (4, 3, 6, 12), (2, 0, 8, 12), (0, 0, 12, 12)
    boxes, scores = as_boxes([head, handle, hammer, bench]), np.array([0.80, 0.78, 0.75, 0.40])
    assert whole_first(boxes, scores, 0.9).tolist() == [2, 1, 0, 3]
    assert whole_first(boxes, scores, 1.0).tolist() == [0, 1, 2, 3]
