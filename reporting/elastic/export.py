"""Records as a file for other programs: JSON lines, CSV or Parquet, written record by record and put in place whole."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from reporting.elastic.documents import record_of
from reporting.elastic.names import Kind
from reporting.elastic.search import indices_between, pages
from reporting.elastic.truth import EVERYTHING, Span, SqlTruth
from reporting.errors import StoreError, UsageError
from reporting.record import TaskRecord

if TYPE_CHECKING:
    import pyarrow

    from reporting.stores.elastic import ElasticStore
    from reporting.stores.sql import SqlStore

_ROWS_AT_ONCE = 10_000
"""Of one Parquet row group: about 10 MB in memory."""


class Format(StrEnum):
    """How records are written."""

    JSONL = "jsonl"
    """One `TaskRecord.to_document()` a line."""
    CSV = "csv"
    """One row a record with the same fields; maps and lists as JSON."""
    PARQUET = "parquet"
    """The same with types; maps as maps, times in microseconds."""


COLUMNS = (
    *("task", "date", "category", "subinstance", "planid", "state", "attempt", "version"),
    *("input", "output", "produced", "dropped", "failed", "error", "consumed", "digest_in", "digest_out"),
    *("versions", "metrics", "started_at", "finished_at", "reported_at", "schema_version"),
)
_NESTED = ("dropped", "failed", "error", "consumed", "versions", "metrics")


def format_of(path: Path | None) -> Format:
    """Return the format that a file's name asks for; JSON lines where it asks for none.

    Example:
        >>> format_of(Path("records.csv.gz")).value
        'csv'
    """
    name = "" if path is None else path.name.removesuffix(".gz")
    return next((one for one in Format if name.endswith(f".{one.value}")), Format.JSONL)


def stored_records(
    store: SqlStore | ElasticStore, span: Span = EVERYTHING, *, events: bool = False
) -> Iterator[TaskRecord]:
    """Yield the records of some days without holding them all.

    Args:
        store: from SQL they come by day, plan and task; from Elasticsearch as they lie there.
        span: which days.
        events: every version that was ever booked; those of a key in the order of their arrival.

    Raises:
        StoreError: the store cannot be read.
    """
    from reporting.stores.sql import SqlStore

    if isinstance(store, SqlStore):
        yield from SqlTruth(store, "none", ()).records(span, events=events)
        return
    kind = Kind.EVENTS if events else Kind.RECORDS
    limits = {"gte": span.first, "lte": span.last}
    given = {name: day.isoformat() for name, day in limits.items() if day is not None}
    query = {"range": {"date": given}} if given else {"match_all": {}}
    indices = indices_between(store.prefix, kind, *span)
    for page in pages(store.client, indices, query, sort="_seq_no" if events else None):
        yield from (record_of(hit["_source"]) for hit in page)


def export(records: Iterable[TaskRecord], out: Path | None, form: Format) -> int:
    """Write records; return how many. A file appears when it is whole, and not at all after an error.

    Args:
        records: read one by one.
        out: a name that ends in `.gz` is compressed (not Parquet, which compresses by itself); None: standard output.
        form: how they are written.

    Raises:
        UsageError: the folder is not there, or the format cannot be written there.
        StoreError: the file cannot be written.
    """
    write = {Format.JSONL: _write_lines, Format.CSV: _write_rows, Format.PARQUET: _write_parquet}[form]
    if out is None:
        if form is Format.PARQUET:
            raise UsageError("Parquet cannot be written to standard output; name a file by --out")
        sys.stdout.flush()
        return write(records, sys.stdout.buffer)
    if form is Format.PARQUET and out.suffix == ".gz":
        raise UsageError(f"{out}: Parquet is compressed already; leave .gz away")
    with _put_in_place(out) as file:
        return write(records, file)


@contextmanager
def _put_in_place(out: Path) -> Iterator[BinaryIO]:
    """Yield a file beside the one to be, which takes its place when the block ends without an error."""
    if not out.parent.is_dir():
        raise UsageError(f"{out}: the folder {out.parent} is not there; make it first")
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; name a file")
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file, ExitStack() as stack:
            whole: BinaryIO = file
            if out.suffix == ".gz":  # without name and time, so that equal records give equal files
                whole = cast(BinaryIO, gzip.GzipFile("", "wb", fileobj=file, mtime=0))
                stack.callback(whole.close)
            yield whole
            stack.close()
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(out)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written: {error.strerror or error}; nothing was left there") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_lines(records: Iterable[TaskRecord], file: BinaryIO) -> int:
    count = 0
    for count, record in enumerate(records, 1):  # noqa: B007 - the last one is the answer
        file.write(json.dumps(record.to_document(), ensure_ascii=False).encode() + b"\n")
    return count


def _write_rows(records: Iterable[TaskRecord], file: BinaryIO) -> int:
    count = 0
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    try:
        rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        rows.writeheader()
        for count, record in enumerate(records, 1):  # noqa: B007 - the last one is the answer
            rows.writerow(_flat(record.to_document()))
        text.flush()
    finally:
        text.detach()  # the file is closed by who opened it
    return count


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    nested = {name: json.dumps(document[name], ensure_ascii=False) for name in _NESTED if document[name] is not None}
    return document | nested


def _write_parquet(records: Iterable[TaskRecord], file: BinaryIO) -> int:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = _schema()
    count = 0
    waiting = iter(records)
    with ParquetWriter(file, schema) as writer:
        while part := list(islice(waiting, _ROWS_AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist([_typed(record) for record in part], schema))
            count += len(part)
    return count


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    counts = pa.map_(pa.string(), pa.int64())
    consumed = pa.struct([("task", pa.string()), ("date", pa.date32()), ("planid", pa.string()), ("count", pa.int64())])
    types: dict[str, Any] = {
        "date": pa.date32(),
        **dict.fromkeys(("attempt", "version", "input", "output", "produced", "schema_version"), pa.int64()),
        **dict.fromkeys(("dropped", "failed"), counts),
        "error": pa.struct([("error_class", pa.string()), ("message", pa.string())]),
        "consumed": pa.list_(consumed),
        "versions": pa.map_(pa.string(), pa.string()),
        "metrics": pa.map_(pa.string(), pa.float64()),
        **dict.fromkeys(("started_at", "finished_at", "reported_at"), moment),
    }
    return pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])


def _typed(record: TaskRecord) -> dict[str, Any]:
    """Return a record's fields as Arrow takes them: times as times, maps as pairs."""
    fields = record.model_dump()
    row: dict[str, Any] = {**fields.pop("key"), **fields, "state": record.state.value}
    return row | {name: list(row[name].items()) for name in ("dropped", "failed", "versions", "metrics")}
