"""The users' photos: an item in its third look on a background that is not a shop's, as JPEG.

Backgrounds are drawn with numpy (gradients, soft noise, planks, tiles, cloth), half of them with blurred things on
them; the item is tilted, takes a third to three fifths of the side, lies anywhere, and is given a soft shadow and
another exposure: whoever searches has to find it first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from pipeline.demo.drawing import jpeg, turned_jpeg, visible_box
from pipeline.models.detections import Box

_TURNED_SHARE: Final = 0.1  # of the photos lies on its side and says so in EXIF, as telephones write them
_CLUTTER_SHARE: Final = 0.5
_FILL: Final = (0.3, 0.6)
"""The item's longer side as a share of the photo's."""

Pixels = NDArray[np.float32]


class Photo(NamedTuple):
    """A user's photo, and where the item is."""

    data: bytes
    """A JPEG of 272 to 352 px a side."""
    box: Box
    """Around the item, in pixels of the upright picture."""


def photo(look: Image.Image, rng: np.random.Generator) -> Photo:
    """Draw a user's photo of an item.

    Args:
        look: RGBA picture of the item.
        rng: Draws all that varies.
    """
    side = int(rng.integers(272, 353))
    draw = _BACKGROUNDS[int(rng.integers(len(_BACKGROUNDS)))]
    canvas = _to_picture(draw(side, rng)).convert("RGBA")
    if rng.random() < _CLUTTER_SHARE:
        canvas = _cluttered(canvas, rng)
    item = _turned(look, round(side * rng.uniform(*_FILL)), rng)
    left, top = (int(rng.integers(0, side - length + 1)) for length in item.size)
    canvas.alpha_composite(_shadow(item, side, left, top))
    canvas.alpha_composite(item, (left, top))
    exposed = np.asarray(canvas.convert("RGB"), dtype=np.float32) * np.float32(rng.uniform(0.85, 1.08))
    # Sensor grain of 2.6 grey levels, alike in the three channels.
    picture = _to_picture(exposed + rng.integers(-4, 5, size=(side, side, 1), dtype=np.int8))
    quality = int(rng.integers(78, 91))
    write = turned_jpeg if rng.random() < _TURNED_SHARE else jpeg
    return Photo(write(picture, quality=quality), Box(left, top, left + item.width, top + item.height))


def _turned(look: Image.Image, length: int, rng: np.random.Generator) -> Image.Image:
    """Return the visible part of an item, tilted by up to 15 degrees, with its longer side of `length` pixels."""
    tilted = look.rotate(float(rng.uniform(-15, 15)), Image.Resampling.BICUBIC, expand=True)
    tight = tilted.crop(visible_box(tilted))
    factor = length / max(tight.size)
    width, height = (max(1, round(extent * factor)) for extent in tight.size)
    return tight.resize((width, height), Image.Resampling.LANCZOS)


