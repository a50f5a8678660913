"""Pictures with what is there and what a detector said, made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.learn.examine import Seen
from pipeline.learn.scenes import Scene
from pipeline.models.detections import Box, Detection, Found

Side = tuple[int, int, int, int]
Said = tuple[Side, float]


def seen(
    there: Sequence[Side],
    said: Sequence[Said],
    *,
    labels: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    shares: Sequence[Sequence[float]] | None = None,
    name: str = "one",
) -> Seen:
    """Return a 64 x 64 picture of noise; what was said is put in the order in which a detector answers."""
    image = np.random.default_rng(len(there)).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    scene = Scene(
        name,
        image,
        np.array(there, np.float32).reshape(-1, 4),
        np.array(labels if labels is not None else [0] * len(there), np.int64),
    )
    objects = [
        Detection(Box(*box), score, names[n] if names else "", tuple(shares[n]) if shares else ())
        for n, (box, score) in enumerate(said)
    ]
    return Seen(scene, Found(tuple(sorted(objects, key=lambda one: (-one.score, one.box))), 0.0))
