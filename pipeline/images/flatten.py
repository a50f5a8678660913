"""Any pixel mode to opaque 8-bit colour: the one rule for alpha, palette, CMYK and 16 bits."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from PIL import Image

_WIDE_GREY: Final = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_WHITE: Final = (255, 255, 255, 255)


def flatten(image: Image.Image, mode: Literal["RGB", "YCbCr"]) -> Image.Image:
    """Bring any mode of Pillow to 8-bit RGB or YCbCr, composited on white.

    A CMYK JPEG arrives the right way round: Pillow undoes Adobe's inversion for every CMYK JPEG, as browsers do.
    16-bit grey keeps its high byte, as Pillow keeps it of 16-bit colour.

    Args:
        image: A loaded picture; may be returned as it is.
        mode: The mode wanted.

    Raises:
        ValueError: a mode without a defined white (floating-point grey, 32-bit grey above 65,535, Lab).
    """
    if image.mode == mode:
        if "transparency" not in image.info:
            return image
    elif image.mode in _WIDE_GREY:
        image = _narrow_grey(image)
    elif image.mode == "F":
        raise ValueError("floating-point grey has no defined white")
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, _WHITE)
        canvas.alpha_composite(image.convert("RGBA"))
        image = canvas.convert("RGB")
    elif image.mode not in ("RGB", "L", "YCbCr"):
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _narrow_grey(image: Image.Image) -> Image.Image:
    """Keep the high byte of 16-bit grey; Pillow's own conversion to 8 bits clips at 255 instead."""
    wide = np.asarray(image)
    if int(wide.min(initial=0)) < 0 or int(wide.max(initial=0)) > 0xFFFF:
        raise ValueError("32-bit grey outside 0..65535 has no defined white")
    return Image.fromarray((wide >> 8).astype(np.uint8))
