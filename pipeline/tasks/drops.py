"""Drops as rows: every number of the funnel can be traced to the items behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa

from pipeline.tasks.context import LeafContext
from reporting.booking import Booking

Drop = tuple[str, str, str]
"""(item, reason, detail); once pictures have been divided into objects, the object stands for the item."""

DROP_SCHEMA = pa.schema([("item", pa.string()), ("reason", pa.string()), ("detail", pa.string())])


def write_drops(leaf: LeafContext, drops: Sequence[Drop], books: Booking | None = None) -> None:
    """Book the drops and write them as `dropped.parquet`, sorted by item; called once a leaf.

    Args:
        leaf: Whose.
        drops: All of them.
        books: Where a fan-out books them; default the leaf's own.
    """
    by_reason: dict[str, list[str]] = defaultdict(list)
    for item, reason, _ in drops:
        by_reason[reason].append(item)
    for reason, items in sorted(by_reason.items()):
        (books or leaf.books).drop(reason, items)
    columns = list(zip(*sorted(drops), strict=True)) or [(), (), ()]
    leaf.write("dropped", pa.table([pa.array(column, pa.string()) for column in columns], schema=DROP_SCHEMA))


def keep_rows(table: pa.Table, dropped: Sequence[Drop], by: str = "item") -> pa.Table:
    """Return the rows that were not dropped; `by` is the column that the drops name."""
    gone = {item for item, _, _ in dropped}
    mask = pa.array([item not in gone for item in table[by].to_pylist()], pa.bool_())
    return table.filter(mask)
