"""Rewrite one file so that only some of its rows keep their bytes; its rows, places and length stay.

A pack is written beside itself with holes where nothing is kept and takes the old one's place by one rename: offsets in
tables, item tables and libraries stay right. Vectors become null in a table that is otherwise the same.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.lake import Lake, LetGo
from pipeline.storage.holdings import Holding
from pipeline.storage.kept import Rows

_PLACES: Final = {"pictures": ("offset", "bytes"), "crops": ("crop_offset", "crop_bytes")}
_VECTORS: Final = ("vector", "class_scores")
"""Columns of floats that are let go with a picture."""
_FLOAT_BYTES = 4


class Places(NamedTuple):
    """The rows of a file.

    Attributes:
        pictures: sha256 of each row's picture, text, (n,).
        sizes: Bytes of each, (n,) int64.
        offsets: Where they begin in the pack, (n,) int64; None for vectors.
    """

    pictures: pa.Array
    sizes: NDArray[np.int64]
    offsets: NDArray[np.int64] | None


def read_places(lake: Lake, holding: Holding) -> Places:
    """Return the rows of a file, in the order of its table.

    Raises:
        StoreError: the table is gone or damaged.
    """
    if holding.kind == "vectors":
        table = lake.read_table(holding.table, ["picture"])
        return Places(_names(table), np.full(table.num_rows, _bytes_a_row(lake, holding), np.int64), None)
    start, size = _PLACES[holding.kind]
    table = lake.read_table(holding.table, ["picture", start, size])
    sizes, offsets = (np.asarray(table[name].to_numpy(), np.int64) for name in (size, start))
    return Places(_names(table), sizes, offsets)


def _names(table: pa.Table) -> pa.Array:
    return table["picture"].cast(pa.string()).combine_chunks()


def _bytes_a_row(lake: Lake, holding: Holding) -> int:
    columns = lake.read_schema(holding.table)
    sizes: list[int] = [
        columns.field(name).type.list_size
        for name in _VECTORS
        if name in columns.names and pa.types.is_fixed_size_list(columns.field(name).type)
    ]
    return _FLOAT_BYTES * sum(sizes)


def thin(lake: Lake, holding: Holding, places: Places, keep: Rows) -> Rows:
    """Rewrite the file so that only some rows keep their bytes, and return which of them had any.

    Killed at any moment the file is whole, the old or the new one.

    Args:
        lake: A folder.
        holding: The file.
        places: Its rows.
        keep: Which keep their bytes, (n,).

    Returns:
        (n,): those of `keep` whose bytes were there; all others have none.

    Raises:
        StoreError: the disk refuses, or the file is gone.
        DataError: a pack is shorter than its table says; nothing is changed.
    """
    if places.offsets is None:
        return _thin_vectors(lake, holding.file, keep)
    return _thin_pack(lake, holding.file, places.offsets, places.sizes, keep)


def _thin_pack(lake: Lake, file: str, offsets: NDArray[np.int64], sizes: NDArray[np.int64], keep: Rows) -> Rows:
    path = lake.folder() / file
    there = keep.copy()
    rows = np.flatnonzero(keep)
    with lake.open_pack(file) as old, lake.replace(file) as new:
        for row in rows[np.argsort(offsets[rows], kind="stable")].tolist():
            offset, size = int(offsets[row]), int(sizes[row])
            try:
                data = old.read(offset, size)
            except LetGo:
                there[row] = False
                continue
            new.seek(offset)
            new.write(data)
        new.truncate(path.stat().st_size)  # up to the end, where the last picture may have gone
    return there


def _thin_vectors(lake: Lake, file: str, keep: Rows) -> Rows:
    table = lake.read_table(file)
    there = keep.copy()
    mask = pa.array(keep)
    for name in _VECTORS:
        if name in table.column_names:
            column = table[name].combine_chunks()
            there &= np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)
            thinned = pc.if_else(mask, column, pa.scalar(None, column.type))
            table = table.set_column(table.column_names.index(name), table.schema.field(name), thinned)
    lake.replace_table(file, table)
    return there
