"""Pictures of several items, as a merchant lays out a set: side by side or in two rows, on one light background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image

from pipeline.demo.drawing import backdrop, visible_box
from pipeline.models.detections import Box

# Of the narrower of two neighbours: an overlap of 7 % of it keeps every IoU below .1, whatever the sizes.
_GAP: Final = (-0.07, 0.25)
_FINE: Final = Image.Resampling.LANCZOS
_MAX_ASPECT: Final = 2.2
_TWO_ROWS: Final = {2: 0.2, 3: 0.4, 4: 1.0}
"""How often a set of so many items is laid out in two rows."""


def compose_set(looks: Sequence[Image.Image], rng: np.random.Generator) -> tuple[Image.Image, list[Box]]:
    """Lay out two to four items, each 96 to 176 px long; a later one may cover the edge of its neighbour a little.

    Args:
        looks: RGBA pictures of the items.
        rng: Draws sizes, order in space, gaps and background.

    Returns:
        An RGBA picture, transparent where no item is, and the box of each item in the order of `looks`.
    """
    pieces = [_scaled(look, int(rng.integers(96, 177))) for look in looks]
    split = -(-len(pieces) // 2) if rng.random() < _TWO_ROWS[len(pieces)] else len(pieces)
    first = _row(pieces[:split], rng)
    width, height = _extent(pieces[:split], first)
    if split == len(pieces):
        return _pasted(pieces, first, (width, height), rng)
    second = _row(pieces[split:], rng)
    own_width, own_height = _extent(pieces[split:], second)
    indent = round(rng.uniform(0, max(0, width - own_width)))
    down = height + round(rng.uniform(*_GAP) * min(piece.height for piece in pieces))
    places = first + [(left + indent, top + down) for left, top in second]
    return _pasted(pieces, places, (max(width, indent + own_width), down + own_height), rng)


def _scaled(look: Image.Image, length: int) -> Image.Image:
    """Return the visible part of an item with its longer side of `length` pixels."""
    tight = look.crop(visible_box(look))
    factor = length / max(tight.size)
    return tight.resize((max(1, round(tight.width * factor)), max(1, round(tight.height * factor))), _FINE)


def _row(pieces: Sequence[Image.Image], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return left and top of each piece: from left to right from 0, centred on one line give or take a little."""
    high = max(piece.height for piece in pieces)
    places: list[tuple[int, int]] = []
    for number, piece in enumerate(pieces):
        left = 0
        if number:
            before = pieces[number - 1]
            gap = round(rng.uniform(*_GAP) * min(before.width, piece.width))
            left = places[-1][0] + before.width + gap
        places.append((left, round((high - piece.height) * rng.uniform(0.25, 0.75))))
    return places


def _extent(pieces: Sequence[Image.Image], places: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return how far the pieces reach to the right and down."""
    return places[-1][0] + pieces[-1].width, max(piece.height for piece in pieces)


def _pasted(
    pieces: Sequence[Image.Image],
    places: Sequence[tuple[int, int]],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Image.Image, list[Box]]:
    margin = round(max(size) * rng.uniform(0.04, 0.1))
    # A row of flat items alone would be a banner, which quality drops.
    width = max(size[0], round(size[1] / _MAX_ASPECT)) + 2 * margin
    height = max(size[1], round(size[0] / _MAX_ASPECT)) + 2 * margin
    shift = ((width - size[0]) // 2, (height - size[1]) // 2)
    canvas = Image.new("RGBA", (width, height), (*backdrop(rng), 0))
    boxes = []
    for piece, (left, top) in zip(pieces, places, strict=True):
        at = (left + shift[0], top + shift[1])
        canvas.alpha_composite(piece, at)
        boxes.append(Box(at[0], at[1], at[0] + piece.width, at[1] + piece.height))
    return canvas, boxes
