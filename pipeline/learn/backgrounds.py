"""What items are pasted on: drawn backgrounds (plain, gradient, noise, planks, tiles, cloth) and patches of photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reporting.errors import DataError

Pixels = NDArray[np.float32]
Draw = Callable[[int, np.random.Generator], Pixels]


def photo_paths(folder: Path, split: str) -> list[Path]:
    """Return the photos that a split (train, val) of the Grocery Store Dataset lists, in its order.

    Raises:
        DataError: the list or a photo is missing, or the list names one outside the folder.
    """
    listed = folder / f"{split}.txt"
    if not listed.is_file():
        raise DataError(f"{listed}: no such file; name the folder of the Grocery Store Dataset (train.txt, val.txt)")
    try:
        lines = [line for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listed}: cannot be read: {error}; restore it") from error
    paths = [folder / line.split(",")[0].strip() for line in lines]
    outside = [path for path in paths if ".." in path.parts or not path.is_relative_to(folder)]
    if outside:
        raise DataError(f"{listed}: names photos outside its folder, first {outside[0]}; restore it")
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        raise DataError(
            f"{listed}: {len(missing)} of {len(paths)} photos are missing, first {missing[:1]}; restore them"
        )
    return paths


def background(side: int, rng: np.random.Generator, photos: Sequence[Path], *, test: bool) -> Image.Image:
    """Return an RGB picture of side x side px: half of a photo's patch where there are photos, else drawn.

    The test draws planks and tiles, which training never sees, and training the rest.

    Args:
        side: Pixels.
        rng: Draws all that varies.
        photos: May be empty.
        test: Which drawn kinds.
    """
    if photos and rng.random() < 0.5:
        return _patch(photos[int(rng.integers(len(photos)))], side, rng)
    kinds = _TEST if test else _TRAIN
    return as_picture(kinds[int(rng.integers(len(kinds)))](side, rng))


def as_picture(pixels: Pixels) -> Image.Image:
    """Return float pixels (side, side, 3) in 0..255 as an RGB picture, clipped."""
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def light(side: int, rng: np.random.Generator) -> Image.Image:
    """Return a shop's background: white, or almost."""
    tint = rng.integers(0, 16, 3) * (rng.random() < 0.5)
    return Image.new("RGB", (side, side), tuple(int(255 - value) for value in tint))


def _patch(path: Path, side: int, rng: np.random.Generator) -> Image.Image:
    """Return a square patch of a photo, 30 to 70 % of its shorter side, turned and mirrored at will.

    Small patches hold parts of things rather than things: a whole product that nobody drew a box around would teach
    that products are background.
    """
    with Image.open(path) as photo:
        photo.draft("RGB", (side, side))
        picture = photo.convert("RGB")
    size = round(min(picture.size) * rng.uniform(0.3, 0.7))
    left, top = (int(rng.integers(0, full - size + 1)) for full in picture.size)
    patch = picture.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + size, top + size))
    turns = (None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180)
    turn = turns[int(rng.integers(len(turns)))]
    return patch if turn is None else patch.transpose(turn)


def _colour(rng: np.random.Generator) -> Pixels:
    """Return a colour, float32 (3,): mostly muted, sometimes strong."""
    strength = 90 if rng.random() < 0.2 else 30
    return (rng.uniform(40, 240) + rng.uniform(-strength, strength, 3)).astype(np.float32)


def _grid(side: int) -> tuple[Pixels, Pixels]:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    return y, x


def _mixed(weight: Pixels, one: Pixels, other: Pixels) -> Pixels:
    share = np.clip(weight, 0, 1)[..., None]
    return (one * share + other * (1 - share)).astype(np.float32)


def _smooth(side: int, cells: int, rng: np.random.Generator) -> Pixels:
    """Return soft noise in 0..1: a coarse grid of random values, enlarged."""
    coarse = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    smooth: Pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32) / np.float32(255)
    return smooth


def _plain(side: int, rng: np.random.Generator) -> Pixels:
    return np.tile(_colour(rng), (side, side, 1))


def _gradient(side: int, rng: np.random.Generator) -> Pixels:
    y, x = _grid(side)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (x * np.cos(angle) + y * np.sin(angle)) / side
    return _mixed((ramp - ramp.min()) / (np.ptp(ramp) + 1e-6), _colour(rng), _colour(rng))


def _clouds(side: int, rng: np.random.Generator) -> Pixels:
    weight = _smooth(side, int(rng.integers(3, 10)), rng) * 0.7 + _smooth(side, int(rng.integers(12, 48)), rng) * 0.3
    return _mixed(weight, _colour(rng), _colour(rng))


def _grain(side: int, rng: np.random.Generator) -> Pixels:
    spread = rng.uniform(4, 40)
    return (_colour(rng) + rng.normal(0, spread, (side, side, 1))).astype(np.float32)


def _blobs(side: int, rng: np.random.Generator) -> Pixels:
    """Hard patches: rectangles and discs of flat colour, which look like objects and are none."""
    pixels = np.array(_clouds(side, rng))
    y, x = _grid(side)
    for _ in range(int(rng.integers(2, 9))):
        cy, cx, h, w = rng.uniform(0, side, 2).tolist() + (rng.uniform(0.05, 0.5, 2) * side).tolist()
        inside = (abs(y - cy) < h / 2) & (abs(x - cx) < w / 2)
        if rng.random() < 0.5:
            inside = ((y - cy) / h) ** 2 + ((x - cx) / w) ** 2 < 0.25
        pixels[inside] = pixels[inside] * 0.3 + _colour(rng) * 0.7
    return pixels


def _cloth(side: int, rng: np.random.Generator) -> Pixels:
    y, x = _grid(side)
    pitch = rng.uniform(0.3, 1.4)
    one = _colour(rng)
    return _mixed(0.5 + 0.25 * np.sin(x * pitch) + 0.25 * np.sin(y * pitch), one, one * np.float32(0.8))


def _stripes(side: int, rng: np.random.Generator) -> Pixels:
    y, x = _grid(side)
    angle, period = rng.uniform(0, np.pi), rng.uniform(8, 60)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    return _mixed(np.clip(wave * rng.uniform(1, 6), -1, 1) / 2 + 0.5, _colour(rng), _colour(rng))


def _planks(side: int, rng: np.random.Generator) -> Pixels:
    y, x = _grid(side)
    width = rng.uniform(0.12, 0.3) * side
    shade = rng.uniform(0.75, 1.1, 16).astype(np.float32)[(x // width).astype(int) % 16]
    vein = _smooth(side, 6, rng)[:, :1] * 0.1 + 0.05 * np.sin(y / rng.uniform(3, 9) + x // width)
    light_of: Pixels = (shade + vein - 0.15 * (x % width < 2)).astype(np.float32)
    return _colour(rng) * light_of[..., None]


def _tiles(side: int, rng: np.random.Generator) -> Pixels:
    y, x = _grid(side)
    size = rng.uniform(0.1, 0.35) * side
    joint = (x % size < 3) | (y % size < 3)
    checker = (((x // size) + (y // size)) % 2) * np.float32(rng.uniform(0, 0.4))
    return _mixed(1 - np.maximum(joint * np.float32(0.6), checker), _colour(rng), _colour(rng))


_TRAIN: Final[tuple[Draw, ...]] = (_plain, _gradient, _clouds, _grain, _blobs, _blobs, _cloth, _stripes)
_TEST: Final[tuple[Draw, ...]] = (_plain, _gradient, _clouds, _blobs, _planks, _tiles)
