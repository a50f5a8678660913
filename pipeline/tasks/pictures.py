"""Read the pictures or the crops of rows from their packs, one at a time; what was let go is dropped by its reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pyarrow as pa

from pipeline.lake import Lake, LetGo, Pack
from pipeline.tasks.drops import Drop

LET_GO: Final = "let_go"
"""The reason that every task has which reads bytes: they went because nothing that is stored needed them."""


def iter_pictures(lake: Lake, rows: pa.Table, drops: list[Drop]) -> Iterator[tuple[str, bytes]]:
    """Yield (item, bytes) for every row, in row order; holds one picture at a time.

    Args:
        lake: Holds the packs.
        rows: Columns item, pack, offset, bytes.
        drops: Gains a drop for every row whose picture was let go; such a row is not yielded.
    """
    return _iter_packed(lake, rows, ("item", "pack", "offset", "bytes"), drops)


def iter_crops(lake: Lake, rows: pa.Table, drops: list[Drop]) -> Iterator[tuple[str, bytes]]:
    """Yield (object, bytes of its crop) for every row of `crop`, as `iter_pictures` does for pictures."""
    return _iter_packed(lake, rows, ("object", "crop_pack", "crop_offset", "crop_bytes"), drops)


def _iter_packed(lake: Lake, rows: pa.Table, names: tuple[str, ...], drops: list[Drop]) -> Iterator[tuple[str, bytes]]:
    with ExitStack() as stack:
        packs: dict[str, Pack] = {}
        for batch in rows.select(names).to_batches():
            for name, path, offset, size in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if path not in packs:
                    packs[path] = stack.enter_context(lake.open_pack(path))
                try:
                    data = packs[path].read(offset, size)
                except LetGo as gone:
                    drops.append((name, LET_GO, str(gone)))
                    continue
                yield name, data
