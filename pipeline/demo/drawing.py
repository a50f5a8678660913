"""Catalogue pictures as a merchant serves them: an item of the pack on a light background, in many encodings."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from pipeline.demo.rows import Encoding
from pipeline.models.detections import Box
from reporting.errors import DataError

# White first: half of the pictures have it, as in shops.
_BACKGROUNDS: Final = ((255, 255, 255), (250, 249, 246), (243, 246, 250), (248, 242, 234))
_BACKGROUND_SHARES: Final = (0.5, 0.2, 0.15, 0.15)
_EXIF_ORIENTATION: Final = 0x0112
# Of 255: what is fainter does not belong to the item for a person who draws its box (a glow, an antialiased edge).
_VISIBLE: Final = 40


@lru_cache(maxsize=32)
def load_look(samples: Path, look: str, group: str) -> Image.Image:
    """Return a picture of the pack as RGBA; do not change it: it is cached.

    Raises:
        DataError: The pack has none or several of that name.
    """
    folder = samples / "pictures" / look
    found = [path for ending in ("png", "webp") if (path := folder / f"{group}.{ending}").is_file()]
    if len(found) != 1:
        raise DataError(
            f"{folder}: {len(found)} PNG or WebP pictures of {group}; expected one; use the pack as it came"
        )
    with Image.open(found[0]) as picture:
        return picture.convert("RGBA")


def backdrop(rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw one of the light backgrounds: white every second time."""
    return _BACKGROUNDS[int(rng.choice(len(_BACKGROUNDS), p=_BACKGROUND_SHARES))]


def compose(look: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return an item on a transparent square of 192 to 256 px, filling 78 to 94 % of it, nearly centred.

    The colour under full transparency is the background, so that a reader who ignores alpha sees no black.
    """
    side = int(rng.integers(192, 257))
    fill = round(side * rng.uniform(0.78, 0.94))
    item = look.resize((fill, fill), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (side, side), (*backdrop(rng), 0))
    left, top = ((side - fill) // 2 + int(rng.integers(-3, 4)) for _ in range(2))
    canvas.alpha_composite(item, (left, top))
    return canvas


def visible_box(canvas: Image.Image) -> Box:
    """Return the box around what is at least a sixth opaque of an RGBA picture.

    Raises:
        ValueError: Nothing is.
    """
    found = canvas.getchannel("A").point(lambda value: 255 if value >= _VISIBLE else 0).getbbox()
    if found is None:
        raise ValueError("the picture is transparent all over")
    return Box(*found)


def flattened(canvas: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Composite an RGBA picture on one of the light backgrounds; returns RGB."""
    return on_background(canvas, backdrop(rng))


def on_background(canvas: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Composite an RGBA picture on a colour; returns RGB."""
    flat = Image.new("RGBA", canvas.size, (*background, 255))
    flat.alpha_composite(canvas)
    return flat.convert("RGB")


def encode(canvas: Image.Image, encoding: Encoding, rng: np.random.Generator) -> bytes:
    """Return the file of a composed picture.

    Args:
        canvas: RGBA, from `compose`.
        encoding: `ALPHA_PNG` keeps the transparency; all others are flattened.
        rng: Draws background and quality.
    """
    if encoding is Encoding.ALPHA_PNG:
        return png(canvas)
    flat = flattened(canvas, rng)
    quality = int(rng.integers(86, 95))
    writers: dict[Encoding, Callable[[], bytes]] = {
        Encoding.JPEG: lambda: jpeg(flat, quality=quality),
        Encoding.PNG: lambda: png(flat),
        Encoding.PALETTE_PNG: lambda: png(flat.quantize(64, dither=Image.Dither.NONE)),
        Encoding.ANIMATED_GIF: lambda: _animated(flat),
        Encoding.CMYK_JPEG: lambda: jpeg(flat.convert("CMYK"), quality=quality),
        Encoding.TURNED_JPEG: lambda: turned_jpeg(flat, quality=quality),
        Encoding.WEBP: lambda: _saved(flat, "WEBP", quality=quality),
    }
    return writers[encoding]()


def jpeg(picture: Image.Image, *, quality: int) -> bytes:
    """Return an RGB or CMYK picture as JPEG."""
    return _saved(picture, "JPEG", quality=quality)


def png(picture: Image.Image) -> bytes:
    """Return a picture of any mode as PNG."""
    return _saved(picture, "PNG")


def width_of(data: bytes) -> int:
    """Return the stored width of a picture file, in pixels."""
    with Image.open(BytesIO(data)) as picture:
        return picture.width


def turned_jpeg(picture: Image.Image, *, quality: int) -> bytes:
    """Return a JPEG stored lying on its side, whose EXIF orientation (6) says how to turn it upright."""
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = 6
    return _saved(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=quality, exif=exif)


def _animated(flat: Image.Image) -> bytes:
    """Return a GIF of three frames, of which the later two are dimmed: only the first is the picture."""
    frames = [flat.point(lambda value, part=part: round(value * part)) for part in (1.0, 0.8, 0.6)]
    frames = [frame.quantize(128, dither=Image.Dither.NONE) for frame in frames]
    return _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=400, loop=0)


def _saved(picture: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()
