"""What training minimises; torch tensors in, a scalar out. Sums, so that levels can be added before they are shared."""

from __future__ import annotations

from typing import Any

from pipeline.learn.backbone import need


def heat_loss(logits: Any, target: Any) -> Any:
    """Return the summed penalty-reduced focal loss of a heat map (Law and Deng 2018, alpha 2, beta 4).

    Args:
        logits: (n, maps, h, w).
        target: the same shape, exactly 1 at centres.
    """
    torch = need("torch")
    from torch.nn import functional

    score = torch.sigmoid(logits).clamp(1e-4, 1 - 1e-4)
    centre = target.eq(1).float()
    yes = -functional.logsigmoid(logits) * (1 - score) ** 2 * centre
    no = -functional.logsigmoid(-logits) * score**2 * (1 - target) ** 4 * (1 - centre)
    return yes.sum() + no.sum()


def box_losses(distance: Any, quality: Any, box: Any, weight: Any, stride: int) -> tuple[Any, Any]:
    """Return the weighted sums over boxes of 1 - GIoU, in [0, 2] a box, and of the error in the expected IoU.

    GIoU: Rezatofighi et al. 2019. Expected IoU: binary cross entropy against the IoU that the box has (Jiang et al.
    2018), which is a target and not trained by it. Both 0 where there is no box.

    Args:
        distance: (n, 4, h, w) pixels from the cell's centre to left, top, right, bottom.
        quality: (n, 1, h, w) logits of the expected IoU.
        box: (n, 4, h, w) x0, y0, x1, y1 in input pixels.
        weight: (n, h, w), summing to 1 over each box.
        stride: pixels a cell.
    """
    torch = need("torch")
    from torch.nn import functional

    picture, row, column = torch.nonzero(weight, as_tuple=True)
    if len(picture) == 0:
        return distance.sum() * 0, quality.sum() * 0
    x, y = (column.float() + 0.5) * stride, (row.float() + 0.5) * stride
    found, wanted = distance[picture, :, row, column], box[picture, :, row, column]
    x0, y0, x1, y1 = x - found[:, 0], y - found[:, 1], x + found[:, 2], y + found[:, 3]
    a0, b0, a1, b1 = wanted.unbind(1)
    shared = (torch.minimum(x1, a1) - torch.maximum(x0, a0)).clamp(min=0) * (
        torch.minimum(y1, b1) - torch.maximum(y0, b0)
    ).clamp(min=0)
    union = ((x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - shared).clamp(min=1e-6)
    around = (torch.maximum(x1, a1) - torch.minimum(x0, a0)) * (torch.maximum(y1, b1) - torch.minimum(y0, b0))
    giou = shared / union - (around - union) / around.clamp(min=1e-6)
    weights = weight[picture, row, column]
    expected = functional.binary_cross_entropy_with_logits(
        quality[picture, 0, row, column], (shared / union).detach(), reduction="none"
    )
    return ((1 - giou) * weights).sum(), (expected * weights).sum()


def class_loss(logits: Any, label: Any, weight: Any) -> Any:
    """Return the weighted sum of the cross entropy over cells with a label (smoothed by 0.1); 0 where there are none.

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
    each = functional.cross_entropy(
        logits[picture, :, row, column], label[picture, row, column], reduction="none", label_smoothing=0.1
    )
    return (each * weight[picture, row, column]).sum()
