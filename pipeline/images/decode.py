"""Canonical decode: bytes of any allowed format to upright RGB pixels, and the reasons why not.

Everything that looks at pixels goes through here, so that quality, hash and embedding see the same picture:
first frame, EXIF orientation applied, transparency composited on white, grey, palette and CMYK brought to
RGB, 16 bits brought to 8. No global of Pillow is changed: a truncated file is an error, and the pixel limit
is checked on the header before Pillow allocates anything.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pydantic import BaseModel, ConfigDict, Field

from pipeline.images.flatten import flatten
from pipeline.images.header import exif_orientation, gif_canvas, jpeg_scans, looks_cut, sniff, tiff_frames, webp_canvas

Rgb = NDArray[np.uint8]
MAX_SIDE = 65_535
"""Pixels of a width or height, the most that a JPEG can say. A picture one pixel wide and millions high costs Pillow
several times the memory of its pixels."""
MAX_SCANS = 100
"""Scans of a JPEG. Each goes over all pixels, and 75 bytes repeat one: a small file would hold a thread for as long as
its sender likes. A progressive file has about ten."""
_FULL_SCANS = 20
"""Scans of a JPEG that has all the pixels allowed; a smaller one may have as many more, up to MAX_SCANS."""
PictureReason = Literal["not_an_image", "too_many_pixels", "too_many_scans", "truncated", "undecodable"]


class PictureError(Exception):
    """A picture cannot be used; `reason` says why in a word, from which a task takes the drop reason it books.

    Attributes:
        reason: `not_an_image`, `too_many_pixels`, `too_many_scans`, `truncated` or `undecodable`.
    """

    def __init__(self, reason: PictureReason, fact: str) -> None:
        super().__init__(f"{reason}: {fact}")
        self.reason: PictureReason = reason


class DecodeLimits(BaseModel):
    """How large a picture may be before it is decoded.

    Attributes:
        max_pixels: Width times height allowed, from the header. The default, 50 million, is above every
            48-megapixel phone and costs at most 150 MB as RGB. The upper bound is Pillow's own warning level
            (`Image.MAX_IMAGE_PIXELS`), so that Pillow never adds a bomb warning to our decision.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_pixels: int = Field(default=50_000_000, gt=0, le=89_478_485)


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What the header says.

    Attributes:
        format: JPEG, PNG, WEBP, GIF, BMP or TIFF.
        width: Pixels, of the original, before EXIF orientation (TIFF: after).
        height: Pixels, likewise.
        frames: Frames or pages, at least 1; only the first is ever decoded.
    """

    format: str
    width: int
    height: int
    frames: int


class _QuietJpeg(JpegImageFile):
    """Pillow's JPEG reader without its look into EXIF for a resolution: needless, slow, warns on damage."""

    def _read_dpi_from_exif(self) -> None:
        """Leave the resolution unknown."""


# The classes themselves, not Image.open: that one turns camera JPEGs into MPO and tries further plugins.
_READERS: dict[str, type[ImageFile]] = {
    "JPEG": _QuietJpeg,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
}

# Their readers allocate the canvas while they open the file.
_CANVAS = {"GIF": gif_canvas, "WEBP": webp_canvas}

# What Pillow raises on hostile bytes, found by fuzzing its readers. `Warning`: raised where the interpreter
# turns warnings into errors (-W error), e.g. on a damaged TIFF tag. MemoryError is absent: that is not the
# picture's fault.
_PILLOW_ERRORS: Final = (
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
    Image.DecompressionBombError,
)

# EXIF 2.32, tag Orientation: how to turn the stored picture upright.
_TURNS: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Of the upright picture: are its sides exchanged, does its first column, does its first row come from the far end?
_PLACES: dict[Image.Transpose | None, tuple[bool, bool, bool]] = {
    None: (False, False, False),
    Image.Transpose.FLIP_LEFT_RIGHT: (False, True, False),
    Image.Transpose.ROTATE_180: (False, True, True),
    Image.Transpose.FLIP_TOP_BOTTOM: (False, False, True),
    Image.Transpose.TRANSPOSE: (True, False, False),
    Image.Transpose.ROTATE_270: (True, True, False),
    Image.Transpose.TRANSVERSE: (True, True, True),
    Image.Transpose.ROTATE_90: (True, False, True),
}


