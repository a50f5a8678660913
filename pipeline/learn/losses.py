"""What training minimises; torch tensors in, a scalar out."""

from __future__ import annotations

from typing import Any

from pipeline.learn.backbone import need
from pipeline.learn.targets import STRIDE


def heat_loss(logits: Any, target: Any) -> Any:
    """Return the penalty-reduced focal loss of a heat map (Law and Deng 2018, alpha 2, beta 4), per box.

    Args:
        logits: (n, maps, h, w).
        target: the same shape, exactly 1 at centres.
    """
    torch = need("torch")
    from torch.nn import functional

    score = torch.sigmoid(logits).clamp(1e-4, 1 - 1e-4)
    centre = target.eq(1).float()
    log_yes, log_no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    yes = -log_yes * (1 - score) ** 2 * centre
    no = -log_no * score**2 * (1 - target) ** 4 * (1 - centre)
    return (yes.sum() + no.sum()) / centre.sum().clamp(min=1)


def box_loss(distance: Any, box: Any, weight: Any) -> Any:
    """Return the mean over boxes of 1 - GIoU (Rezatofighi et al. 2019), in [0, 2]; 0 where there is no box.

    Args:
        distance: (n, 4, h, w) pixels from the cell's centre to left, top, right, bottom.
        box: (n, 4, h, w) x0, y0, x1, y1 in input pixels.
        weight: (n, h, w), summing to 1 over each box.
    """
    torch = need("torch")
    picture, row, column = torch.nonzero(weight, as_tuple=True)
    if len(picture) == 0:
        return distance.sum() * 0
    x, y = (column.float() + 0.5) * STRIDE, (row.float() + 0.5) * STRIDE
    found, wanted = distance[picture, :, row, column], box[picture, :, row, column]
    x0, y0, x1, y1 = x - found[:, 0], y - found[:, 1], x + found[:, 2], y + found[:, 3]
    a0, b0, a1, b1 = wanted.unbind(1)
    shared = (torch.minimum(x1, a1) - torch.maximum(x0, a0)).clamp(min=0) * (
        torch.minimum(y1, b1) - torch.maximum(y0, b0)
    ).clamp(min=0)
    union = (x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - shared
    around = (torch.maximum(x1, a1) - torch.minimum(x0, a0)) * (torch.maximum(y1, b1) - torch.minimum(y0, b0))
    giou = shared / union.clamp(min=1e-6) - (around - union) / around.clamp(min=1e-6)
    weights = weight[picture, row, column]
    return ((1 - giou) * weights).sum() / weights.sum()


def class_loss(logits: Any, label: Any, weight: Any) -> Any:
    """Return the weighted cross entropy over cells with a label; 0 where there are none.

    Args:
        logits: (n, classes, h, w).
        label: (n, h, w), -1 where there is nothing to learn.
        weight: (n, h, w).
    """
    torch = need("torch")
    from torch.nn import functional

    picture, row, column = torch.nonzero((label >= 0) & (weight > 0), as_tuple=True)
    if len(picture) == 0:
        return logits.sum() * 0
    weights = weight[picture, row, column]
    each = functional.cross_entropy(
        logits[picture, :, row, column], label[picture, row, column], reduction="none", label_smoothing=0.1
    )
    return (each * weights).sum() / weights.sum()
