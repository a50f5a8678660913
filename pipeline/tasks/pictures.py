"""Read the pictures or the crops of rows from their packs, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pyarrow as pa

from pipeline.lake import Lake, Pack


def iter_pictures(lake: Lake, rows: pa.Table) -> Iterator[tuple[str, bytes]]:
    """Yield (item, bytes) for every row, in row order; holds one picture at a time."""
    return _iter_packed(lake, rows, ("item", "pack", "offset", "bytes"))


def iter_crops(lake: Lake, rows: pa.Table) -> Iterator[tuple[str, bytes]]:
    """Yield (object, bytes of its crop) for every row of `crop`, in row order; holds one crop at a time."""
    return _iter_packed(lake, rows, ("object", "crop_pack", "crop_offset", "crop_bytes"))


def _iter_packed(lake: Lake, rows: pa.Table, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with ExitStack() as stack:
        packs: dict[str, Pack] = {}
        for batch in rows.select(names).to_batches():
            for name, path, offset, size in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if path not in packs:
                    packs[path] = stack.enter_context(lake.open_pack(path))
                yield name, packs[path].read(offset, size)
