"""COCO's average precision by faster-coco-eval, an optional library: nothing else of ours loads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from reporting.errors import ConfigError


class Boxes(NamedTuple):
    """Checked boxes of one picture.

    Attributes:
        corners: (n, 4) float64 x0, y0, x1, y1 in pixels, finite.
        scores: (n,) float64, finite; without meaning for the truth.
        labels: n classes.
    """

    corners: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    labels: tuple[str, ...]


def average_precisions(
    true: Sequence[Boxes], found: Sequence[Boxes], *, max_boxes: int
) -> dict[str, tuple[float, float]]:
    """Return (AP at IoU .5, mean AP at IoU .5 to .95) of every class of the truth; {} without a true box.

    Args:
        true: One for each picture.
        found: One for each picture.
        max_boxes: Only so many of the surest boxes a picture and class count, >= 1.

    Raises:
        ConfigError: faster-coco-eval is not installed.
    """
    library = _library()
    names = sorted({label for one in true for label in one.labels})
    if not names:
        return {}
    numbers = {name: at for at, name in enumerate(names, start=1)}
    wanted, answers = _annotations(true, numbers), _annotations(found, numbers)
    if not answers:
        return dict.fromkeys(names, (0.0, 0.0))
    coco = library.COCO(
        {
            "images": [{"id": at} for at in range(len(true))],
            "categories": [{"id": number, "name": name} for name, number in numbers.items()],
            "annotations": wanted,
        }
    )
    judge = library.COCOeval_faster(coco, coco.loadRes(answers), iouType="bbox")
    judge.params.maxDets = [max_boxes]
    judge.evaluate()
    judge.accumulate()
    # (IoU, recall point, class, size, boxes a picture); the first size is every size.
    precision = np.asarray(judge.eval["precision"])[:, :, :, 0, -1].mean(axis=1)
    return {name: (float(precision[0, at]), float(precision[:, at].mean())) for at, name in enumerate(names)}


def _annotations(pictures: Sequence[Boxes], numbers: dict[str, int]) -> list[dict[str, Any]]:
    """Write boxes as COCO does, ids from 1; those of a class that the truth lacks are left out, as COCO does."""
    rows: list[dict[str, Any]] = []
    for picture, one in enumerate(pictures):
        for corners, score, label in zip(one.corners.tolist(), one.scores.tolist(), one.labels, strict=True):
            if label in numbers:
                x0, y0, x1, y1 = corners
                box = [x0, y0, x1 - x0, y1 - y0]
                facts = {"bbox": box, "area": box[2] * box[3], "iscrowd": 0, "score": score}
                rows.append({"id": len(rows) + 1, "image_id": picture, "category_id": numbers[label], **facts})
    return rows


def _library() -> Any:
    try:
        import faster_coco_eval
    except ImportError:
        raise ConfigError(
            "average precision needs faster-coco-eval, which is not installed: pip install 'funnelgate[train]'"
        ) from None
    return faster_coco_eval
