"""One quantizer per category and feature space, trained once and then frozen: shards stay mergeable."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from pipeline.index.quantizer import choose_nlist, fingerprint, to_bytes, train_quantizer
from pipeline.tasks.context import LeafContext
from reporting import tables as t
from reporting.stores.sql_work import insert_new, iso


def find_quantizer(leaf: LeafContext, category: str, space_id: str) -> bytes | None:
    """Return the trained quantizer's bytes, or None before the category's first day with items."""
    c = t.quantizer.c
    with leaf.store.read() as connection:
        path = connection.execute(select(c.path).where(c.category == category, c.space_id == space_id)).scalar()
    return None if path is None else leaf.lake.read_bytes(path)


def quantizer_for(
    leaf: LeafContext, category: str, space_id: str, vectors: NDArray[np.float32], window_days: int
) -> bytes | None:
    """Return the category's quantizer, training it on these vectors if there is none; None without vectors.

    Two leaves that train at once agree: the first row committed wins, and both use what it names.
    """
    found = find_quantizer(leaf, category, space_id)
    if found is not None or len(vectors) == 0:
        return found
    index = train_quantizer(vectors, nlist=choose_nlist(len(vectors), window_days))
    data = to_bytes(index)
    path = f"quantizers/{category}/{space_id}/{hashlib.sha256(data).hexdigest()[:16]}.faiss"
    leaf.lake.write_bytes(path, data)
    with leaf.store.begin() as work:
        work.connection.execute(
            insert_new(leaf.store.dialect, t.quantizer),
            {
                "category": category,
                "space_id": space_id,
                "fingerprint": fingerprint(index),
                "path": path,
                "trained_on": str(leaf.key),
                "created_at": iso(datetime.now(UTC)),
            },
        )
    return find_quantizer(leaf, category, space_id)
