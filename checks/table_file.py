"""Read a table of leaves from a CSV or Parquet file: of any pipeline, nothing of ours is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from checks.kinds.base import Table
from checks.localise_models import ROUNDING
from reporting.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

_PARQUET = b"PAR1"
_EQUAL_LARGE, _EQUAL_ANY = 0.2, 0.5
_LARGE = 10
"""Forecasts in whole numbers hit a small one by chance."""


def read_table(
    path: Path, actual: str, expected: str, dimensions: Sequence[str] = (), *, exact: bool | None = None
) -> Table:
    """Return the leaves of a file, a row each.

    Args:
        path: CSV with a header (comma; tab in `.tsv`; may be `.gz`), or Parquet.
        actual: Column of numbers: what each leaf has.
        expected: Column of numbers: what it should have.
        dimensions: Columns that name a leaf; () for all others. Values are compared as text, an empty one is one too.
        exact: Whether the expectation is exact; None: judged by the numbers, see `looks_exact`.

    Raises:
        UsageError: there is no such file or column, or a column is named twice.
        DataError: the file cannot be read, has no rows, or a number is none; the first such row is named.
    """
    if len({actual, expected, *dimensions}) < 2 + len(dimensions):
        raise UsageError(
            f"{actual}, {expected}, {', '.join(dimensions) or '-'}: a column is named twice; name each once"
        )
    columns = _columns(path)
    missing = [name for name in (actual, expected, *dimensions) if name not in columns]
    if missing:
        raise UsageError(f"{path}: no column {missing[0]!r}; {nearest(missing[0], columns)}")
    chosen = tuple(dimensions) or tuple(name for name in columns if name not in (actual, expected))
    if not chosen:
        raise UsageError(f"{path}: no column but {actual} and {expected}; nothing says which leaf a row is")
    table = _read(path, [*chosen, actual, expected])
    if table.num_rows == 0:
        raise DataError(f"{path}: has no rows below its header; give one row a leaf")
    numbers = [_numbers(path, table.column(name), name) for name in (actual, expected)]
    values = tuple(zip(*(_texts(path, table.column(name), name) for name in chosen), strict=True))
    exact = looks_exact(*numbers) if exact is None else exact
    return Table(chosen, values, numbers[0], numbers[1], exact)


def looks_exact(actual: NDArray[np.float64], expected: NDArray[np.float64]) -> bool:
    """Tell whether expectations are exact: a fifth of the leaves of 10 and more have just what they should.

    Where no leaf is as large, half of those that have anything must; a forecast hits small numbers by chance.
    """
    size = np.maximum(np.abs(actual), np.abs(expected))
    equal = np.abs(actual - expected) <= ROUNDING * size
    large = size >= _LARGE
    if large.any():
        return bool(equal[large].mean() >= _EQUAL_LARGE)
    alive = size > 0
    return not alive.any() or bool(equal[alive].mean() >= _EQUAL_ANY)


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_PARQUET)) == _PARQUET
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; give a CSV or Parquet file") from error


def _columns(path: Path) -> list[str]:
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if _is_parquet(path):
            return list(parquet.read_schema(path).names)
        with csv.open_csv(path, parse_options=_parsing(path)) as reader:
            names = list(reader.schema.names)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two columns are called {twice!r}; rename one")
    return names


def _read(path: Path, columns: list[str]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if _is_parquet(path):
            return parquet.read_table(path, columns=columns)
        types = dict.fromkeys(columns, pa.string())  # 0017 stays 0017, and a bad number is named as it was written
        options = csv.ConvertOptions(column_types=types, include_columns=columns, strings_can_be_null=False)
        return csv.read_csv(path, parse_options=_parsing(path), convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _parsing(path: Path) -> Any:
    from pyarrow import csv

    return csv.ParseOptions(delimiter="\t" if ".tsv" in path.suffixes else ",")


def _unreadable(path: Path, error: Exception) -> DataError:
    said = " ".join(str(error).split())
    return DataError(f"{path}: is no CSV (UTF-8, with a header) and no Parquet file that can be read: {said}")


def _numbers(path: Path, column: pa.ChunkedArray, name: str) -> NDArray[np.float64]:
    import pyarrow as pa

    try:
        found = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    except pa.ArrowException:
        found = np.array([_number(value) for value in column.to_pylist()])
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        written = column[int(bad[0])].as_py()
        shown = "nothing" if written in (None, "") else repr(written)
        raise DataError(
            f"{path}: row {bad[0] + 1}: {name} is {shown}, expected a finite number "
            f"({len(bad)} of {len(found)} rows are so); mend them or leave them out"
        )
    return found


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _texts(path: Path, column: pa.ChunkedArray, name: str) -> list[str]:
    import pyarrow as pa

    try:
        found = column.cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise DataError(f"{path}: column {name} is of {column.type}, which names no leaf; leave it out") from error
    return ["" if value is None else value for value in found]
