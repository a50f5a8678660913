"""dhash64 against a plain loop of Pillow and imagehash, and against the bare scaled decode, over the same JPEGs."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image

from pipeline.images.dhash import MIN_SIDE, dhash64

ROUNDS = 5


def generated(count: int = 24, width: int = 1000, height: int = 750) -> list[bytes]:
    """Return JPEGs of smooth shapes with edges, without noise, about as large as photos of that size (90 kB)."""
    files = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        total = np.zeros((height, width, 3))
        for octave in range(1, 8):
            grid = Image.fromarray(rng.integers(0, 256, (2**octave, 2**octave, 3)).astype(np.uint8))
            way = Image.Resampling.NEAREST if octave in (3, 6) else Image.Resampling.BICUBIC
            total += (np.asarray(grid.resize((width, height), way)) - 127.0) / octave
        out = BytesIO()
        Image.fromarray(np.clip(127.0 + total * 0.8, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
        files.append(out.getvalue())
    return files


def grocery(count: int = 400) -> list[bytes]:
    """Return every n-th grocery photo, or none where the shared data is absent."""
    root = Path(os.environ.get("FUNNELGATE_SHARED", "../shared")) / "data" / "grocery"
    if not (root / "train.txt").exists():
        return []
    lines = (root / "train.txt").read_text().splitlines()
    return [(root / line.split(",")[0]).read_bytes() for line in lines[:: max(1, len(lines) // count)]]


def plain(files: Iterable[bytes]) -> list[int]:
    return [int(str(imagehash.dhash(Image.open(BytesIO(data)))), 16) for data in files]


def ours(files: Iterable[bytes]) -> list[int | None]:
    return [dhash64(data).value for data in files]


def bare(files: Iterable[bytes]) -> list[tuple[int, int]]:
    """The least that any scaled hash must do: Pillow's own luma draft and nothing else."""
    sizes = []
    for data in files:
        with Image.open(BytesIO(data)) as image:
            image.draft("L", (MIN_SIDE, MIN_SIDE))
            image.load()
            sizes.append(image.size)
    return sizes


def cpu_seconds(work: Callable[[list[bytes]], list[Any]], files: list[bytes]) -> float:
    start = time.process_time()
    work(files)
    return time.process_time() - start


@pytest.mark.parametrize("source", [generated, grocery])
def test_hashing_costs_little_more_than_a_scaled_decode(benchmark: Any, source: Callable[[], list[bytes]]) -> None:
    """Books CPU-time ratios (aim: at least 2 times the plain loop); all three run interleaved, medians."""
    files = source()
    if not files:
        pytest.skip("no shared data: set FUNNELGATE_SHARED to the folder that holds data/grocery")
    for work in (plain, ours, bare):
        work(files[:8])
    rows = [[cpu_seconds(work, files) for work in (plain, ours, bare)] for _ in range(ROUNDS)]
    plain_s, ours_s, bare_s = (statistics.median(column) for column in zip(*rows, strict=True))
    benchmark.extra_info["pictures"] = len(files)
    benchmark.extra_info["mean_bytes"] = sum(map(len, files)) // len(files)
    for name, seconds in (("plain", plain_s), ("dhash64", ours_s), ("scaled_decode", bare_s)):
        benchmark.extra_info[f"{name}_cpu_ms_per_picture"] = round(seconds / len(files) * 1e3, 3)
    benchmark.extra_info["times_the_plain_loop"] = round(plain_s / ours_s, 2)
    benchmark.extra_info["share_of_scaled_decode"] = round(bare_s / ours_s, 2)
    hashes = benchmark.pedantic(ours, args=(files,), rounds=2, iterations=1)
    assert len(hashes) == len(plain(files)) == len(bare(files)) == len(files)
    assert None not in hashes
