"""What the panels must show, from the books in the SQL store: `reporting`'s own functions and plain sums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date as Date
from typing import Any

from reporting.effective import effective_records
from reporting.record import TaskRecord
from reporting.stores.sql import SqlStore
from tests.dashboards.kibana import books
from tests.dashboards.kibana.conftest import Rows

FIRST, LAST = books.DAYS[0], books.DAYS[-1]


def counting(store: SqlStore, where: dict[str, list[str]] | None = None) -> list[TaskRecord]:
    """The records that count, and that the controls leave."""
    return [
        record
        for record in effective_records(store, FIRST, LAST)
        if all(getattr(record.key, part) in values for part, values in (where or {}).items())
    ]


def stage(task: str) -> str:
    """A task's label, written a second time."""
    return f"{list(books.TOPOLOGY.order).index(task) + 1:02d} {task}"


def day(value: str) -> Date:
    """The day of an answer's date."""
    assert value.endswith("T00:00:00.000Z")
    return Date.fromisoformat(value[:10])


def pick(rows: Rows, *columns: str) -> set[tuple[Any, ...]]:
    """Some columns of all rows; no row may be twice in an answer."""
    found = [tuple(row[column] for column in columns) for row in rows]
    assert len(found) == len(set(found))
    return set(found)


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def sums_of(records: Iterable[TaskRecord], key: Any) -> dict[Any, tuple[int, int]]:
    """What went in and what was kept, by a key of the record."""
    found: dict[Any, list[int]] = defaultdict(lambda: [0, 0])
    for record in records:
        found[key(record)][0] += record.input
        found[key(record)][1] += record.output
    return {name: (taken, kept) for name, (taken, kept) in found.items()}
