"""Items drawn at random, of one to three parts that touch: a few hundred cut-out pictures hold few hammers.

Trained on the sample pack alone, a detector boxes the head of a razor and not its handle: it knows the pack's things
and not that parts that touch are one thing. Drawn items have no category and teach boxes only.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from pipeline.learn.sprites import trimmed

_SIDE = 224
"""Pixels of the sheet an item is drawn on; scenes scale it down."""
_PARTS: Final = (0.2, 0.5, 0.3)
"""Shares of items with one to three parts."""

Points = list[tuple[float, float]]


def drawn_item(rng: np.random.Generator) -> Image.Image:
    """Return an item, RGBA, trimmed: parts along an axis, each of its own shape and mostly of its own colour."""
    count = 1 + int(rng.choice(len(_PARTS), p=_PARTS))
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.array([np.cos(angle), np.sin(angle)])
    sheet = Image.new("RGBA", (_SIDE, _SIDE), (0, 0, 0, 0))
    colour, outline, place = _colour(rng), bool(rng.random() < 0.35), 0.0
    lengths = rng.uniform(0.35, 1.0, count) * 0.8 * _SIDE / count
    start = np.array([_SIDE / 2, _SIDE / 2]) - axis * lengths.sum() / 2
    layers = []
    for length in lengths.tolist():
        if rng.random() < 0.8:
            colour = _colour(rng)
        # A rod is thin, a head is wide: the ratio decides which this part is.
        width = min(length * float(np.exp(rng.uniform(np.log(0.15), np.log(2.2)))), 0.7 * _SIDE)
        middle = start + axis * (place + length / 2)
        layers.append(_part(_outline(middle, axis, length * 1.1, width, rng), colour, outline, rng))
        place += length
    for number in rng.permutation(count).tolist():
        sheet.alpha_composite(layers[number])
    return trimmed(sheet)


def _outline(
    middle: NDArray[np.float64], axis: NDArray[np.float64], length: float, width: float, rng: np.random.Generator
) -> Points:
    """Return the corners of a part: an ellipse, a rounded box, a tapered rod or a polygon, along the axis."""
    kind = int(rng.integers(4))
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    if kind == 0:
        along, across = np.cos(turn), np.sin(turn)
    elif kind == 1:  # a superellipse: the higher its power, the squarer
        power = 2 / rng.uniform(3, 9)
        along, across = (np.sign(f) * np.abs(f) ** power for f in (np.cos(turn), np.sin(turn)))
    elif kind == 2:
        taper = rng.uniform(0.3, 1.0)
        along, across = np.array([-1, -1, 1, 1.0]), np.array([-1, 1, taper, -taper])
    else:
        corners = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 9))))
        along, across = np.cos(corners), np.sin(corners)
    side = np.array([-axis[1], axis[0]])
    points = middle + np.outer(along * length / 2, axis) + np.outer(across * width / 2, side)
    return [(float(x), float(y)) for x, y in points]


def _part(points: Points, colour: NDArray[np.float64], outline: bool, rng: np.random.Generator) -> Image.Image:
    """Return a layer with one part, shaded along a random direction, perhaps striped, perhaps with an outline."""
    mask = Image.new("L", (_SIDE, _SIDE), 0)
    ImageDraw.Draw(mask).polygon(points, fill=255)
    mask = mask.filter(ImageFilter.BoxBlur(1))
    y, x = np.mgrid[0:_SIDE, 0:_SIDE] / _SIDE - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    across = x * np.cos(angle) + y * np.sin(angle)
    shade = 1 + across * rng.uniform(0, 1.2)
    if rng.random() < 0.3:
        shade = shade * np.where(
            np.sin(across * rng.uniform(20, 120)) > rng.uniform(-0.6, 0.6), 1, rng.uniform(0.4, 0.9)
        )
    pixels = np.clip(colour * shade[..., None], 0, 255).astype(np.uint8)
    layer = Image.fromarray(pixels).convert("RGBA")
    layer.putalpha(mask)
    if outline:
        inner = mask.filter(ImageFilter.MinFilter(2 * int(rng.integers(1, 4)) + 1))
        edge = Image.new("RGBA", layer.size, (*np.clip(colour * 0.35, 0, 255).astype(int).tolist(), 255))
        edge.putalpha(ImageChops.subtract(mask, inner))
        layer.alpha_composite(edge)
    return layer


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a colour, float64 (3,) in 0..255: grey of any lightness in a third of the draws, else strong."""
    if rng.random() < 0.33:
        return np.full(3, rng.uniform(20, 245)) + rng.normal(0, 6, 3)
    return rng.uniform(20, 250, 3)
