"""The head that is trained: a feature pyramid of four levels, each with heat, boxes and classes for objects of a size.

Large objects are found on coarse levels, where their box is a few cells away: with one fine level for all, boxes of
more than half the picture came out at half their size (main object hit .90 instead of .95 and more).

The only module beside `training` and `losses` that needs torch; built inside functions, so importing it is cheap.
"""

from __future__ import annotations

import math
from typing import Any

from pipeline.learn.backbone import CHANNELS, STRIDES, need

_BOX_SCALE = 4.0
"""Cells that a raw box distance of 1 means: the usual object of a level reaches 2 to 5 cells from its centre."""
_PRIOR_HEAT = 0.01
"""What the heat maps answer before training (Lin et al. 2017): else the empty cells drown the first steps."""


def make_head(*, channels: int, maps: int, classes: int) -> Any:
    """Return a new head as a torch module.

    It takes the four maps (c2, c3, c4, c5) and answers, for each, a tuple: heat logits (n, maps, h, w), distances
    (n, 4, h, w) in pixels from a cell's centre to the left, top, right and bottom edge, logits (n, 1, h, w) of the IoU
    that the box is going to have, and, where there are classes, class logits (n, classes, h, w).

    Args:
        channels: of the pyramid; the finest level, with four times the cells of the next, has half of them.
        maps: heat maps a level.
        classes: class logits a cell, may be 0.
    """
    need("torch")
    from torch import nn

    class Head(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
        def __init__(self) -> None:
            super().__init__()
            widths = (channels // 2, channels, channels, channels)
            self.side = nn.ModuleList([nn.Conv2d(c, w, 1) for c, w in zip(CHANNELS, widths, strict=True)])
            self.down = nn.Conv2d(channels, channels // 2, 1)
            self.blocks = nn.ModuleList([_block(w, w) for w in widths])
            self.coarse = nn.ModuleList([nn.Sequential(*(_block(channels, channels) for _ in range(2))) for _ in "45"])
            self.levels = nn.ModuleList([_level(w, s, maps) for w, s in zip(widths, STRIDES, strict=True)])
            self.kind = nn.Conv2d(channels, classes, 1) if classes else None

        def forward(self, c2: Any, c3: Any, c4: Any, c5: Any) -> list[tuple[Any, ...]]:
            p5 = self.blocks[3](self.side[3](c5))
            p4 = self.blocks[2](self.side[2](c4) + _doubled(p5))
            p3 = self.blocks[1](self.side[1](c3) + _doubled(p4))
            p2 = self.blocks[0](self.side[0](c2) + _doubled(self.down(p3)))
            fine_to_coarse = (p2, p3, self.coarse[0](p4), self.coarse[1](p5))
            answers = [level(x) for level, x in zip(self.levels, fine_to_coarse, strict=True)]
            if self.kind is None:
                return answers
            kinds = [self.kind(x) for x in fine_to_coarse[1:]]
            return [(*answer, kind) for answer, kind in zip(answers, [_doubled(kinds[0]), *kinds], strict=True)]

    return Head()


def _block(inside: int, outside: int) -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


def _level(inside: int, stride: int, maps: int) -> Any:
    """Return what a level answers with: heat logits, distances in pixels, logits of the expected IoU."""
    from torch import nn
    from torch.nn import functional

    class Level(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
        def __init__(self) -> None:
            super().__init__()
            self.heat, self.distance = nn.Conv2d(inside, maps, 1), nn.Conv2d(inside, 4, 1)
            self.quality = nn.Conv2d(inside, 1, 1)
            nn.init.constant_(self.heat.bias, math.log(_PRIOR_HEAT / (1 - _PRIOR_HEAT)))

        def forward(self, x: Any) -> tuple[Any, ...]:
            distance = functional.softplus(self.distance(x)) * (_BOX_SCALE * stride)
            return self.heat(x), distance, self.quality(x)

    return Level()


def _doubled(maps: Any) -> Any:
    from torch.nn import functional

    return functional.interpolate(maps, scale_factor=2.0, mode="nearest")


def answering(head: Any, *, width: int, height: int) -> Any:
    """Wrap a trained head into the module that is exported: the graph outputs a `Detector` reads.

    It takes the four maps and answers `boxes` (n, cells, 4) in input pixels, `scores` (n, cells, maps) in 0..1 and,
    where the head has classes, `classes` (n, cells, classes) logits; the cells of the finest level come first. A score
    is the geometric mean of heat and expected IoU where no heat of the 3 x 3 cells around is greater, and 0 elsewhere,
    so that a slope of heat is one candidate.
    """
    torch = need("torch")
    from torch import nn
    from torch.nn import functional

    def centres(stride: int) -> Any:
        rows = torch.arange(height // stride, dtype=torch.float32)
        columns = torch.arange(width // stride, dtype=torch.float32)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return ((torch.stack([x, y]) + 0.5) * stride)[None]

    class Answering(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
        def __init__(self) -> None:
            super().__init__()
            self.head = head
            for stride in STRIDES:
                self.register_buffer(f"centres_{stride}", centres(stride))

        def forward(self, c2: Any, c3: Any, c4: Any, c5: Any) -> tuple[Any, ...]:
            parts: list[list[Any]] = []
            levels = self.head(c2, c3, c4, c5)
            for stride, (heat, distance, quality, *kinds) in zip(STRIDES, levels, strict=True):
                middle = getattr(self, f"centres_{stride}")
                score = torch.sigmoid(heat)
                peak = functional.max_pool2d(score, 3, stride=1, padding=1)
                # The box of a part is as hot as that of the whole; that it fits badly, the network knows.
                score = torch.sqrt(score * torch.sigmoid(quality)) * (score >= peak).to(score.dtype)
                boxes = torch.cat([middle - distance[:, :2], middle + distance[:, 2:]], dim=1)
                parts.append([value.flatten(2).transpose(1, 2) for value in (boxes, score, *kinds)])
            return tuple(torch.cat(values, dim=1) for values in zip(*parts, strict=True))

    return Answering().eval()
