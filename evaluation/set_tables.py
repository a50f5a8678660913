"""Source tables of an evaluation set, CSV or Parquet: rows by canonical column name, each with its place."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime
from pathlib import Path
from typing import Final

from reporting.errors import DataError, nearest

Columns = Mapping[str, str]
"""Every accepted spelling -> the name of the field. The set's own files use the spellings of the format (4.1)."""

QUERY_COLUMNS: Final[Columns] = {
    **{name: name for name in ("query_id", "path", "near", "query_type", "source", "captured_day", "tags", "weight")},
    **dict.fromkeys(("sha256", "image_ref"), "sha256"),
    **dict.fromkeys(("category", "true_category"), "category"),
    **dict.fromkeys(("cluster", "cluster_id"), "cluster"),
    **dict.fromkeys(("group", "group_id"), "group_id"),
    "grade": "grade",
    **dict.fromkeys(("labellers", "labeller_n"), "labellers"),
    "agreed": "agreed",
}
LABEL_COLUMNS: Final[Columns] = {
    "query_id": "query_id",
    **dict.fromkeys(("group", "group_id"), "group_id"),
    "grade": "grade",
    **dict.fromkeys(("labellers", "labeller_n"), "labellers"),
    "agreed": "agreed",
}
CATALOG_COLUMNS: Final[Columns] = {
    **{name: name for name in ("image_id", "path", "category", "role", "sha256", "near")},
    **{name: name for name in ("first_day", "last_day", "takedown_day", "value")},
    **dict.fromkeys(("group", "group_id"), "group_id"),
    # A source manifest of the pipeline may be the catalogue; of these only `listed` says what is findable.
    **{name: name for name in ("sku", "merchant", "title", "listed", "strategy")},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        place: `file:line`, `file: row n` (from 1), or a picture's path.
        values: Field -> value, blanks stripped; what is empty or null is left out.
    """

    place: str
    values: Mapping[str, object]

    def text(self, name: str) -> str:
        """Return a value as text, "" if it is not there. Whole numbers are written in decimals (63-bit ids).

        Raises:
            DataError: It is neither text nor a whole number.
        """
        value = self.values.get(name, "")
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise DataError(f"{self.place}: {name} is {value!r}; expected text or a whole number")
        return value

    def day(self, name: str) -> Date | None:
        """Return a value as a day, None if it is not there.

        Raises:
            DataError: It is no day.
        """
        value = self.values.get(name)
        if isinstance(value, datetime):
            return value.date()
        if value is None or isinstance(value, Date):
            return value
        try:
            day = Date.fromisoformat(str(value))
        except ValueError:
            day = None
        if day is None or day.isoformat() != value:  # Python also reads 20261101, which may be any number
            raise DataError(f"{self.place}: {name} is {value!r}; write the day as YYYY-MM-DD")
        return day

    def words(self, name: str) -> tuple[str, ...]:
        """Return a list (Parquet) or words divided by `;` (CSV), sorted, each once; () if it is not there."""
        value = self.values.get(name, "")
        parts = value if isinstance(value, (list, tuple)) else self.text(name).split(";")
        return tuple(sorted({str(part).strip() for part in parts} - {""}))


def read_table(path: Path, columns: Columns, *, required: Sequence[str], one_of: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows of a table, by the file's ending: `.parquet`, otherwise UTF-8 CSV with a header.

    Args:
        path: The file.
        columns: The spellings it may use; each field at most once.
        required: Fields whose column must be there.
        one_of: Fields of which one at least must have a column.

    Raises:
        DataError: `file:line: ...`: no such file, not in its format, a column unknown, repeated or missing, or a row
            with too few or too many fields.
    """
    yield from (_parquet if path.suffix == ".parquet" else _csv)(path, columns, required, one_of)


def _fields(
    place: str, header: Iterable[str], columns: Columns, required: Sequence[str], one_of: Sequence[str]
) -> list[str]:
    names: list[str] = []
    for name in header:
        field = columns.get(name.strip())
        if field is None or field in names:
            raise DataError(f"{place}: unknown or repeated column {name!r}; {nearest(name, columns)}")
        names.append(field)
    missing = [field for field in required if field not in names]
    if missing:
        raise DataError(f"{place}: column {_spelt(missing[0], columns)} is missing; expected {', '.join(required)}")
    if one_of and not set(one_of) & set(names):
        raise DataError(f"{place}: there is neither column {' nor '.join(one_of)}; add one, rows are named by it")
    return names


def _spelt(field: str, columns: Columns) -> str:
    return " or ".join(sorted(name for name, meant in columns.items() if meant == field))


def _csv(path: Path, columns: Columns, required: Sequence[str], one_of: Sequence[str]) -> Iterator[Row]:
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, None)
            if header is None:
                raise DataError(f"{path}:1: is empty; expected a header with {', '.join((*required, *one_of))}")
            names = _fields(f"{path}:1", header, columns, required, one_of)
            for fields in reader:
                line = reader.line_num
                if not fields:  # a blank line
                    continue
                if len(fields) != len(names):
                    raise DataError(f"{path}:{line}: has {len(fields)} fields, expected {len(names)} as in the header")
                yield Row(
                    f"{path}:{line}",
                    {name: text.strip() for name, text in zip(names, fields, strict=True) if text.strip()},
                )
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; give a CSV or Parquet file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}:{line + 1}: is no CSV: {error}; quote the field") from error


def _parquet(path: Path, columns: Columns, required: Sequence[str], one_of: Sequence[str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            names = _fields(str(path), file.schema_arrow.names, columns, required, one_of)
            for batch in file.iter_batches():
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield Row(f"{path}: row {number}", dict(_filled(names, values)))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}; give a CSV or Parquet file") from error


def _filled(names: Sequence[str], values: Iterable[object]) -> Iterator[tuple[str, object]]:
    for name, raw in zip(names, values, strict=True):
        value = raw.strip() if isinstance(raw, str) else raw
        if value is not None and value != "":
            yield name, value
