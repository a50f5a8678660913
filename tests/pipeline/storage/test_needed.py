"""What must stay on old days, against a naive rule over sets."""

from __future__ import annotations

import hashlib
from datetime import date as Date
from datetime import timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.storage.needed import by_day

START = Date(2026, 9, 1)
Row = tuple[str, int]
TABLES = st.lists(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 6)), max_size=12), max_size=5)


def table_of(rows: list[Row], kind: pa.DataType) -> pa.Table:
    days = [START + timedelta(day) for _, day in rows]
    return pa.table({"first_day": pa.array(days, pa.date32()), "picture": pa.array([name for name, _ in rows], kind)})


@given(tables=TABLES, last=st.integers(-1, 7))
def test_a_day_needs_each_picture_that_any_table_names_with_it_once_in_order(
    tables: list[list[Row]], last: int
) -> None:
    naive: dict[Date, set[str]] = {}
    for name, day in (row for rows in tables for row in rows):
        if day <= last:
            naive.setdefault(START + timedelta(day), set()).add(name)
    kinds = (pa.string(), pa.large_string())
    found = by_day([table_of(rows, kinds[at % 2]) for at, rows in enumerate(tables)], START + timedelta(last))
    assert {day: one.pictures.to_pylist() for day, one in found.items()} == {
        day: sorted(names) for day, names in naive.items()
    }
    for one in found.values():
        assert one.sha256 == hashlib.sha256("\n".join(one.pictures.to_pylist()).encode()).hexdigest()
