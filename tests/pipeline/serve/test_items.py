"""The item table in columns answers as the plain dict of all rows would."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.serve.items import ItemTable
from reporting.errors import DataError

ids = st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 20), unique=True, max_size=40)


def rows_of(numbers: list[int]) -> list[dict[str, Any]]:
    day = dt.date(2026, 11, 1)
    return [
        {
            "id": number,
            "group": f"g{number % 3}",
            "first_day": day + dt.timedelta(days=number % 2),
            "offers": [{"sku": str(number)}] * (number % 3),
        }
        for number in numbers
    ]


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    offers = pa.list_(pa.struct([("sku", pa.string())]))
    schema = pa.schema([("id", pa.int64()), ("group", pa.string()), ("first_day", pa.date32()), ("offers", offers)])
    half = len(rows) // 2
    return pa.concat_tables([pa.Table.from_pylist(part, schema=schema) for part in (rows[:half], rows[half:])])


@settings(max_examples=30)
@given(ids, st.lists(st.integers(0, 25), max_size=10))
def test_it_is_the_dict_of_its_rows(numbers: list[int], others: list[int]) -> None:
    rows = rows_of(numbers)
    plain = {row["id"]: row for row in rows}
    items = ItemTable(table_of(rows), "items.parquet")
    assert dict(items) == plain
    assert items.ids.tolist() == list(items) == sorted(numbers)
    assert list(items.values()) == [plain[number] for number in sorted(numbers)]
    assert items.keys() == plain.keys()
    assert items.rows(numbers[::-1]) == [plain[number] for number in numbers[::-1]]
    for number in [*numbers, *others]:
        assert items.get(number) == plain.get(number)
        assert (number in items) == (number in plain)
    places = items.places([*numbers, *others])
    assert [place >= 0 for place in places] == [number in plain for number in [*numbers, *others]]
    present = [one for one in [*numbers, *others] if one in plain]
    assert items.groups(present) == [plain[one]["group"] for one in present]
    for day in {row["first_day"] for row in rows}:
        assert items.ids_of_days([day]).tolist() == sorted(row["id"] for row in rows if row["first_day"] == day)


def test_an_unknown_id_is_named() -> None:
    items = ItemTable(table_of(rows_of([1, 5])), "items.parquet")
    with pytest.raises(KeyError, match="3"):
        items.rows([1, 3, 4])
    with pytest.raises(KeyError, match="0"):
        items.groups([5, 0])
    assert -1 not in items
    with pytest.raises(KeyError, match="6"):
        _ = items[6]
    assert items.get(6) is None


def test_an_id_that_is_there_twice_or_missing_is_refused() -> None:
    rows = rows_of([4, 9])
    with pytest.raises(DataError, match=r"items\.parquet: id 4 is there twice"):
        ItemTable(table_of([*rows, rows[0]]), "items.parquet")
    with pytest.raises(DataError, match="1 rows have no id"):
        ItemTable(table_of([*rows, rows[0] | {"id": None}]), "items.parquet")
