"""A column read from its buffers gives what pyarrow gives, whatever lies before and after it in them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.serve.columns import column_of

RECORD = pa.struct([("sku", pa.string()), ("title", pa.string())])
TEXTS = st.text(max_size=4)
RECORDS = st.lists(st.fixed_dictionaries({"sku": TEXTS, "title": TEXTS}), max_size=3)
HALF_KNOWN = st.fixed_dictionaries({"sku": st.none() | TEXTS, "title": TEXTS})
COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), TEXTS),
    (pa.string(), st.none() | TEXTS),
    (pa.large_string(), TEXTS),
    (pa.int64(), st.none() | st.integers(-(2**63), 2**63 - 1)),
    (pa.date32(), st.dates(dt.date(1990, 1, 1), dt.date(2100, 1, 1))),
    (pa.list_(RECORD), RECORDS),
    (pa.list_(RECORD), st.none() | RECORDS),
    (pa.list_(RECORD), st.lists(HALF_KNOWN, max_size=3)),
    (pa.list_(RECORD), st.lists(st.none() | HALF_KNOWN, max_size=3)),
    (pa.list_(pa.struct([("sku", pa.string()), ("price", pa.int64())])), st.just([{"sku": "a", "price": 3}])),
    (pa.list_(pa.struct([])), st.just([{}])),
    (pa.list_(pa.string()), st.lists(TEXTS, max_size=3)),
]


def read_all(array: Any) -> None:
    """Compare every row with pyarrow's own, alone and together, forwards and backwards."""
    column, plain = column_of(array), array.to_pylist()
    places = range(len(plain))
    assert [column.at(place) for place in places] == plain
    assert column.all_at(places) == plain
    assert column.all_at(places[::-1]) == plain[::-1]


@settings(max_examples=60)
@given(st.data())
def test_it_reads_what_pyarrow_reads_of_any_column_and_any_part_of_it(data: st.DataObject) -> None:
    kind, values = data.draw(st.sampled_from(COLUMNS))
    array = pa.array(data.draw(st.lists(values, max_size=12)), kind)
    read_all(array)
    start = data.draw(st.integers(0, len(array)))
    part = array.slice(start, data.draw(st.integers(0, len(array))))
    read_all(part)
    read_all(pa.chunked_array([part, array]))
    read_all(pa.chunked_array([part, array]).combine_chunks())


def test_records_whose_fields_are_parts_of_longer_columns() -> None:
    fields = [pa.array(["-", "a", "b", "c", "-"]).slice(1, 3), pa.array(["x", "y", "z", "-"]).slice(0, 3)]
    records = pa.StructArray.from_arrays(fields, ["sku", "title"])
    offers = pa.ListArray.from_arrays(pa.array([0, 1, 1, 2], pa.int32()), records.slice(1, 2))
    read_all(offers)
    read_all(offers.slice(1, 2))
    assert column_of(offers).at(2) == [{"sku": "c", "title": "z"}]


@pytest.mark.parametrize("kind", [pa.string(), pa.list_(RECORD)])
def test_it_keeps_its_bytes_when_nobody_else_holds_the_array(kind: pa.DataType) -> None:
    before = pa.total_allocated_bytes()
    many: list[Any] = [f"text {number}" for number in range(5000)]
    if kind != pa.string():
        many = [[{"sku": text, "title": text}] for text in many]
    column = column_of(pa.array(many, kind))
    held = pa.total_allocated_bytes() - before
    _other = pa.array(["overwritten"] * 20_000)
    assert held > 0
    assert column.all_at(range(5000)) == many
