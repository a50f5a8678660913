"""Targets: heat, owners and weights of every cell, against a loop over all cells and boxes."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.learn.backbone import STRIDES
from pipeline.learn.targets import Targets, of_level, targets


class Labelled(NamedTuple):
    box: tuple[int, int, int, int]
    label: int


def drawn(
    pictures: list[list[Labelled]],
    size: tuple[int, int] = (16, 16),
    maps: int = 1,
    gaussian: float = 0.54,
    stride: int = 4,
) -> Targets:
    boxes = [np.array([one.box for one in some], np.float32).reshape(-1, 4) for some in pictures]
    labels = [np.array([one.label for one in some], np.int64) for some in pictures]
    return targets(boxes, labels, size=size, stride=stride, maps=maps, gaussian=gaussian)


class Grid(NamedTuple):
    size: tuple[int, int]
    maps: int
    gaussian: float
    stride: int


def strength_at(box: tuple[int, int, int, int], x: int, y: int, grid: Grid) -> float | None:
    """Return the bump of a box at a cell, None beyond its reach: three sigmas, and at least half a cell."""
    x0, y0, x1, y1 = (side / grid.stride for side in box)
    cx = min(grid.size[1] - 1, max(0, math.floor((x0 + x1) / 2)))
    cy = min(grid.size[0] - 1, max(0, math.floor((y0 + y1) / 2)))
    rx, ry = max(0.5, grid.gaussian * (x1 - x0) / 2), max(0.5, grid.gaussian * (y1 - y0) / 2)
    if abs(x - cx) > rx or abs(y - cy) > ry:
        return None
    return math.exp(-((x - cx) ** 2) / (2 * (rx / 3) ** 2) - (y - cy) ** 2 / (2 * (ry / 3) ** 2))


def by_cells(some: list[Labelled], grid: Grid) -> Targets:
    """The same for one picture, cell by cell."""
    found = drawn([[]], *grid)
    totals: dict[int, float] = {}
    owned: dict[tuple[int, int], tuple[int, float]] = {}
    for y, x in itertools.product(range(grid.size[0]), range(grid.size[1])):
        here = {n: s for n, one in enumerate(some) if (s := strength_at(one.box, x, y, grid)) is not None}
        for n, strength in here.items():
            channel = some[n].label if grid.maps > 1 else 0
            found.heat[0, channel, y, x] = max(found.heat[0, channel, y, x], strength)
        if here:
            owner = min(here, key=lambda n: (area(some[n].box), -n))  # of equal ones the later
            owned[y, x] = owner, here[owner]
            totals[owner] = totals.get(owner, 0.0) + here[owner]
    for (y, x), (n, strength) in owned.items():
        found.weight[0, y, x] = strength / totals[n]
        found.box[0, :, y, x] = some[n].box
        found.label[0, y, x] = some[n].label
    return found


def area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


@st.composite
def boxes_on(draw: st.DrawFn, width: int, height: int, labels: st.SearchStrategy[int]) -> list[Labelled]:
    some = []
    for _ in range(draw(st.integers(0, 4))):
        x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
        some.append(Labelled((x0, y0, x1, y1), draw(labels)))
    return some


GRIDS = st.builds(
    Grid,
    st.sampled_from([(16, 16), (6, 20)]),
    st.sampled_from([1, 3]),
    st.sampled_from([0.25, 0.54, 1.0]),
    st.sampled_from(STRIDES),
)


@given(st.data(), GRIDS)
@settings(max_examples=60)
def test_every_cell_is_as_a_loop_over_cells_and_boxes_says(data: st.DataObject, grid: Grid) -> None:
    labels = st.integers(0 if grid.maps > 1 else -1, 2)
    one_picture = boxes_on(grid.size[1] * grid.stride, grid.size[0] * grid.stride, labels)
    pictures = data.draw(st.lists(one_picture, min_size=1, max_size=2))
    found = drawn(pictures, *grid)
    for number, some in enumerate(pictures):
        expected = by_cells(some, grid)
        np.testing.assert_allclose(found.heat[number], expected.heat[0], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found.weight[number], expected.weight[0], rtol=1e-4, atol=1e-7)
        assert (found.box[number] == expected.box[0]).all()
        assert (found.label[number] == expected.label[0]).all()


@given(st.data())
def test_weights_of_each_box_that_owns_a_cell_sum_to_one_and_its_centre_is_one(data: st.DataObject) -> None:
    some = data.draw(boxes_on(64, 64, st.integers(-1, 3)))
    found = drawn([some])
    for one in {(*one.box,) for one in some}:
        mine = (found.box[0] == np.array(one, np.float32)[:, None, None]).all(axis=0)
        if mine.any():
            assert found.weight[0][mine].sum() == pytest.approx(1, abs=1e-5)
        x, y = (min(15, (one[at] + one[at + 2]) // 2 // 4) for at in (0, 1))
        assert found.heat[0, 0, y, x] == 1
    assert (found.box[0][:, found.weight[0] == 0] == 0).all()
    assert (found.label[0][found.weight[0] == 0] == -1).all()
    assert float(found.heat.max(initial=0)) <= 1


def test_no_boxes_give_nothing_to_learn() -> None:
    found = drawn([[], []], (4, 6), maps=2)
    assert [value.shape for value in found] == [(2, 2, 4, 6), (2, 4, 6), (2, 4, 4, 6), (2, 4, 6)]
    assert [value.dtype for value in found] == [np.float32, np.float32, np.float32, np.int64]
    assert not any(value.any() for value in found[:3])
    assert (found.label == -1).all()


def test_where_boxes_share_a_cell_the_smaller_one_has_it_whatever_their_order() -> None:
    large, small = Labelled((0, 0, 64, 64), 0), Labelled((24, 24, 40, 40), 1)
    for some in ([large, small], [small, large]):
        found = drawn([some])
        assert found.label[0, 8, 8] == 1
        assert found.box[0, :, 8, 8].tolist() == list(small.box)
        assert found.label[0, 8, 4] == 0
        assert (found.label[0] == 1).sum() == 9  # it reaches .54 * 4 cells / 2 = 1.08 cells to each side
        assert (found.label[0] == 0).sum() == 9 * 9 - 9  # and the large one 4.32


@pytest.mark.parametrize("box", [(0, 0, 3, 3), (61, 61, 64, 64), (60, 0, 64, 64), (0, 62, 64, 64)])
def test_a_box_at_the_border_keeps_its_centre_and_its_weight(box: tuple[int, int, int, int]) -> None:
    found = drawn([[Labelled(box, 2)]])
    x, y = (box[0] + box[2]) // 8, (box[1] + box[3]) // 8
    assert found.heat[0, 0, y, x] == 1
    assert found.label[0, y, x] == 2
    assert found.weight.sum() == pytest.approx(1, abs=1e-6)


def test_a_box_that_sticks_out_has_its_nearest_cell() -> None:
    found = drawn([[Labelled((70, -30, 90, -10), 0)]])
    assert found.heat[0, 0, 0, 15] == 1
    assert found.weight.sum() == pytest.approx(1, abs=1e-6)


@given(st.data())
def test_a_mirrored_picture_has_mirrored_targets(data: st.DataObject) -> None:
    """Boxes whose centres lie in the middle of a cell: the others' centres round to one side."""
    some: list[Labelled] = []
    for _ in range(data.draw(st.integers(1, 3))):
        x, y = data.draw(st.integers(2, 13)) * 4 + 2, data.draw(st.integers(2, 13)) * 4 + 2
        w, h = data.draw(st.integers(1, 10)), data.draw(st.integers(1, 10))
        some.append(Labelled((x - w, y - h, x + w, y + h), len(some)))
    mirrored = [Labelled((64 - one.box[2], one.box[1], 64 - one.box[0], one.box[3]), one.label) for one in some]
    there, here = drawn([some]), drawn([mirrored])
    flipped: NDArray[np.float32] = here.heat[..., ::-1]
    np.testing.assert_array_equal(there.heat, flipped)
    np.testing.assert_array_equal(there.label, here.label[..., ::-1])
    np.testing.assert_allclose(there.weight, here.weight[..., ::-1], atol=1e-6)


