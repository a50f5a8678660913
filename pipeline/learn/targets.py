"""What the head should answer: heat around each box's centre, and in the heat the box and its class.

After TTFNet (Liu et al., "Training-Time-Friendly Network", AAAI 2020): elliptical Gaussians whose sigma follows the
box's sides, and every cell in a Gaussian is a sample for the box, weighted by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.backbone import STRIDES

_CELLS = 11
"""A level finds objects of up to so many of its cells, as the square root of their area; the coarsest all above."""
_SHARED = 1.15
"""Objects within this factor of a limit are learnt by both levels: neither should be blind right beside it."""


class Targets(NamedTuple):
    """For a batch of n pictures on a grid of height x width cells."""

    heat: NDArray[np.float32]
    """(n, maps, height, width) in 0..1; exactly 1 at the cell of a box's centre."""
    weight: NDArray[np.float32]
    """(n, height, width) of each cell as a sample for box and class; sums to 1 over a box's own cells."""
    box: NDArray[np.float32]
    """(n, 4, height, width) x0, y0, x1, y1 in input pixels; 0 where the weight is."""
    label: NDArray[np.int64]
    """(n, height, width) place in the classes; -1 where there is none to learn."""


def of_level(boxes: NDArray[np.float32], level: int) -> NDArray[np.bool_]:
    """Tell which boxes, (k, 4) in input pixels, level 0 (the finest) to 3 should find."""
    size = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    low = 0.0 if level == 0 else _CELLS * STRIDES[level - 1] / _SHARED
    high = np.inf if level == len(STRIDES) - 1 else _CELLS * STRIDES[level] * _SHARED
    mine: NDArray[np.bool_] = (size > low) & (size <= high)
    return mine


def targets(
    boxes: Sequence[NDArray[np.float32]],
    labels: Sequence[NDArray[np.int64]],
    *,
    size: tuple[int, int],
    stride: int,
    maps: int,
    gaussian: float,
) -> Targets:
    """Draw the targets of a batch on one level.

    Where boxes share a cell the smaller one has it.

    Args:
        boxes: n arrays (k, 4) in input pixels, k may be 0.
        labels: n arrays (k,).
        size: height and width of the grid in cells.
        stride: pixels a cell.
        maps: heat maps; 1: all boxes share it, else one a class (then every label must be one).
        gaussian: spread, see `config.Training.gaussian`.
    """
    height, width = size
    count = len(boxes)
    found = Targets(
        np.zeros((count, maps, height, width), np.float32),
        np.zeros((count, height, width), np.float32),
        np.zeros((count, 4, height, width), np.float32),
        np.full((count, height, width), -1, np.int64),
    )
    for number, (some, names) in enumerate(zip(boxes, labels, strict=True)):
        areas = (some[:, 2] - some[:, 0]) * (some[:, 3] - some[:, 1])
        owner = np.full((height, width), -1, np.int64)
        strength = np.zeros((height, width), np.float32)
        for place in np.argsort(-areas, kind="stable").tolist():
            _draw(
                found,
                number,
                some[place],
                int(names[place]) if maps > 1 else 0,
                gaussian,
                owner,
                strength,
                place,
                stride,
            )
        for place in range(len(some)):
            mine = owner == place
            if mine.any():
                found.weight[number][mine] = strength[mine] / strength[mine].sum()
                found.box[number][:, mine] = some[place][:, None]
                found.label[number][mine] = names[place]
    return found


def _draw(
    found: Targets,
    number: int,
    box: NDArray[np.float32],
    channel: int,
    gaussian: float,
    owner: NDArray[np.int64],
    strength: NDArray[np.float32],
    place: int,
    stride: int,
) -> None:
    """Put one box's heat on its map, and take the cells within it."""
    height, width = owner.shape
    x0, y0, x1, y1 = (float(value) / stride for value in box)
    cx = min(width - 1, max(0, int((x0 + x1) / 2)))
    cy = min(height - 1, max(0, int((y0 + y1) / 2)))
    reach_x, reach_y = max(0.5, gaussian * (x1 - x0) / 2), max(0.5, gaussian * (y1 - y0) / 2)
    left, right = max(0, ceil(cx - reach_x)), min(width, int(cx + reach_x) + 1)
    top, bottom = max(0, ceil(cy - reach_y)), min(height, int(cy + reach_y) + 1)
    # sigma = gaussian * side / 6: the reach is three sigmas.
    across = np.exp(-0.5 * ((np.arange(left, right) - cx) / (reach_x / 3)) ** 2)
    down = np.exp(-0.5 * ((np.arange(top, bottom) - cy) / (reach_y / 3)) ** 2)
    bump = np.outer(down, across).astype(np.float32)
    heat = found.heat[number, channel, top:bottom, left:right]
    np.maximum(heat, bump, out=heat)
    owner[top:bottom, left:right] = place
    strength[top:bottom, left:right] = bump