def probe(data: bytes, limits: DecodeLimits) -> PictureInfo:
    """Read format and size from the header, decoding nothing.

    Args:
        data: The whole file.
        limits: The pixel limit.

    Raises:
        PictureError: `not_an_image` when the bytes are none of the six formats or their header is damaged;
            `too_many_pixels` when width, height or their product exceeds its limit (nothing was allocated for them);
            `too_many_scans` of a JPEG.
    """
    return _read_header(data, limits)[1]


def open_picture(data: bytes, limits: DecodeLimits) -> tuple[ImageFile, PictureInfo]:
    """Open a picture lazily: Pillow's image with no pixels loaded, and its header facts.

    Raises:
        PictureError: as `probe`; `truncated` or `undecodable` for a GIF or WebP whose frames are damaged.
    """
    image, info = _read_header(data, limits)
    if image is None:
        try:
            image = _READERS[info.format](BytesIO(data))
        except _PILLOW_ERRORS as error:
            raise _broken(data, info, error) from error
        if image.size != (info.width, info.height):
            raise PictureError(
                "undecodable", f"{info.format} header says {info.width}x{info.height}, its reader {image.size}"
            )
    return image, info


def _read_header(data: bytes, limits: DecodeLimits) -> tuple[ImageFile | None, PictureInfo]:
    """Return the header facts, and the opened image where opening reads no more than the header."""
    name = sniff(data)
    if name is None:
        raise PictureError("not_an_image", f"{len(data)} bytes start with {data[:8]!r}, none of {list(_READERS)}")
    image: ImageFile | None = None
    try:
        if name in _CANVAS:
            width, height, frames = _CANVAS[name](data)
        else:
            image = _READERS[name](BytesIO(data))
            width, height = image.size
            frames = tiff_frames(data) if name == "TIFF" else int(getattr(image, "n_frames", 1))
    except _PILLOW_ERRORS as error:
        raise PictureError("not_an_image", f"damaged {name} header: {error}") from error
    if not (width and height):
        raise PictureError("not_an_image", f"{name} header says {width}x{height}")
    _refuse_large(width, height, limits)
    if name == "JPEG":
        _refuse_scans(data, width * height, limits)
    return image, PictureInfo(name, width, height, frames)


def _broken(data: bytes, info: PictureInfo, error: Exception) -> PictureError:
    """Tell a cut file from a damaged one."""
    cut = "truncated" in str(error) or looks_cut(data, info.format)
    fact = f"{info.format} {info.width}x{info.height}, {len(data)} bytes: {error}"
    return PictureError("truncated" if cut else "undecodable", fact)


def _refuse_large(width: int, height: int, limits: DecodeLimits) -> None:
    if width * height > limits.max_pixels:
        raise PictureError("too_many_pixels", f"{width}x{height} pixels, allowed are {limits.max_pixels}")
    if max(width, height) > MAX_SIDE:
        raise PictureError("too_many_pixels", f"{width}x{height} pixels, a side may have {MAX_SIDE}")


