"""Read the pictures of rows from their packs, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pyarrow as pa

from pipeline.lake import Lake, Pack


def iter_pictures(lake: Lake, rows: pa.Table) -> Iterator[tuple[str, bytes]]:
    """Yield (item, bytes) for every row, in row order; holds one picture at a time."""
    with ExitStack() as stack:
        packs: dict[str, Pack] = {}
        names = ("item", "pack", "offset", "bytes")
        for batch in rows.select(names).to_batches():
            for item, path, offset, size in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if path not in packs:
                    packs[path] = stack.enter_context(lake.open_pack(path))
                yield item, packs[path].read(offset, size)
