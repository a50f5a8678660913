"""Losses against their formulas, written out in numpy box by box and cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.learn.losses import box_losses, class_loss, heat_loss

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.usefixtures("training_packages")]
Array = NDArray[np.float64]


def tensor(values: Any) -> Any:
    import torch

    array = np.asarray(values)
    return torch.from_numpy(array if array.dtype == np.int64 else array.astype(np.float32))


def focal(logits: Array, target: Array) -> float:
    """Law and Deng 2018, equation 1, with alpha 2 and beta 4; not divided by the number of objects."""
    total = 0.0
    for logit, wanted in zip(logits.ravel(), target.ravel(), strict=True):
        p = 1 / (1 + np.exp(-logit))
        total -= (1 - p) ** 2 * np.log(p) if wanted == 1 else (1 - wanted) ** 4 * p**2 * np.log(1 - p)
    return float(total)


def iou_and_giou(one: Array, other: Array) -> tuple[float, float]:
    """Rezatofighi et al. 2019: IoU, and that less the share of the smallest box around both that neither covers."""
    inter = np.prod(np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None))
    union = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - inter
    hull = np.prod(np.maximum(one[2:], other[2:]) - np.minimum(one[:2], other[:2]))
    return float(inter / union), float(inter / union - (hull - union) / hull)


@pytest.mark.parametrize("maps", [1, 3])
def test_the_heat_is_lossy_as_the_focal_formula_says(maps: int) -> None:
    rng = np.random.default_rng(maps)
    logits, target = rng.normal(0, 3, (2, maps, 5, 4)), rng.random((2, maps, 5, 4)) ** 3
    target[0, 0, 2, 2] = target[1, -1, 0, 3] = 1
    assert float(heat_loss(tensor(logits), tensor(target))) == pytest.approx(focal(logits, target), rel=1e-4)


def test_no_object_costs_only_false_heat_and_right_heat_costs_nothing() -> None:
    empty = np.zeros((1, 1, 4, 4))
    assert float(heat_loss(tensor(empty - 20), tensor(empty))) == pytest.approx(0, abs=1e-6)
    assert float(heat_loss(tensor(empty), tensor(empty))) == pytest.approx(16 * 0.25 * np.log(2), rel=1e-5)
    right = empty.copy()
    right[0, 0, 1, 1] = 1
    assert float(heat_loss(tensor(np.where(right == 1, 20.0, -20.0)), tensor(right))) == pytest.approx(0, abs=1e-6)


def test_very_wrong_heat_still_has_a_slope_and_a_finite_loss() -> None:
    logits = tensor(np.array([[[[-80.0, 80.0]]]])).requires_grad_()
    loss = heat_loss(logits, tensor(np.array([[[[1.0, 0.0]]]])))
    loss.backward()
    assert 100 < float(loss.detach()) < 200
    assert (logits.grad.abs() > 0.5).all()


@pytest.mark.parametrize("stride", [4, 32])
def test_boxes_cost_one_less_their_generalised_overlap(stride: int) -> None:
    rng = np.random.default_rng(stride)
    distance = rng.uniform(0.1, 5 * stride, (2, 4, 3, 5))
    corner = rng.uniform(-2 * stride, 5 * stride, (2, 2, 3, 5))
    box = np.concatenate([corner, corner + rng.uniform(1, 4 * stride, (2, 2, 3, 5))], axis=1)
    weight = rng.random((2, 3, 5)) * (rng.random((2, 3, 5)) < 0.6)
    quality = rng.normal(0, 2, (2, 1, 3, 5))
    expected, entropy, disjoint = 0.0, 0.0, 0
    for n, y, x in zip(*np.nonzero(weight), strict=True):
        middle = np.array([x + 0.5, y + 0.5]) * stride
        found = np.concatenate([middle - distance[n, :2, y, x], middle + distance[n, 2:, y, x]])
        overlap, general = iou_and_giou(found, box[n, :, y, x])
        disjoint += overlap == 0
        expected += weight[n, y, x] * (1 - general)
        p = 1 / (1 + np.exp(-quality[n, 0, y, x]))
        entropy -= weight[n, y, x] * (overlap * np.log(p) + (1 - overlap) * np.log(1 - p))
    assert disjoint > 0
    found_losses = box_losses(tensor(distance), tensor(quality), tensor(box), tensor(weight), stride)
    assert [float(loss) for loss in found_losses] == pytest.approx([expected, entropy], rel=1e-4)


def test_the_box_is_not_bent_to_the_expected_overlap() -> None:
    """The overlap is what the network should foresee; a box that made it easy to foresee would be no better."""
    distance, quality = (tensor(np.full((1, n, 1, 1), 3.0)).requires_grad_() for n in (4, 1))
    box, weight = tensor(np.array([1.0, 1, 9, 6]).reshape(1, 4, 1, 1)), tensor(np.ones((1, 1, 1)))
    _, expected = box_losses(distance, quality, box, weight, 8)
    expected.backward()
    assert distance.grad is None
    assert float(quality.grad) > 0  # 3 means .95: more than there is


@pytest.mark.parametrize(
    ("wanted", "loss"),
    [
        ((4, 4, 12, 12), 0.0),  # the same box
        ((4, 4, 12, 8), 0.5),
        ((12, 4, 20, 12), 1.0),  # side by side: nothing shared, nothing between
        ((20, 4, 28, 12), 1 + 1 / 3),  # a third of what is around both is between them
    ],
)
def test_known_boxes_have_known_losses_and_a_disjoint_one_still_pulls(wanted: Any, loss: float) -> None:
    distance = tensor(np.full((1, 4, 3, 3), 4.0)).requires_grad_()
    weight = np.zeros((1, 3, 3))
    weight[0, 1, 1] = 1  # the middle cell, whose centre is at 6, 6
    box = np.broadcast_to(np.array(wanted, float)[None, :, None, None], (1, 4, 3, 3)) - 2
    found, _ = box_losses(distance, tensor(np.zeros((1, 1, 3, 3))), tensor(box), tensor(weight), 4)
    assert float(found.detach()) == pytest.approx(loss, abs=1e-5)
    found.backward()
    if wanted[0] == 20:
        assert float(distance.grad[0, 2, 1, 1]) < 0  # to the right


def test_without_boxes_or_labels_the_losses_are_zero_and_can_be_differentiated() -> None:
    distance, quality, logits = (tensor(np.ones((1, n, 2, 2))).requires_grad_() for n in (4, 1, 3))
    none = tensor(np.zeros((1, 2, 2)))
    loss = sum(box_losses(distance, quality, tensor(np.zeros((1, 4, 2, 2))), none, 4))
    loss = loss + class_loss(logits, tensor(np.zeros((1, 2, 2), np.int64)), none)
    loss = loss + class_loss(logits, tensor(np.full((1, 2, 2), -1)), none + 1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not distance.grad.any()
    assert not quality.grad.any()
    assert not logits.grad.any()


def test_classes_cost_their_smoothed_cross_entropy_where_there_is_a_label() -> None:
    rng = np.random.default_rng(6)
    logits, label = rng.normal(0, 2, (2, 4, 3, 3)), rng.integers(-1, 4, (2, 3, 3))
    weight = rng.random((2, 3, 3)) * (rng.random((2, 3, 3)) < 0.7)
    expected = 0.0
    for n, y, x in zip(*np.nonzero((label >= 0) & (weight > 0)), strict=True):
        row = logits[n, :, y, x]
        logs = row - np.log(np.exp(row).sum())
        wanted = np.full(4, 0.1 / 4)
        wanted[label[n, y, x]] += 0.9
        expected -= weight[n, y, x] * float((wanted * logs).sum())
    found = class_loss(tensor(logits), tensor(label.astype(np.int64)), tensor(weight))
    assert float(found) == pytest.approx(expected, rel=1e-4)