def _refuse_scans(data: bytes, pixels: int, limits: DecodeLimits) -> None:
    allowed = min(MAX_SCANS, _FULL_SCANS * limits.max_pixels // pixels)
    try:
        scans = jpeg_scans(data, allowed)
    except ValueError as error:
        raise PictureError("not_an_image", f"damaged JPEG header: {error}") from error
    if scans > allowed:
        raise PictureError("too_many_scans", f"JPEG of {pixels} pixels has more than {allowed} scans")


def decode_rgb(data: bytes, *, min_side: int, limits: DecodeLimits) -> Rgb:
    """Decode to upright RGB at the smallest of 1/1, 1/2, 1/4, 1/8 whose short side is still >= `min_side`.

    A JPEG is scaled inside its inverse DCT, which is both faster and the same filter for every caller; other
    formats are decoded in full and box-reduced by the same factor. Never enlarges: a picture smaller than
    `min_side` comes at its own size.

    Args:
        data: The whole file.
        min_side: Pixels wanted on the short side, at least 1.
        limits: The pixel limit.

    Returns:
        uint8 (H, W, 3), C-contiguous, writeable, values 0 to 255 in the file's own colour space (embedded ICC
        profiles are not applied).

    Raises:
        PictureError: `truncated` or `undecodable`, and as `probe`.
    """
    return decode_scaled(data, min_side=min_side, limits=limits).image


@dataclass(frozen=True, slots=True)
class Scaled:
    """A picture decoded at reduced scale and turned upright, and where its pixels lie in the original.

    Column `x` of `image` begins at column `x * scale - left` of the upright original, row `y` at `y * scale - top`.
    Where a side is no multiple of `scale`, the outermost row and column lie partly outside the original: at the
    right and below, or for a picture that EXIF mirrors or turns at the left or above, which `left` and `top` say.

    Attributes:
        image: As `decode_rgb` returns it.
        width: Pixels of the upright original.
        height: Pixels of the upright original.
        scale: Original pixels a pixel of `image`: 1, 2, 4 or 8.
        left: Original pixels by which the first column begins outside, 0 <= left < scale.
        top: Original pixels by which the first row begins outside, 0 <= top < scale.
    """

    image: Rgb
    width: int
    height: int
    scale: int
    left: int
    top: int


def decode_scaled(data: bytes, *, min_side: int, limits: DecodeLimits) -> Scaled:
    """Decode as `decode_rgb` does, and say where the pixels lie in the upright original.

    Args:
        data: The whole file.
        min_side: Pixels wanted on the short side, at least 1.
        limits: The pixel limit.

    Raises:
        PictureError: As `decode_rgb`.
    """
    image, info = open_picture(data, limits)
    return decode_opened(image, info, data, min_side=min_side)


def decode_opened(image: ImageFile, info: PictureInfo, data: bytes, *, min_side: int) -> Scaled:
    """Decode an opened picture as `decode_scaled`, for who needs its size before he knows the scale he wants.

    Args:
        image: From `open_picture`; consumed.
        info: From `open_picture`.
        data: The whole file, to tell a cut file from a damaged one.
        min_side: Pixels wanted on the short side, at least 1.

    Raises:
        PictureError: `truncated` or `undecodable`.
    """
    unturned = load_scaled(image, info, data, min_side=min_side, mode="RGB")
    scale = scale_of(info.width, info.height, min_side)
    width, height = info.width, info.height
    swapped, from_right, from_below = _PLACES[unturned.turn]
    if swapped:
        width, height = height, width
    return Scaled(
        np.array(unturned.image if unturned.turn is None else unturned.image.transpose(unturned.turn)),
        width,
        height,
        scale,
        -width % scale if from_right else 0,
        -height % scale if from_below else 0,
    )


@dataclass(frozen=True, slots=True)
class Unturned:
    """A decoded, flattened picture that is not yet turned upright.

    Attributes:
        image: 8-bit RGB or YCbCr, ceil(size / scale) pixels.
        region: (width / scale, height / scale), fractional: where the original ends. The last row and column
            are only partly covered by it; a resize that ignores this stretches the picture by up to a pixel,
            which at 1/8 changed 2.8 bits of a dHash on average instead of 0.6 (see dhash.py).
        turn: What makes it upright, or None.
    """

    image: Image.Image
    region: tuple[float, float]
    turn: Image.Transpose | None


def scale_of(width: int, height: int, min_side: int) -> int:
    """Return the largest of 8, 4, 2, 1 by which the short side can be divided and stay >= `min_side`.

    Example:
        >>> scale_of(1000, 750, 64), scale_of(64, 64, 64), scale_of(20, 30, 64)
        (8, 1, 1)
    """
    short = min(width, height)
    return next((s for s in (8, 4, 2) if s <= short and -(-short // s) >= min_side), 1)


def load_scaled(
    image: ImageFile, info: PictureInfo, data: bytes, *, min_side: int, mode: Literal["RGB", "YCbCr"]
) -> Unturned:
    """Load an opened picture scaled as in `decode_rgb` and without transparency.

    Args:
        image: From `open_picture`; consumed.
        info: From `open_picture`.
        data: The whole file, to tell a cut file from a damaged one.
        min_side: As in `decode_rgb`.
        mode: `YCbCr` skips the colour conversion of a JPEG where its luma is wanted.

    Raises:
        PictureError: `truncated` or `undecodable`.
    """
    scale = scale_of(info.width, info.height, min_side)
    try:
        if info.format == "JPEG":
            # draft() takes a size and keeps both sides at or above it: this size yields exactly 1/scale.
            cast(JpegImageFile, image).draft(mode, (info.width // scale, info.height // scale))
        image.load()
        flat = flatten(image, mode)
        if scale > 1 and info.format != "JPEG":
            flat = flat.reduce(scale)
    except _PILLOW_ERRORS as error:
        raise _broken(data, info, error) from error
    # Pillow itself turns a TIFF upright while loading it.
    turn = None if info.format == "TIFF" else _TURNS.get(exif_orientation(image.info.get("exif", b"")))
    return Unturned(flat, (info.width / scale, info.height / scale), turn)
