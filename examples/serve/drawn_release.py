"""Releases of drawn vectors: small, equal for equal seeds, and of different answers for different ones."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.index.quantizer import to_bytes, train_quantizer
from pipeline.index.shard import build_shard
from pipeline.lake import Lake
from pipeline.models.catalog import DEFAULT_EMBEDDER, resolve
from pipeline.release.golden import golden_of
from pipeline.release.manifest import CategoryIndex, ReleaseDraft, ReleaseManifest
from pipeline.release.objects import ObjectStore
from pipeline.release.pointer import publish
from pipeline.serve.generation import Generation

DAY = dt.date(2026, 11, 1)
NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Shape:
    """How large each category of a drawn release is."""

    rows: int = 400
    dim: int = 16
    nlist: int = 8
    nprobe: int = 2


def unit_vectors(seed: int, rows: int, dim: int) -> NDArray[np.float32]:
    """Draw vectors, (rows, dim) float32, L2-normalised."""
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def draw_category(
    home: Path, seed: int, first_id: int, *, shape: Shape, model: str | None = None, space_id: str | None = None
) -> CategoryIndex:
    """Write index and item table of one category into a home's object store; without a model: of the shipped one."""
    vectors = unit_vectors(seed, shape.rows, shape.dim)
    ids = np.arange(first_id, first_id + shape.rows, dtype=np.int64)
    index = build_shard(to_bytes(train_quantizer(vectors, nlist=shape.nlist)), ids, vectors)
    store = ObjectStore(home)
    index_sha256, items_sha256 = store.put_bytes(index), store.put_bytes(_items(ids.tolist()))
    spec = resolve(DEFAULT_EMBEDDER)[0]
    return CategoryIndex(
        model=model or str(spec.ref),
        space_id=space_id or spec.space_id,
        index_path=store.relative(index_sha256),
        index_sha256=index_sha256,
        items_path=store.relative(items_sha256),
        items_sha256=items_sha256,
        rows=shape.rows,
        nprobe=shape.nprobe,
    )


def _items(ids: Sequence[int]) -> bytes:
    rows = [
        {
            "id": number,
            "picture": hashlib.sha256(str(number).encode()).hexdigest(),
            "group": f"g{number}",
            "title": f"Thing {number}",
            "first_day": DAY,
            "last_seen": DAY,
            "offers": [{"sku": f"s{number}", "merchant": "acme", "title": f"Thing {number}", "group": f"g{number}"}],
            "pack": "pictures.bin",
            "offset": 0,
            "bytes": 0,
        }
        for number in ids
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def draw_release(
    home: Path, seed: int, *, categories: Sequence[str] = ("blue", "red"), shape: Shape | None = None
) -> ReleaseDraft:
    """Write everything a release of a seed needs; another seed has other vectors, other ids and other answers."""
    entries = {
        name: draw_category(home, 100 * seed + place, 1_000_000 * seed + 10_000 * place, shape=shape or Shape())
        for place, name in enumerate(categories)
    }
    return draft_of(home, f"seed-{seed}", entries)


def draft_of(home: Path, planid: str, entries: dict[str, CategoryIndex]) -> ReleaseDraft:
    """Put a release together, with its golden queries."""
    store = ObjectStore(home)
    golden = store.put_bytes(golden_of(Generation(Lake(str(home)), entries)))
    return ReleaseDraft(
        created_at=NOON,
        date=DAY,
        planid=planid,
        verdict_id="drawn",
        categories=entries,
        golden_path=store.relative(golden),
        golden_sha256=golden,
    )


def publish_drawn(home: Path, draft: ReleaseDraft) -> ReleaseManifest:
    """Make a draft current."""
    return publish(home, draft)
