"""What goes wrong with a picture between a merchant's studio and our door."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageFilter

from pipeline.demo.drawing import flattened, jpeg, on_background, png
from pipeline.demo.rows import Fault

_ERROR_PAGE: Final = b"""<!DOCTYPE html>
<html><head><title>503 Service Unavailable</title></head>
<body><h1>503 Service Unavailable</h1><p>The image server is busy, please try again.</p></body></html>
"""
_VECTOR: Final = b"""<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="4" fill="#888"/></svg>
"""


def spoiled(canvas: Image.Image, fault: Fault, rng: np.random.Generator) -> bytes:
    """Return the file of an item's further view, with a defect.

    Args:
        canvas: RGBA, from `drawing.compose`.
        fault: `NOT_AN_IMAGE`, `TRUNCATED`, `TOO_SMALL`, `BLURRED`, `LOW_CONTRAST`, `BAD_ASPECT`, or `OFF_SHELF`
            (a sound picture, mirrored and tilted so that it repeats no other).
        rng: Draws how bad it is.

    Raises:
        ValueError: Any other fault: it is none of the picture.
    """
    if fault is Fault.NOT_AN_IMAGE:
        return (_ERROR_PAGE, _VECTOR)[int(rng.integers(2))]
    if fault is Fault.OFF_SHELF:
        return jpeg(_tilted(canvas, rng), quality=90)
    draw = _DEFECTS.get(fault)
    if draw is None:
        raise ValueError(f"{fault.value} is not a defect of a picture")
    return draw(flattened(canvas, rng), rng)


def repeated(base: bytes, fault: Fault, rng: np.random.Generator) -> bytes:
    """Return a near duplicate of a served picture, made from its file as a reseller would.

    Args:
        base: A plain JPEG or PNG file.
        fault: `RECOMPRESSED` (JPEG quality 60 to 80) or `RESIZED` (to 60 to 80 or 120 to 150 %).
        rng: Draws how much.

    Raises:
        ValueError: Any other fault.
    """
    with Image.open(BytesIO(base)) as opened:
        picture = opened.convert("RGB")
    if fault is Fault.RECOMPRESSED:
        return jpeg(picture, quality=int(rng.integers(60, 81)))
    if fault is Fault.RESIZED:
        factor = rng.uniform(0.6, 0.8) if rng.random() < 0.5 else rng.uniform(1.2, 1.5)
        side = round(picture.width * factor)
        return jpeg(picture.resize((side, side), Image.Resampling.LANCZOS), quality=88)
    raise ValueError(f"{fault.value} makes no near duplicate")


def _cut(flat: Image.Image, rng: np.random.Generator) -> bytes:
    """Return 40 to 75 % of a file: past the header of 0.6 KB, so that it is recognised as a picture."""
    body = jpeg(flat, quality=92) if rng.random() < 0.7 else png(flat)
    return body[: int(len(body) * rng.uniform(0.4, 0.75))]


def _thumbnail(flat: Image.Image, rng: np.random.Generator) -> bytes:
    """Return a picture of 24 to 60 px a side; the least kept is 64."""
    side = int(rng.integers(24, 61))
    return jpeg(flat.resize((side, side), Image.Resampling.LANCZOS), quality=88)


def _blurred(flat: Image.Image, rng: np.random.Generator) -> bytes:
    """Blur by 4.5 to 5.5 % of the side: at 3 % (sigma 6 at 200 px) icons measure up to 31.6 of the limit 40."""
    return jpeg(flat.filter(ImageFilter.GaussianBlur(rng.uniform(0.045, 0.055) * flat.width)), quality=90)


def _faded(flat: Image.Image, rng: np.random.Generator) -> bytes:
    """Bring the standard deviation of the luma to 2 to 4 grey levels; the least kept is 6."""
    pixels = np.asarray(flat, dtype=np.float64)
    deviation = float(np.asarray(flat.convert("L"), dtype=np.float64).std())
    faded = 200.0 + (pixels - pixels.mean(axis=(0, 1))) * (rng.uniform(2.0, 4.0) / max(deviation, 1.0))
    return jpeg(Image.fromarray(faded.round().clip(0, 255).astype(np.uint8)), quality=92)


def _banner(flat: Image.Image, rng: np.random.Generator) -> bytes:
    """Return a shop banner five to seven times as wide as high (the most kept is four) with the item at its left."""
    high = int(rng.integers(90, 121))
    red, green, blue = (int(value) for value in rng.integers(120, 230, size=3))
    banner = Image.new("RGB", (int(high * rng.uniform(5.0, 7.0)), high), (red, green, blue))
    banner.paste(flat.resize((high, high), Image.Resampling.LANCZOS), (0, 0))
    return jpeg(banner, quality=90)


def _tilted(canvas: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the item mirrored and tilted on a pale tint; on a darker one some sound items measure as blurred."""
    angle = float(rng.uniform(25, 40)) * (1 if rng.random() < 0.5 else -1)
    turned = canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(angle, Image.Resampling.BICUBIC)
    red, green, blue = (int(value) for value in rng.integers(215, 246, size=3))
    return on_background(turned, (red, green, blue))


_DEFECTS: Final[dict[Fault, Callable[[Image.Image, np.random.Generator], bytes]]] = {
    Fault.TRUNCATED: _cut,
    Fault.TOO_SMALL: _thumbnail,
    Fault.BLURRED: _blurred,
    Fault.LOW_CONTRAST: _faded,
    Fault.BAD_ASPECT: _banner,
}
