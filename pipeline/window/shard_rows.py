"""The rows of shards as tables, day shards and tails alike, and which of them still live."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date as Date
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from pipeline.lake import Lake

ELSEWHERE: Final = "elsewhere"
"""Categories of the other objects of the row's picture, where categorise has said so."""
DAY: Final = "day"
"""The day whose index has built the row; the library names it too, as long as it means this row (`first_day`)."""
ROWS = pa.schema(
    [
        ("id", pa.int64()),
        ("item", pa.string()),
        ("picture", pa.string()),
        ("object", pa.string()),
        ("ordinal", pa.int16()),
        ("x0", pa.int32()),
        ("y0", pa.int32()),
        ("x1", pa.int32()),
        ("y1", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("score", pa.float32()),
        ("detected", pa.string()),
        ("why", pa.string()),
        (ELSEWHERE, pa.list_(pa.string())),
        (DAY, pa.date32()),
    ]
)


def rows_of_day(lake: Lake, folder: str, day: Date) -> pa.Table:
    """Return the rows (`ROWS`) of a day's shard, in the order of its item table; a column it lacks is null.

    A day from before there were objects had one in each picture, booked by its item.

    Args:
        lake: Holds it.
        folder: Of the partition of `index`.
        day: Its day.
    """
    table = lake.read_table(f"{folder}/items.parquet")
    if "object" not in table.column_names:
        table = table.append_column("object", table["item"])
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in ROWS
        if field.name != DAY
    ]
    return pa.table([*columns, pa.repeat(pa.scalar(day, pa.date32()), table.num_rows)], schema=ROWS)


def is_alive(rows: pa.Table, live: pa.Table) -> pa.ChunkedArray:
    """Tell of each row whether the library has its picture as of the row's day.

    A picture that left and came back is stored as of the later day: its row of the earlier one is dead.

    Args:
        rows: `ROWS`.
        live: The library: `picture`, unique, and `first_day`.

    Returns:
        (n,) bool, never null.
    """
    stored = live["first_day"].take(pc.index_in(rows["picture"], value_set=live["picture"]))
    return pc.fill_null(pc.equal(stored, rows[DAY]), fill_value=False)


def is_of(rows: pa.Table, days: Iterable[Date]) -> pa.ChunkedArray:
    """Tell of each row whether it is of one of some days, (n,) bool."""
    return pc.is_in(rows[DAY], value_set=pa.array(sorted(days), pa.date32()))
