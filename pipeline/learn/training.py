"""The training loop: a one-cycle schedule over cached features; stopped, it goes on from its last whole epoch."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.learn.backbone import LEVELS, STRIDES, need
from pipeline.learn.config import Training
from pipeline.learn.features import Chunk
from pipeline.learn.losses import box_losses, class_loss, heat_loss
from pipeline.learn.network import make_head
from pipeline.learn.targets import of_level, targets
from reporting.errors import DataError

_AVERAGE = 0.998
"""Decay of the running mean of weights, which is what is kept: about the last 500 steps."""


class Losses(NamedTuple):
    """Means over an epoch."""

    epoch: int
    heat: float
    box: float
    kind: float


class Trained(NamedTuple):
    """A head, and how it came about."""

    head: Any
    history: list[Losses]


def train(
    chunk: Chunk,
    settings: Training,
    *,
    maps: int,
    classes: int,
    seed: int,
    checkpoint: Path,
    on_epoch: Callable[[Losses], None],
    on_step: Callable[[], None] = lambda: None,
) -> Trained:
    """Train a head; equal arguments give equal weights up to the rounding of threads.

    Args:
        chunk: All pictures' maps and boxes.
        settings: Epochs, batch, rates.
        maps: Heat maps, see `make_head`.
        classes: Class logits, may be 0.
        seed: Of weights and order.
        checkpoint: File of the state after each epoch; where it exists, training goes on from it.
        on_epoch: Called after each epoch.
        on_step: Called after each batch.

    Raises:
        DataError: the loss is not a number, or the checkpoint is of another training.
    """
    torch = need("torch")
    torch.manual_seed(seed)
    # Weights laid out by pixel: convolutions of these sizes take .28 instead of .40 s a batch of 32 on two cores.
    head = make_head(channels=settings.channels, maps=maps, classes=classes).to(memory_format=torch.channels_last)
    mean = make_head(channels=settings.channels, maps=maps, classes=classes)
    mean.load_state_dict(head.state_dict())
    steps = settings.epochs * max(1, len(chunk.boxes) // settings.batch)
    optimizer = torch.optim.AdamW(head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    rising = 0.2 if steps != 5 else 0.3  # OneCycleLR divides by the steps it rises in, less one
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=settings.learning_rate, total_steps=steps, pct_start=rising
    )
    state = _State(head, mean, optimizer, schedule, [])
    if checkpoint.exists():
        state.load(checkpoint)
    for epoch in range(len(state.history), settings.epochs):
        state.history.append(_epoch(epoch, chunk, settings, state, maps, np.random.default_rng([seed, epoch]), on_step))
        state.save(checkpoint)
        on_epoch(state.history[-1])
    return Trained(mean.eval(), state.history)


class _State(NamedTuple):
    head: Any
    mean: Any
    optimizer: Any
    schedule: Any
    history: list[Losses]

    def save(self, path: Path) -> None:
        """Write it beside its place and rename: a kill leaves the epoch before."""
        torch = need("torch")
        waiting = path.with_suffix(f".{os.getpid()}.part")
        torch.save(
            {
                "head": self.head.state_dict(),
                "mean": self.mean.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "history": [tuple(one) for one in self.history],
            },
            waiting,
        )
        waiting.replace(path)

    def load(self, path: Path) -> None:
        torch = need("torch")
        try:
            kept = torch.load(path, weights_only=True)
            self.head.load_state_dict(kept["head"])
            self.mean.load_state_dict(kept["mean"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.schedule.load_state_dict(kept["schedule"])
            self.history[:] = [Losses(*one) for one in kept["history"]]
        except (RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise DataError(f"{path}: not a checkpoint of this training: {error}; delete it to begin anew") from error


def _epoch(
    number: int,
    chunk: Chunk,
    settings: Training,
    state: _State,
    maps: int,
    rng: np.random.Generator,
    on_step: Callable[[], None],
) -> Losses:
    torch = need("torch")
    order = rng.permutation(len(chunk.boxes))
    sums = np.zeros(3)
    steps = max(1, len(order) // settings.batch)
    state.head.train()
    for step in range(steps):
        places = order[step * settings.batch : (step + 1) * settings.batch]
        parts = _losses(chunk, places, settings, state.head, maps)
        loss = parts[0] + settings.box_weight * parts[1] + settings.class_weight * parts[2]
        if not torch.isfinite(loss):
            raise DataError(f"training: the loss of epoch {number}, step {step} is {loss.item()}; lower learning_rate")
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(state.head.parameters(), 10.0)
        state.optimizer.step()
        state.schedule.step()
        _average(state.mean, state.head, number * steps + step)
        sums += [part.item() for part in parts]
        on_step()
    return Losses(number, *(float(value) for value in sums / steps))


def _losses(chunk: Chunk, places: NDArray[np.int64], settings: Training, head: Any, maps: int) -> list[Any]:
    """Return the losses (heat, box, class) of one batch, each per box that a level should find, as torch scalars."""
    torch = need("torch")
    inputs = [
        torch.from_numpy(chunk.maps[level][places]).float().contiguous(memory_format=torch.channels_last)
        for level in LEVELS
    ]
    sums: list[Any] = [torch.zeros(()) for _ in range(3)]
    counts = [0.0, 0.0, 0.0]
    for level, (heat, distance, quality, *kinds) in enumerate(head(*inputs)):
        mine = [of_level(chunk.boxes[place], level) for place in places]
        wanted = targets(
            [chunk.boxes[place][some] for place, some in zip(places, mine, strict=True)],
            [chunk.labels[place][some] for place, some in zip(places, mine, strict=True)],
            size=(heat.shape[2], heat.shape[3]),
            stride=STRIDES[level],
            maps=maps,
            gaussian=settings.gaussian,
        )
        weight = torch.from_numpy(wanted.weight)
        sums[0] = sums[0] + heat_loss(heat, torch.from_numpy(wanted.heat))
        fit, expected = box_losses(distance, quality, torch.from_numpy(wanted.box), weight, STRIDES[level])
        sums[1] = sums[1] + fit + settings.quality_weight * expected
        counts[0] += float((wanted.heat == 1).sum())
        counts[1] += float(wanted.weight.sum())
        if kinds:
            sums[2] = sums[2] + class_loss(kinds[0], torch.from_numpy(wanted.label), weight)
            counts[2] += float(wanted.weight[wanted.label >= 0].sum())
    return [one / max(1.0, count) for one, count in zip(sums, counts, strict=True)]


def _average(mean: Any, head: Any, step: int) -> None:
    """Move the running mean of weights (Polyak) towards the weights; faster at the beginning."""
    torch = need("torch")
    decay = min(_AVERAGE, (1 + step) / (10 + step))
    with torch.no_grad():
        for kept, new in zip(mean.state_dict().values(), head.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.mul_(decay).add_(new, alpha=1 - decay)
            else:
                kept.copy_(new)
