"""The head: its shapes, and what its raw numbers become, against a loop over levels and cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.learn.backbone import CHANNELS, STRIDES
from pipeline.learn.network import answering, make_head

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.usefixtures("training_packages")]


def maps_of(width: int, height: int, count: int = 2) -> list[Any]:
    import torch

    generator = torch.Generator().manual_seed(width)
    return [
        torch.randn(count, channels, height // stride, width // stride, generator=generator)
        for channels, stride in zip(CHANNELS, STRIDES, strict=True)
    ]


def head_of(*, channels: int = 16, maps: int = 1, classes: int = 3) -> Any:
    import torch

    torch.manual_seed(5)
    return make_head(channels=channels, maps=maps, classes=classes).eval()


@pytest.mark.parametrize(("width", "height"), [(256, 256), (512, 384), (64, 96)])
@pytest.mark.parametrize(("maps", "classes"), [(1, 5), (3, 0), (1, 0)])
def test_every_level_answers_for_every_of_its_cells(width: int, height: int, maps: int, classes: int) -> None:
    import torch

    with torch.no_grad():
        levels = head_of(maps=maps, classes=classes)(*maps_of(width, height))
    assert len(levels) == len(STRIDES)
    for level, stride in zip(levels, STRIDES, strict=True):
        grid = (height // stride, width // stride)
        wanted = [(2, count, *grid) for count in (maps, 4, 1, classes) if count]
        assert [tuple(part.shape) for part in level] == wanted
        assert (level[1] >= 0).all()  # a distance


def test_an_untrained_head_expects_nothing() -> None:
    """Else the empty cells, hundreds to each object, would drown the first steps."""
    import torch

    with torch.no_grad():
        levels = head_of()(*[torch.zeros_like(one) for one in maps_of(128, 128)])
    for heat, *_ in levels:
        assert float(torch.sigmoid(heat).median()) == pytest.approx(0.01, rel=0.5)


@pytest.mark.parametrize(("maps", "classes"), [(1, 3), (2, 0)])
def test_the_answers_are_boxes_peaks_and_logits_of_all_cells_finest_level_first(maps: int, classes: int) -> None:
    import torch

    width, height = 96, 64
    head, inputs = head_of(maps=maps, classes=classes), maps_of(width, height)
    with torch.no_grad():
        levels = [[part.numpy().astype(np.float64) for part in level] for level in head(*inputs)]
        found = [part.numpy() for part in answering(head, width=width, height=height)(*inputs)]
    boxes: list[Any] = []
    scores: list[Any] = []
    logits: list[Any] = []
    for stride, (heat, distance, quality, *kinds) in zip(STRIDES, levels, strict=True):
        for y in range(height // stride):
            for x in range(width // stride):
                middle = np.array([x + 0.5, y + 0.5]) * stride
                boxes.append(np.concatenate([middle - distance[:, :2, y, x], middle + distance[:, 2:, y, x]], axis=1))
                around = heat[:, :, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].max(axis=(2, 3))
                here = heat[:, :, y, x]
                both = 1 / ((1 + np.exp(-here)) * (1 + np.exp(-quality[:, :, y, x])))
                scores.append(np.where(here >= around, np.sqrt(both), 0))
                logits += [kind[:, :, y, x] for kind in kinds]
    assert len(found) == (3 if classes else 2)
    for answer, wanted in zip(found, (boxes, scores, logits), strict=False):
        np.testing.assert_allclose(answer, np.stack(wanted, axis=1), rtol=1e-4, atol=1e-4)
    assert 0 < (found[1] > 0).mean() < 0.3  # peaks are few
