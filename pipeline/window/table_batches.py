"""Parquet files by the row group: tables of millions of rows pass through in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from reporting.errors import StoreError

if TYPE_CHECKING:
    from pipeline.lake import Lake

ROWS: Final = 64 * 1024
"""Rows of a group, as `Lake.write_table` has them."""


class Batch(NamedTuple):
    """Some rows of a file, and the place of the first of them."""

    start: int
    table: pa.Table


def read_batches(
    lake: Lake,
    path: str,
    columns: Sequence[str] | None = None,
    *,
    is_wanted: Callable[[int, int], bool] = lambda *_: True,
) -> Iterator[Batch]:
    """Yield the row groups of a Parquet file in their order.

    Args:
        lake: Holds it. One that is reached by URL is read whole and handed on in pieces.
        path: Below its root.
        columns: Which, of structs by their dotted names; None: all.
        is_wanted: Whether the rows [start, stop) are; groups that are not are not read.

    Raises:
        StoreError: the file is gone or damaged.
    """
    local = lake.local(path)
    names = None if columns is None else list(columns)
    if local is None:
        table = lake.read_table(path, names)
        starts = range(0, table.num_rows, ROWS)
        yield from (Batch(at, table.slice(at, ROWS)) for at in starts if is_wanted(at, at + ROWS))
        return
    with _reading(local), pq.ParquetFile(local) as file:
        start = 0
        for number in range(file.num_row_groups):
            stop = start + file.metadata.row_group(number).num_rows
            if is_wanted(start, stop):
                yield Batch(start, file.read_row_group(number, columns=names))
            start = stop


def count_rows(lake: Lake, path: str) -> int:
    """Return the number of rows of a Parquet file, from its footer.

    Raises:
        StoreError: the file is gone or damaged.
    """
    local = lake.local(path)
    if local is None:
        return int(lake.read_table(path, []).num_rows)
    with _reading(local), pq.ParquetFile(local) as file:
        return int(file.metadata.num_rows)


def read_schema(lake: Lake, path: str) -> pa.Schema:
    """Return the schema of a Parquet file; errors as `count_rows`."""
    local = lake.local(path)
    if local is None:
        return lake.read_table(path).schema
    with _reading(local):
        return pq.read_schema(local)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{file}: a committed partition cannot be read: {error}; restore it or re-run the leaf that wrote it"
        ) from error


def write_batches(lake: Lake, path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write tables as one Parquet file, in their order; the same bytes however they are cut.

    Args:
        lake: Holds it.
        path: Below its root.
        schema: Of each table. Not for fixed-size lists (vectors): `Lake.write_table` stores them its own way.
        tables: Of any sizes.

    Raises:
        StoreError: the disk refuses. Nothing points at the half-written file.
    """
    with lake.create(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        waiting: list[pa.Table] = [schema.empty_table()]
        for table in tables:
            waiting.append(table)
            if sum(one.num_rows for one in waiting) >= ROWS:
                together = pa.concat_tables(waiting)
                full = together.num_rows // ROWS * ROWS
                writer.write_table(together.slice(0, full), row_group_size=ROWS)
                waiting = [together.slice(full)]
        writer.write_table(pa.concat_tables(waiting), row_group_size=ROWS)