def _cluttered(canvas: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the background with one to four things on it that are out of focus: discs, and boxes with round corners.

    They are no items: soft, in one colour, and half seen through.
    """
    side = canvas.width
    layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    for _ in range(int(rng.integers(1, 5))):
        red, green, blue = (round(float(value)) for value in np.clip(_colour(rng, 60, 235), 0, 255))
        width, height = (round(side * rng.uniform(0.1, 0.35)) for _ in range(2))
        left, top = (int(rng.integers(-side // 10, side - side // 10)) for _ in range(2))
        thing = ImageDraw.Draw(layer)
        within, fill = (left, top, left + width, top + height), (red, green, blue, int(rng.integers(110, 200)))
        if rng.random() < 0.5:
            thing.ellipse(within, fill=fill)
        else:
            thing.rounded_rectangle(within, radius=min(width, height) // 5, fill=fill)
    softened = layer.filter(ImageFilter.BoxBlur(side * rng.uniform(0.015, 0.035)))
    return Image.alpha_composite(canvas, softened)


def _to_picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _shadow(item: Image.Image, side: int, left: int, top: int) -> Image.Image:
    """Return the item's soft shadow, 2 % of the side below it, as an RGBA layer of the photo's size."""
    shape = Image.new("L", (side, side), 0)
    shape.paste(item.getchannel("A").point(lambda value: value * 2 // 5), (left + side // 60, top + side // 40))
    layer = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    layer.putalpha(shape.filter(ImageFilter.BoxBlur(side / 40)))
    return layer


def _colour(rng: np.random.Generator, low: int = 90, high: int = 225) -> Pixels:
    """Return a muted colour, float32 (3,): a grey with up to 30 levels of tint."""
    return (rng.uniform(low, high) + rng.uniform(-30, 30, size=3)).astype(np.float32)


def _axes(side: int) -> tuple[Pixels, Pixels]:
    """Return y of shape (side, 1) and x of shape (1, side), in pixels: most patterns need no full grid."""
    axis = np.arange(side, dtype=np.float32)
    return axis[:, None], axis[None, :]


def _mixed(share: Pixels, one: Pixels, other: Pixels) -> Pixels:
    """Blend two colours by a share of shape (side, side); returns (side, side, 3)."""
    blended: Pixels = one + share[..., None] * (other - one)
    return blended


def _gradient(side: int, rng: np.random.Generator) -> Pixels:
    """A wall with light from one side."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = _axes(side)
    slope = (x / side - 0.5) * np.float32(np.cos(angle)) + (y / side - 0.5) * np.float32(np.sin(angle))
    return _mixed(np.clip(slope + np.float32(0.5), np.float32(0), np.float32(1)), _colour(rng), _colour(rng))


def _soft_noise(side: int, rng: np.random.Generator) -> Pixels:
    """Something out of focus behind the item: coarse noise, smoothly enlarged."""
    cells = int(rng.integers(4, 12))
    coarse = Image.fromarray(rng.integers(0, 256, size=(cells, cells), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32) / np.float32(255)
    return _mixed(smooth, _colour(rng), _colour(rng))


def _planks(side: int, rng: np.random.Generator) -> Pixels:
    """A table of planks with a wavy grain."""
    wood = np.array([176.0, 132.0, 88.0], dtype=np.float32) * np.float32(rng.uniform(0.7, 1.2))
    y, x = _axes(side)
    width = side // int(rng.integers(3, 7))
    plank = np.floor(x / width)
    grain = np.sin((x + 4 * np.sin(y / side * 7 + plank * 2)) * 0.9 + plank * 5) * 0.06
    tone = 1 + grain + 0.05 * np.cos(plank * 9.0) - 0.35 * ((x % width) < 2)
    shaded: Pixels = wood * tone[..., None]
    return shaded


def _tiles(side: int, rng: np.random.Generator) -> Pixels:
    """A tiled wall or a checked cloth."""
    size = int(rng.integers(24, 64))
    y, x = _axes(side)
    joint = ((x % size) < 2) | ((y % size) < 2)
    check = ((x // size + y // size) % 2) * np.float32(rng.uniform(0.0, 0.5))
    return _mixed(np.where(joint, np.float32(1), check), _colour(rng, 130), _colour(rng))


def _cloth(side: int, rng: np.random.Generator) -> Pixels:
    """A woven cloth: two crossing waves and fine noise."""
    y, x = _axes(side)
    pitch = np.float32(rng.uniform(0.6, 1.4))
    weave = 0.5 + 0.25 * np.sin(x * pitch) + 0.25 * np.sin(y * pitch)
    fibre = rng.integers(-20, 21, size=weave.shape, dtype=np.int8) / np.float32(150)
    one = _colour(rng)
    return _mixed(weave + fibre, one, one * np.float32(0.85))


_BACKGROUNDS: Final[tuple[Callable[[int, np.random.Generator], Pixels], ...]] = (
    _gradient,
    _soft_noise,
    _planks,
    _tiles,
    _cloth,
)
