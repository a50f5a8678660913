"""Is a picture worth searching for: size, shape, contrast and sharpness, and the limits that judge them.

The default limits were set on the 2,640 grocery photos of the train split, its 81 catalogue pictures and 936 emoji
icons on white (192 px), none of which they drop. "Blurred": every sixth of them at 200 px after a Gaussian of sigma 6,
as JPEG; all of these they drop, and also what is blurred as much at 64 px. Sharp copies at 64 px measure 53.7 or more.

| measure | photos: least, 1 %, median | catalogue | icons | blurred: median, most | limit |
|---|---|---|---|---|---|
| sharpness | 307, 618, 2251 | 81.9, 144, 876 | 82.4, 177, 1074 | 8, 31.6 | 40 |
| contrast | 28.9, 34.6, 50.5 | 18.8, 27.8, 54.7 | 18.2, 23.1, 56.1 | - | 6 |
| aspect, most | 1.33 | 1.0 | 1.43 | - | 4 |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from pipeline.images.decode import PictureInfo

WORK_SIDE = 96
"""Short side in pixels at which contrast and sharpness are measured; decode with `min_side=WORK_SIDE`.

At 64 the blurred icons (up to 101) reached the least sharp catalogue picture (110); at 128 nothing was gained
over 96 but time."""

_MAX_WORK_RATIO = 16  # a picture 1 px high must not become 96 x 100,000: beyond this it is squeezed

QualityReason = Literal["too_small", "bad_aspect", "low_contrast", "blurred"]


class QualityLimits(BaseModel):
    """The least a picture must have to be kept; the module's table gives what was measured.

    Attributes:
        min_side: Least short side of the original, in pixels.
        max_aspect: Largest ratio of long to short side of the original.
        min_contrast: Least standard deviation of luma, in grey levels.
        min_sharpness: Least variance of the Laplacian at `WORK_SIDE`, in squared grey levels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_side: int = Field(default=64, ge=1)
    max_aspect: float = Field(default=4.0, ge=1.0, allow_inf_nan=False)
    min_contrast: float = Field(default=6.0, ge=0.0, allow_inf_nan=False)
    min_sharpness: float = Field(default=40.0, ge=0.0, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class QualityMeasures:
    """What was measured of one picture.

    Attributes:
        short_side: Pixels, of the original.
        aspect: Long side over short side of the original, at least 1.
        contrast: Standard deviation of luma (ITU-R BT.601) at the working size, grey levels, 0 to 127.5.
        sharpness: Variance of the Laplacian of that luma, squared grey levels.
    """

    short_side: int
    aspect: float
    contrast: float
    sharpness: float


def measure(info: PictureInfo, rgb: NDArray[np.uint8]) -> QualityMeasures:
    """Measure a decoded picture.

    Sharpness is the variance of the 4-neighbour Laplacian (Pech-Pacheco, Cristobal, Chamorro-Martinez and
    Fernandez-Valdivia, "Diatom autofocusing in brightfield microscopy", ICPR 2000). The luma is first brought
    to `WORK_SIDE`, enlarged if need be, because the variance of one and the same picture otherwise changes
    several times over with its size.

    Args:
        info: From `decode.probe`: sizes are judged on the original, not on `rgb`.
        rgb: uint8 (H, W, 3), from `decode.decode_rgb(data, min_side=WORK_SIDE, ...)`.

    Raises:
        ValueError: `rgb` is not uint8 (H, W, 3) with H, W >= 1.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ValueError(f"rgb is {rgb.dtype} {rgb.shape}, wanted is uint8 (H, W, 3)")
    short, long = sorted((info.width, info.height))
    luma = _work_luma(rgb)
    return QualityMeasures(short, long / short, float(luma.std()), float(_laplacian(luma).var()))


def judge(measures: QualityMeasures, limits: QualityLimits) -> QualityReason | None:
    """Return why a picture is dropped, or None to keep it; a measure equal to its limit passes.

    The first failing rule names the reason, in this order: `too_small`, `bad_aspect` (both from the header and
    certain), `low_contrast`, `blurred` (a flat picture has no edges either, so contrast is asked first).
    """
    if measures.short_side < limits.min_side:
        return "too_small"
    if measures.aspect > limits.max_aspect:
        return "bad_aspect"
    if measures.contrast < limits.min_contrast:
        return "low_contrast"
    if measures.sharpness < limits.min_sharpness:
        return "blurred"
    return None


def _work_luma(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the luma at the working size, float64 (h, w) with min(h, w) = `WORK_SIDE`."""
    height, width = rgb.shape[:2]
    scale = WORK_SIDE / min(height, width)
    most = WORK_SIDE * _MAX_WORK_RATIO
    size = min(most, max(WORK_SIDE, round(width * scale))), min(most, max(WORK_SIDE, round(height * scale)))
    luma = Image.fromarray(rgb).convert("L").resize(size, Image.Resampling.LANCZOS)
    return np.asarray(luma, dtype=np.float64)


def _laplacian(luma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply the kernel 0 1 0 / 1 -4 1 / 0 1 0 to the inner pixels."""
    centre = luma[1:-1, 1:-1]
    return luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4.0 * centre
