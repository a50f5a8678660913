"""Small pictures inside the page: each once, however often it is shown, and never more than a page can carry."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from evaluation.catalog import CatalogImage
from evaluation.evalset import Query
from reporting.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE: Final = 128
"""Longer side in pixels: twice the size at which it is shown."""
MOST_PIXELS: Final = 50_000_000
"""Of a picture, by its header; above every phone's and below Pillow's own warning."""
MOST_BYTES: Final = 8 << 20
"""Of all thumbnails of a page together."""
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# What Pillow raises on hostile bytes (pipeline/images/decode.py found them by fuzzing its readers).
_DAMAGED: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    EOFError,
    ArithmeticError,
    LookupError,
    struct.error,
    zlib.error,
    Warning,
)


class Thumbnail(NamedTuple):
    """A picture of the page.

    Attributes:
        number: Names it in the page's style sheet.
        data: URL of a small JPEG, base64 only.
    """

    number: int
    data: str


class Album:
    """The thumbnails of a page, in the order in which they are first asked for.

    Attributes:
        thumbnails: So far.
        unreadable: Name -> why a picture cannot be shown.
        left_out: Pictures that were asked for when the page was full.
    """

    def __init__(self, read: Callable[[Query | CatalogImage], bytes] | None, *, most_bytes: int = MOST_BYTES):
        self._read = read
        self._bytes_left = most_bytes
        self._known: dict[tuple[str, str], Thumbnail | None] = {}
        self.unreadable: dict[str, str] = {}
        self.left_out = 0

    @property
    def thumbnails(self) -> list[Thumbnail]:
        """Return all that are shown, by number."""
        return [one for one in self._known.values() if one is not None]

    def number(self, shown: Query | CatalogImage | None) -> int | None:
        """Return the number of a picture's thumbnail; None where there is none."""
        if self._read is None or shown is None or not shown.path:
            return None
        name = shown.query_id if isinstance(shown, Query) else shown.image_id
        key = (type(shown).__name__, name)
        if key not in self._known:
            self._known[key] = self._make(shown, name)
        found = self._known[key]
        return None if found is None else found.number

    def _make(self, shown: Query | CatalogImage, name: str) -> Thumbnail | None:
        assert self._read is not None
        if self._bytes_left <= 0:
            self.left_out += 1
            return None
        try:
            data = thumbnail(self._read(shown))
        except DataError as error:
            self.unreadable[name] = str(error)
            return None
        self._bytes_left -= len(data)
        return Thumbnail(len(self.thumbnails), data)


def thumbnail(data: bytes, side: int = SIDE) -> str:
    """Return a picture as a data URL of a JPEG, upright, transparency on white, longer side at most `side` pixels.

    Raises:
        DataError: The bytes are no picture of the six formats, damaged, or of more than `MOST_PIXELS` pixels.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            width, height = opened.size
            if width * height > MOST_PIXELS:
                raise DataError(f"the picture has {width} x {height} pixels; at most {MOST_PIXELS:,} are shown")
            opened.draft("RGB", (2 * side, 2 * side))
            small = _upright_rgb(opened, side)
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        raise DataError(f"the picture cannot be decoded: {type(error).__name__}: {error}") from error
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=72, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _upright_rgb(opened: Image, side: int) -> Image:
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(opened)
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        layered = upright.convert("RGBA")
        layered.thumbnail((side, side))
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    plain = upright.convert("RGB")
    plain.thumbnail((side, side))
    return plain
