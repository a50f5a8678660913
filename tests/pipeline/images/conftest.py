"""Photo-like pictures made from numbers, and their encoders."""

from __future__ import annotations

import functools
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

MakePhoto = Callable[..., Image.Image]
Encode = Callable[..., bytes]


@pytest.fixture(scope="session")
def photo() -> MakePhoto:
    """Colour noise with a 1/f spectrum (octaves of a grid, enlarged): smooth areas and detail as in a photograph."""

    @functools.lru_cache(maxsize=256)
    def make(seed: int, width: int = 400, height: int = 300) -> Image.Image:
        rng = np.random.default_rng(seed)
        total = np.zeros((height, width, 3))
        for octave in range(1, 7):
            grid = Image.fromarray(rng.integers(0, 256, (2**octave, 2**octave, 3)).astype(np.uint8))
            total += (np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)) - 127.0) / octave
        return Image.fromarray(np.clip(127.0 + total * 0.8, 0, 255).astype(np.uint8))

    return make


@pytest.fixture(scope="session")
def encode() -> Encode:
    def run(image: Image.Image, file_format: str = "JPEG", **options: Any) -> bytes:
        out = BytesIO()
        image.save(out, file_format, **({"quality": 92} if file_format == "JPEG" else {}) | options)
        return out.getvalue()

    return run
