"""Reading the cells of a source manifest: CSV, JSONL or Parquet to batches of text columns.

What the cells must hold is judged in `pipeline.sources`; here only the form of the file is.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.source_files import MAX_LINE_BYTES, HashingReader, open_manifest, text_lines
from reporting.errors import DataError, StoreError, nearest

LOCATION_COLUMNS = ("url", "path")
REQUIRED_COLUMNS = ("sku", "merchant", "category", "title", "listed")
OPTIONAL_COLUMNS = ("strategy", "group")
KNOWN_COLUMNS = (*LOCATION_COLUMNS, *REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)

# 65,536 rows keep a batch near 30 MB of Python strings and still amortise Arrow's per-call cost.
BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class CellBatch:
    """Up to `BATCH_ROWS` rows as text.

    Attributes:
        location_column: `url` or `path`, the one the file has.
        lines: int64, 1-based physical line each row begins at; the row number in Parquet.
        cells: column name to a string array without nulls (null and absent are both "").
    """

    location_column: str
    lines: pa.Array
    cells: dict[str, pa.Array]


def location_column(names: Iterable[str], where: str) -> str:
    """Check a file's column names and return the location column, `url` or `path`.

    Raises:
        DataError: A name is unknown or repeated, a required one is missing, or the file has both or
            neither of `url` and `path`.
    """
    found = list(names)
    for name in found:
        if name not in KNOWN_COLUMNS:
            raise DataError(f"{where}: unknown column {name!r}; {nearest(name, KNOWN_COLUMNS)}")
        if found.count(name) > 1:
            raise DataError(f"{where}: column {name!r} appears twice; expected it once; remove one of them")
    present = [name for name in LOCATION_COLUMNS if name in found]
    if len(present) != 1:
        said = "both url and path" if present else "neither url nor path"
        raise DataError(f"{where}: {said} found; expected exactly one of the two columns; keep one")
    missing = [name for name in REQUIRED_COLUMNS if name not in found]
    if missing:
        raise DataError(
            f"{where}: missing column {', '.join(missing)}; expected {present[0]}, "
            f"{', '.join(REQUIRED_COLUMNS)}; add it to the manifest"
        )
    return present[0]


def _csv_batches(stream: io.BufferedReader[HashingReader], path: Path) -> Iterator[CellBatch]:
    reader = csv.reader(text_lines(stream, path), strict=True)
    header: list[str] = []
    column = ""
    rows: list[list[str]] = []
    lines: list[int] = []
    begun = 1
    try:
        for row in reader:
            start, begun = begun, reader.line_num + 1
            if not row:
                continue
            if not header:
                header = [name.strip() for name in row]
                column = location_column(header, f"{path}:{start}")
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{path}:{start}: {len(row)} cells found; expected {len(header)} as in the header; "
                    "quote cells that hold a comma"
                )
            rows.append(row)
            lines.append(start)
            if len(rows) == BATCH_ROWS:
                yield _batch(column, lines, dict(zip(header, zip(*rows, strict=True), strict=True)))
                rows, lines = [], []
    except csv.Error as error:
        raise DataError(
            f"{path}:{begun}: malformed CSV: {error}; expected comma-separated cells, quotes closed, and "
            "doubled within quotes; correct the row that begins here"
        ) from error
    if not header:
        raise DataError(f"{path}:1: no header found; expected the column names in the first line; add them")
    values = zip(*rows, strict=True) if rows else ([] for _ in header)
    yield _batch(column, lines, dict(zip(header, values, strict=True)))


def _batch(column: str, lines: list[int], values: dict[str, Any]) -> CellBatch:
    cells = {name: pa.array(cell, pa.string()) for name, cell in values.items()}
    return CellBatch(column, pa.array(lines, pa.int64()), cells)


def _json_cell(name: str, value: object, where: str) -> str:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{where}: {name} has half a surrogate pair; expected valid Unicode; correct the escape"
            ) from error
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        if name == "listed":
            return "true" if value else "false"
    elif isinstance(value, int):
        return str(value)
    raise DataError(f"{where}: {name} is {value!r:.60}; expected text or a whole number; quote the value")


def _unique_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key appears twice")
    return row


def _json_row(text: str, where: str) -> dict[str, object]:
    try:
        row = json.loads(text, object_pairs_hook=_unique_object)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: malformed JSON: {error}; expected one object a line; correct the line") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: found a JSON {type(row).__name__}; expected one object a line; correct the line")
    return row


def _jsonl_batches(stream: io.BufferedReader[HashingReader], path: Path) -> Iterator[CellBatch]:
    column = ""
    accepted: set[frozenset[str]] = set()
    values: dict[str, list[str]] = {}
    lines: list[int] = []
    for number, text in enumerate(text_lines(stream, path), start=1):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        row = _json_row(text, where)
        names = frozenset(row)
        if names not in accepted:
            found = location_column(row, where)
            if column and found != column:
                raise DataError(f"{where}: {found} found; expected {column} as in the rows before; use one of the two")
            column = found
            accepted.add(names)
        values = values or {name: [] for name in (column, *REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)}
        for name, cells in values.items():
            cells.append(_json_cell(name, row.get(name), where))
        lines.append(number)
        if len(lines) == BATCH_ROWS:
            yield _batch(column, lines, values)
            values, lines = {}, []
    # Without a single row the location column is unknown and of no consequence.
    column = column or LOCATION_COLUMNS[0]
    yield _batch(column, lines, values or {name: [] for name in (column, *REQUIRED_COLUMNS)})


def _parquet_batches(stream: io.FileIO, path: Path) -> Iterator[CellBatch]:
    file = pq.ParquetFile(pa.PythonFile(stream, mode="r"))
    column = location_column(file.schema_arrow.names, str(path))
    for field in file.schema_arrow:
        if not _is_text_like(field):
            raise DataError(f"{path}: column {field.name!r} is {field.type}; expected string; cast it")
    seen = 0
    yield _batch(column, [], {name: [] for name in file.schema_arrow.names})
    for batch in file.iter_batches(batch_size=BATCH_ROWS):
        cells = {
            name: values.cast(pa.string()).fill_null("")
            for name, values in zip(batch.schema.names, batch.columns, strict=True)
        }
        for values in cells.values():
            values.validate(full=True)  # Parquet readers do not check that strings are UTF-8
        yield CellBatch(column, pa.array(range(seen + 1, seen + 1 + len(batch)), pa.int64()), cells)
        seen += len(batch)


def _is_text_like(field: pa.Field) -> bool:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_flag = field.name == "listed" and pa.types.is_boolean(kind)
    return bool(is_text or is_flag or pa.types.is_integer(kind) or pa.types.is_null(kind))


def read_cells(path: Path, on_batch: Callable[[CellBatch], None]) -> str:
    """Hand the file's rows to `on_batch` in batches, in file order, and return its SHA-256 in hex.

    At least one batch is handed over, with no rows if the file has none. The format goes by the ending:
    `.csv` (RFC 4180, header line, UTF-8 with or without byte order mark), `.jsonl` (one object a line;
    blank lines are skipped) or `.parquet` (columns of strings; whole numbers and, in `listed`, booleans
    pass).

    Raises:
        DataError: The form is wrong; the message begins with `path:line`.
        StoreError: The file system failed while reading.
    """
    if path.suffix not in (".csv", ".jsonl", ".parquet"):
        raise DataError(
            f"{path}: ending {path.suffix!r} found; expected .csv, .jsonl or .parquet; rename or convert it"
        )
    with open_manifest(path) as raw:
        try:
            if path.suffix == ".parquet":
                return _read_parquet(raw, path, on_batch)
            hashing = HashingReader(raw)
            stream = io.BufferedReader(hashing, MAX_LINE_BYTES)
            for batch in (_csv_batches if path.suffix == ".csv" else _jsonl_batches)(stream, path):
                on_batch(batch)
            return hashing.sha256.hexdigest()
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror or error} while reading; check the disk, then retry") from error


def _read_parquet(raw: io.FileIO, path: Path, on_batch: Callable[[CellBatch], None]) -> str:
    before = os.fstat(raw.fileno())
    digest = hashlib.file_digest(raw, "sha256").hexdigest()
    try:
        for batch in _parquet_batches(raw, path):
            on_batch(batch)
    except (pa.ArrowException, OSError) as error:
        # pyarrow reports damaged pages as OSError without an errno; one with an errno is the disk's.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(
            f"{path}: not a readable Parquet file: {str(error).splitlines()[0]:.200}; expected Parquet with "
            "UTF-8 strings; write it again"
        ) from error
    after = os.fstat(raw.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DataError(f"{path}: changed while it was read; expected a finished file; retry once it is written")
    return digest
