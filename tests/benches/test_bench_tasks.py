"""Whole tasks, from claim to commit, against the bare work inside them, by CPU time in one run."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import imagehash
import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from pipeline.images.decode import DecodeLimits, decode_rgb
from pipeline.models.catalog import SHIPPED, open_embedder
from pipeline.models.preprocess import preprocess
from pipeline.models.session import OrtSession
from tests.benches.day import Day, draw_jpegs

PICTURES = 400
HASHED = 1600
BATCH = 8  # the embedder's own, and the fastest of 1 to 32 (DECISIONS.md, 10)


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds (all threads) of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return real shop photos where the shared data is, else drawn pictures of their size."""
    shared = Path(os.environ.get("FUNNELGATE_SHARED", "../shared")) / "data" / "grocery" / "train"
    photos = sorted(shared.resolve().rglob("*.jpg"))[:HASHED]
    return photos or draw_jpegs(tmp_path_factory.mktemp("bench") / "pictures", HASHED)


@pytest.mark.benchmark(group="tasks")
def test_hash_task_against_pillow_and_imagehash(
    benchmark: BenchmarkFixture, tmp_path: Path, pictures: list[Path]
) -> None:
    """Hash task over a plain loop of Pillow + imagehash.dhash (aim 2 times), and under bare scaled decode."""
    files = [path.read_bytes() for path in pictures]
    count = len(files)

    def plain() -> None:
        for data in files:
            imagehash.dhash(Image.open(io.BytesIO(data)))

    def scaled_decode() -> None:
        for data in files:
            image = Image.open(io.BytesIO(data))
            image.draft("L", (64, 64))
            image.load()

    day = Day(tmp_path, pictures)
    claimed = day.until("hash")
    spent = {"plain": cpu(plain), "decode": cpu(scaled_decode)}
    benchmark.pedantic(lambda: spent.update(task=cpu(lambda: day.run(claimed))), rounds=1, iterations=1)
    benchmark.extra_info |= {
        "pictures": count,
        "task_cpu_ms": round(1000 * spent["task"] / count, 3),
        "times_plain_loop": round(spent["plain"] / spent["task"], 2),
        "share_of_bare_decode": round(spent["decode"] / spent["task"], 2),
    }
    assert day.taken("hash") == count


@pytest.mark.benchmark(group="tasks")
def test_embed_task_against_bare_onnx_runtime(
    benchmark: BenchmarkFixture, tmp_path: Path, pictures: list[Path]
) -> None:
    """The share of a bare ONNX Runtime loop's speed that the embed task keeps (aim .85)."""
    embedder = open_embedder("efficientnet-lite0")
    some = pictures[:: len(pictures) // PICTURES][:PICTURES]
    session = OrtSession(SHIPPED / "efficientnet-lite0" / "model.onnx")
    side = max(embedder.spec.input.height, embedder.spec.input.width)
    decoded = [decode_rgb(path.read_bytes(), min_side=side, limits=DecodeLimits()) for path in some]
    batches = [preprocess(decoded[n : n + BATCH], embedder.spec.input) for n in range(0, PICTURES, BATCH)]

    def bare() -> None:
        for batch in batches:
            session.run(batch)

    day = Day(tmp_path, some)
    claimed = day.until("embed")
    spent = {"bare": cpu(bare)}
    benchmark.pedantic(lambda: spent.update(task=cpu(lambda: day.run(claimed))), rounds=1, iterations=1)
    spent["bare"] = min(spent["bare"], cpu(bare))
    benchmark.extra_info |= {
        "pictures": PICTURES,
        "task_cpu_ms": round(1000 * spent["task"] / day.taken("embed"), 2),
        "bare_cpu_ms": round(1000 * spent["bare"] / PICTURES, 2),
        "share_of_bare": round(spent["bare"] / PICTURES / (spent["task"] / day.taken("embed")), 3),
    }
    assert day.taken("embed") > 0.9 * PICTURES  # dedup drops some