@given(st.lists(st.tuples(st.integers(1, 2048), st.integers(1, 2048)), min_size=1, max_size=30))
def test_every_box_is_found_by_one_level_or_two_neighbours_and_a_larger_one_by_no_finer(
    sides: list[tuple[int, int]],
) -> None:
    boxes = np.array([(0, 0, *one) for one in sorted(sides, key=math.prod)], np.float32)
    levels = np.stack([of_level(boxes, level) for level in range(len(STRIDES))])
    assert set(levels.sum(axis=0).tolist()) <= {1, 2}
    finest, coarsest = levels.argmax(axis=0), len(STRIDES) - 1 - levels[::-1].argmax(axis=0)
    assert ((coarsest - finest) <= 1).all()
    assert (np.diff(finest) >= 0).all()
    assert (np.diff(coarsest) >= 0).all()


def test_the_levels_share_what_is_within_a_seventh_of_their_limits() -> None:
    """The first level ends at 11 of its cells, 44 px."""
    boxes = np.array([(0, 0, side, side) for side in (30, 38, 39, 44, 50, 51, 60)], np.float32)
    assert of_level(boxes, 0).tolist() == [True] * 5 + [False] * 2
    assert of_level(boxes, 1).tolist() == [False] * 2 + [True] * 5
    assert of_level(np.zeros((0, 4), np.float32), 2).shape == (0,)
