"""Small trained indexes and shards of them, for the tests of merging."""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.index.merge import ShardPart
from pipeline.index.quantizer import to_bytes, train_quantizer
from pipeline.index.shard import build_shard, describe_shard

DAY = dt.date(2026, 3, 1)
CATEGORY, SPACE = "shoes", "lite0/1"
CODECS = ("flat", "sq8", "pq4x4", "opq4x4")


def unit(rows: int, dim: int = 8, seed: int = 0) -> NDArray[np.float32]:
    """Return normalised vectors (rows, dim) float32."""
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    normalised: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised


@cache
def quantizer(codec: str = "flat", nlist: int = 5, seed: int = 0) -> bytes:
    """Return an empty trained index of 8 dimensions; `nlist` 1 is exact."""
    return to_bytes(train_quantizer(unit(800, seed=seed), nlist=nlist, codec=codec))


def part(
    ids: ArrayLike,
    vectors: NDArray[np.float32],
    *,
    day: int = 0,
    trained: bytes | None = None,
    keep: ArrayLike | None = None,
    **claims: object,
) -> ShardPart:
    """Return a shard of one day with what the merge takes of it; `claims` overwrite what its manifest says."""
    numbers = np.asarray(ids, np.int64)
    data = build_shard(trained or quantizer(), numbers, vectors)
    return described(data, day=day, keep=keep, **claims)


def described(data: bytes, *, day: int = 0, keep: ArrayLike | None = None, **claims: object) -> ShardPart:
    """Return a shard of given bytes, with a manifest that is true but for `claims`."""
    manifest = describe_shard(data, category=CATEGORY, date=DAY + dt.timedelta(day), space_id=SPACE)
    kept = None if keep is None else np.asarray(keep, np.int64)
    return ShardPart(manifest.model_copy(update=claims), data, kept)


def on_disk(parts: list[ShardPart], folder: Path) -> list[ShardPart]:
    """Return the same parts with their indexes in files."""
    folder.mkdir(exist_ok=True)
    found = []
    for number, one in enumerate(parts):
        path = folder / f"{number}.faiss"
        path.write_bytes(bytes_of(one))
        found.append(ShardPart(one.manifest, path, one.keep_ids))
    return found


def bytes_of(one: ShardPart) -> bytes:
    """Return the index of a part that is in memory."""
    assert isinstance(one.index, bytes)
    return one.index
