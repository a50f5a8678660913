"""The head that is trained: a feature pyramid down to stride 4, one heat map (or one a class), boxes, classes.

The only module beside `training` that needs torch; built inside functions, so that importing it costs nothing.
"""

from __future__ import annotations

from typing import Any

from pipeline.learn.backbone import CHANNELS, need
from pipeline.learn.targets import STRIDE

_BOX_SCALE = 4 * STRIDE
"""Pixels that a raw box distance of 1 means: with it the usual item (60 px) starts near the right size."""
_PRIOR_HEAT = 0.01
"""What the heat map answers before training (Lin et al. 2017): else the empty cells drown the first steps."""


def make_head(*, channels: int, maps: int, classes: int) -> Any:
    """Return a new head as a torch module.

    It takes the four maps (c2, c3, c4, c5) and answers heat logits (n, maps, h, w), distances (n, 4, h, w) in pixels
    from a cell's centre to the left, top, right and bottom edge, and class logits (n, classes, h, w), h and w being
    the size of c2. With no classes the third is left out.

    Args:
        channels: of the pyramid.
        maps: heat maps.
        classes: class logits a cell, may be 0.
    """
    need("torch")
    from torch import nn
    from torch.nn import functional

    def block(inside: int, outside: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
        )

    class Head(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
        def __init__(self) -> None:
            super().__init__()
            fine = channels * 3 // 4
            self.side = nn.ModuleList([nn.Conv2d(c, channels, 1) for c in CHANNELS[1:]])
            self.fine_side = nn.Conv2d(CHANNELS[0], fine, 1)
            self.to_fine = nn.Conv2d(channels, fine, 1)
            self.coarse = nn.ModuleList([block(channels, channels) for _ in CHANNELS[1:]])
            self.fine = nn.Sequential(block(fine, fine), block(fine, fine))
            self.heat = nn.Conv2d(fine, maps, 1)
            self.distance = nn.Conv2d(fine, 4, 1)
            self.kind = nn.Sequential(block(channels, channels), nn.Conv2d(channels, classes, 1)) if classes else None
            nn.init.constant_(self.heat.bias, float(_logit(_PRIOR_HEAT)))

        def forward(self, c2: Any, c3: Any, c4: Any, c5: Any) -> tuple[Any, ...]:
            up = self.coarse[2](self.side[2](c5))
            up = self.coarse[1](self.side[1](c4) + _doubled(up))
            p3 = self.coarse[0](self.side[0](c3) + _doubled(up))
            fine = self.fine(self.fine_side(c2) + _doubled(self.to_fine(p3)))
            answers = (self.heat(fine), functional.softplus(self.distance(fine)) * _BOX_SCALE)
            return answers if self.kind is None else (*answers, _doubled(self.kind(p3)))

    def _doubled(maps_: Any) -> Any:
        return functional.interpolate(maps_, scale_factor=2.0, mode="nearest")

    return Head()


def _logit(share: float) -> float:
    import math

    return math.log(share / (1 - share))


def answering(head: Any, *, width: int, height: int) -> Any:
    """Wrap a trained head into the module that is exported: the graph outputs a `Detector` reads.

    It takes the four maps and answers `boxes` (n, cells, 4) in input pixels, `scores` (n, cells, maps) in 0..1 and,
    where the head has classes, `classes` (n, cells, classes) logits. A score is kept where no neighbour of the
    3 x 3 cells around is greater, and is 0 elsewhere, so that a slope of heat is one candidate.
    """
    torch = need("torch")
    from torch import nn
    from torch.nn import functional

    ys, xs = torch.meshgrid(
        torch.arange(height // STRIDE, dtype=torch.float32),
        torch.arange(width // STRIDE, dtype=torch.float32),
        indexing="ij",
    )
    centres = (torch.stack([xs, ys]) + 0.5) * STRIDE

    class Answering(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
        def __init__(self) -> None:
            super().__init__()
            self.head = head
            self.register_buffer("centres", centres[None])

        def forward(self, c2: Any, c3: Any, c4: Any, c5: Any) -> tuple[Any, ...]:
            heat, distance, *kinds = self.head(c2, c3, c4, c5)
            score = torch.sigmoid(heat)
            peak = functional.max_pool2d(score, 3, stride=1, padding=1)
            score = score * (score >= peak).to(score.dtype)
            boxes = torch.cat([self.centres - distance[:, :2], self.centres + distance[:, 2:]], dim=1)
            return tuple(value.flatten(2).transpose(1, 2) for value in (boxes, score, *kinds))

    return Answering().eval()
