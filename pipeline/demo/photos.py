"""The users' photos: an item in its third look on a background that is not a shop's, as JPEG.

Backgrounds are drawn with numpy (gradients, soft noise, planks, tiles, cloth), the item is scaled, tilted, put off
centre, given a soft shadow and another exposure: what separates a user's photo from a catalogue picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.demo.drawing import jpeg, turned_jpeg

_TURNED_SHARE: Final = 0.1  # of the photos lies on its side and says so in EXIF, as telephones write them

Pixels = NDArray[np.float32]


def photo(look: Image.Image, rng: np.random.Generator) -> bytes:
    """Return a user's photo of an item.

    Args:
        look: RGBA picture of the item.
        rng: Draws all that varies.

    Returns:
        A JPEG of 256 to 320 px a side.
    """
    side = int(rng.integers(256, 321))
    draw = _BACKGROUNDS[int(rng.integers(len(_BACKGROUNDS)))]
    canvas = _to_picture(draw(side, rng)).convert("RGBA")
    fill = round(side * rng.uniform(0.6, 0.8))
    item = look.resize((fill, fill), Image.Resampling.LANCZOS)
    item = item.rotate(float(rng.uniform(-15, 15)), Image.Resampling.BICUBIC)
    left, top = ((side - fill) // 2 + round(side * rng.uniform(-0.06, 0.06)) for _ in range(2))
    canvas.alpha_composite(_shadow(item, side, left, top))
    canvas.alpha_composite(item, (left, top))
    exposed = np.asarray(canvas.convert("RGB"), dtype=np.float32) * np.float32(rng.uniform(0.85, 1.08))
    # Sensor grain of 2.6 grey levels, alike in the three channels.
    picture = _to_picture(exposed + rng.integers(-4, 5, size=(side, side, 1), dtype=np.int8))
    quality = int(rng.integers(78, 91))
    if rng.random() < _TURNED_SHARE:
        return turned_jpeg(picture, quality=quality)
    return jpeg(picture, quality=quality)


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
