"""A detector whose network is a few lines of numpy: it boxes the red, green and blue areas of its input."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.models.detections import Box
from pipeline.models.spec import ModelSpec

CLASSES = ("red", "green", "blue")
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
SIDE = 256


def detector_spec(*, side: tuple[int, int] = (SIDE, SIDE), sha256: str = "0" * 64, **output: Any) -> ModelSpec:
    """Return the spec of a detector whose input is (width, height) pixels on 0..255, letterboxed on white."""
    return ModelSpec.model_validate(
        {
            "name": "blobs",
            "version": 1,
            "backend": "ort",
            "precision": "fp32",
            "artifact_sha256": sha256,
            "parent_sha256": None,
            "root_sha256": "1" * 64,
            "train_planid": None,
            "data_digest": None,
            "code_commit": None,
            "licence": "Apache-2.0",
            "input": {
                "width": side[0],
                "height": side[1],
                "resize": "letterbox",
                "interpolation": "bilinear",
                "color": "RGB",
                "mean": (0.0, 0.0, 0.0),
                "std": (1.0, 1.0, 1.0),
                "layout": "NCHW",
                "dtype": "float32",
            },
            "output": {
                "kind": "detector",
                "classes": CLASSES,
                "box": "xyxy_abs_original",
                "score_thr": 0.3,
                "nms_iou": 0.5,
                "topk": 50,
                **output,
            },
        }
    )


class BlobSession:
    """Three cells a picture, one a colour: its bounding box, its score (.9, .8, .7; 0 where absent), its class."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def run(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        self.batch_sizes.append(len(batch))
        boxes = np.zeros((len(batch), 3, 4), dtype=np.float32)
        scores = np.zeros((len(batch), 3, 1), dtype=np.float32)
        for number, planes in enumerate(batch):
            for channel in range(3):
                others = np.delete(planes, channel, axis=0).max(axis=0)
                ys, xs = np.nonzero(planes[channel] - others > 128)
                if len(xs):
                    boxes[number, channel] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
                    scores[number, channel] = 0.9 - 0.1 * channel
        logits = np.broadcast_to(4 * np.eye(3, dtype=np.float32), (len(batch), 3, 3))
        return {"boxes": boxes, "scores": scores, "classes": logits}


class FixedSession:
    """Answers every picture with the same heads."""

    def __init__(self, **heads: Any) -> None:
        self.heads = {name: np.asarray(values, dtype=np.float32) for name, values in heads.items()}

    def run(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        return {name: np.stack([values] * len(batch)) for name, values in self.heads.items()}


def scene(size: tuple[int, int], objects: dict[str, Box], background: str = "white") -> Image.Image:
    """Return a picture with one rectangle a colour."""
    image = Image.new("RGB", size, background)
    for name, box in objects.items():
        image.paste(COLOURS[name], (box.x0, box.y0, box.x1, box.y1))
    return image


def encoded(image: Image.Image, file_format: str = "PNG", orientation: int = 1) -> bytes:
    """Return a file that shows `image` when it is turned as its EXIF orientation says."""
    undo: dict[int, Image.Transpose] = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = image.transpose(undo[orientation]) if orientation in undo else image
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if file_format == "JPEG" else {}
    out = BytesIO()
    stored.save(out, file_format, exif=exif.tobytes(), **options)
    return out.getvalue()


def boxes_of(found: Any) -> Sequence[Box]:
    return [one.box for one in found.objects]
