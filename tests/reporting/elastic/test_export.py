"""An export holds every record once, as it was booked, in each format; a file is there whole or not at all."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from reporting.elastic.export import COLUMNS, Format, export, format_of, stored_records
from reporting.elastic.truth import Span
from reporting.errors import StoreError, UsageError
from reporting.record import TaskFailure, TaskRecord
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.testing import make_record
from tests.reporting.elastic.shipped import DAYS, fill, opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with opened(tmp_path) as store:
        fill(store, seed=5)
        yield store


def parts(record: TaskRecord) -> tuple[str, ...]:
    return record.key.parts()


def test_what_is_read_is_what_the_store_holds(store):
    assert sorted(stored_records(store), key=parts) == store.records(RecordQuery())
    span = Span(DAYS[1], DAYS[2])
    assert sorted(stored_records(store, span), key=parts) == store.records(
        RecordQuery(date_from=DAYS[1], date_to=DAYS[2])
    )
    every: dict[Any, list[TaskRecord]] = {}
    for record in stored_records(store, events=True):
        every.setdefault(record.key, []).append(record)
    assert every == {record.key: store.history(record.key) for record in store.records(RecordQuery())}


@pytest.mark.parametrize("name", ["records.jsonl", "records.jsonl.gz"])
def test_json_lines_read_back_as_the_same_records(name, store, tmp_path):
    wanted = store.records(RecordQuery())
    assert export(wanted, tmp_path / name, format_of(tmp_path / name)) == len(wanted)
    raw = (tmp_path / name).read_bytes()
    text = gzip.decompress(raw) if name.endswith(".gz") else raw
    assert [TaskRecord.from_document(json.loads(line)) for line in text.splitlines()] == wanted


@pytest.mark.parametrize("name", ["records.csv", "records.csv.gz"])
def test_csv_has_one_row_a_record_with_maps_as_json(name, store, tmp_path):
    quoted = make_record("embed", category="a, b", error=TaskFailure(error_class="E", message='a "quoted",\nline'))
    wanted = [*store.records(RecordQuery()), quoted]
    export(wanted, tmp_path / name, Format.CSV)
    opener = gzip.open if name.endswith(".gz") else open
    with opener(tmp_path / name, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    for row, record in zip(rows, wanted, strict=True):
        document = record.to_document()
        for column in COLUMNS:
            value = "" if document[column] is None else document[column]
            plain = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)
            assert row[column] == plain, column


def test_parquet_has_types_and_the_same_values(store, tmp_path):
    wanted = store.records(RecordQuery())
    export(wanted, tmp_path / "r.parquet", Format.PARQUET)
    table = parquet.read_table(tmp_path / "r.parquet")
    assert tuple(table.column_names) == COLUMNS
    for row, record in zip(table.to_pylist(), wanted, strict=True):
        fields = record.model_dump()
        fields = {**fields.pop("key"), **fields, "consumed": list(fields["consumed"])}
        maps = {name: dict(row[name]) for name in ("dropped", "failed", "versions", "metrics")}
        assert row | maps == fields


def test_every_field_of_a_record_has_a_column():
    assert set(COLUMNS) == set(make_record().to_document())


def test_nothing_to_write_is_an_empty_file_of_the_format(tmp_path):
    for form in Format:
        assert export([], tmp_path / form, form) == 0
    assert (tmp_path / "jsonl").read_bytes() == b""
    assert (tmp_path / "csv").read_text() == ",".join(COLUMNS) + "\n"
    assert parquet.read_table(tmp_path / "parquet").num_rows == 0


@pytest.mark.parametrize("form", Format)
def test_after_an_error_half_way_the_former_file_stands_and_nothing_else(form, store, tmp_path):
    out = tmp_path / "out" / "records"
    out.parent.mkdir()
    out.write_text("before")

    def broken() -> Iterator[TaskRecord]:
        yield from store.records(RecordQuery())
        raise StoreError("the store went away")

    with pytest.raises(StoreError, match="went away"):
        export(broken(), out, form)
    assert [path.name for path in out.parent.iterdir()] == ["records"]
    assert out.read_text() == "before"


def test_equal_records_give_equal_compressed_files(store, tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        export(store.records(RecordQuery()), tmp_path / name, Format.JSONL)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_places_that_cannot_be_written_are_refused_with_what_to_do(store, tmp_path):
    with pytest.raises(UsageError, match="is not there; make it first"):
        export([], tmp_path / "no" / "r.jsonl", Format.JSONL)
    with pytest.raises(UsageError, match="is a folder; name a file"):
        export([], tmp_path, Format.JSONL)
    with pytest.raises(UsageError, match="name a file by --out"):
        export([], None, Format.PARQUET)
    with pytest.raises(UsageError, match=r"leave \.gz away"):
        export([], tmp_path / "r.parquet.gz", Format.PARQUET)
    with pytest.raises(StoreError, match="cannot be written"):
        export(store.records(RecordQuery()), Path("/proc/r.jsonl"), Format.JSONL)


def test_standard_output_takes_lines(store, capfdbinary):
    export(store.records(RecordQuery()), None, Format.JSONL)
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["task"] for line in lines] == ["quality"] * len(lines) != []


@pytest.mark.parametrize(
    ("name", "form"), [("a.csv", "csv"), ("a.csv.gz", "csv"), ("a.parquet", "parquet"), ("a.txt", "jsonl")]
)
def test_a_files_name_asks_for_its_format(name, form):
    assert format_of(Path(name)) == form
