"""From RGB pictures of any size to a network's input batch, as its `InputSpec` says; numpy and Pillow only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.models.boxes import letterbox
from pipeline.models.spec import InputSpec
from reporting.errors import DataError

Rgb = npt.NDArray[np.uint8]

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def preprocess(images: Sequence[Rgb], spec: InputSpec) -> npt.NDArray[np.float32]:
    """Return the batch (N, 3, height, width) float32, contiguous; (0, 3, height, width) for no picture.

    Args:
        images: HWC uint8 RGB arrays, each of its own size of at least 1 x 1 px; not changed.
        spec: resize, interpolation, channel order, mean and std.

    Raises:
        DataError: a picture has another dtype or shape, or no pixels; the message names its place in the sequence.
    """
    batch = np.empty((len(images), 3, spec.height, spec.width), dtype=np.float32)
    mean = np.asarray(spec.mean, dtype=np.float32)[:, None, None]
    scale = (1.0 / np.asarray(spec.std, dtype=np.float64)).astype(np.float32)[:, None, None]
    for index, image in enumerate(images):
        pixels = resize(_checked(image, index), spec)
        planes = pixels.transpose(2, 0, 1)
        if spec.color == "BGR":
            planes = planes[::-1]
        np.subtract(planes, mean, out=batch[index])
    batch *= scale
    return batch


def resize(image: Rgb, spec: InputSpec) -> Rgb:
    """Return the picture as (height, width, 3) uint8 by one Pillow resampling.

    - `stretch`: the whole picture; its aspect ratio is lost.
    - `shortest_crop`: the largest centred box of the target's aspect ratio, shrunk by `crop_ratio`, resampled. The
      box may have fractional edges. `crop_ratio` 0.875 is the evaluation crop of the official EfficientNet code.
    - `letterbox`: the whole picture at its aspect ratio, centred on a `fill` background; see `boxes.letterbox`.
    """
    picture = Image.fromarray(image)
    method = _RESAMPLING[spec.interpolation]
    size = (spec.width, spec.height)
    if spec.resize == "stretch":
        return np.asarray(picture.resize(size, method))
    if spec.resize == "shortest_crop":
        return np.asarray(picture.resize(size, method, box=_centred_box(picture.size, spec)))
    fit = letterbox(picture.size, size)
    canvas = Image.new("RGB", size, spec.fill)
    canvas.paste(picture.resize((fit.width, fit.height), method), (fit.left, fit.top))
    return np.asarray(canvas)


def _centred_box(source: tuple[int, int], spec: InputSpec) -> tuple[float, float, float, float]:
    width, height = source
    unit = min(width / spec.width, height / spec.height) * spec.crop_ratio
    box_width, box_height = unit * spec.width, unit * spec.height
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return left, top, min(left + box_width, width), min(top + box_height, height)


def _checked(image: Rgb, index: int) -> Rgb:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(
            f"picture {index} of the batch: expected (H, W, 3) uint8 RGB, found {image.shape} {image.dtype};"
            " decode it to RGB first"
        )
    if image.size == 0:
        raise DataError(
            f"picture {index} of the batch: {image.shape[1]} x {image.shape[0]} px has no pixels; drop empty crops"
            " before embedding"
        )
    return image
