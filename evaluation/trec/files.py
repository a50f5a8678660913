"""TREC qrels and run files, read strictly.

trec_eval is more lenient: it takes the first number in a field ("1.5x" is 1.5, "abc" is 0), keeps the last run id of
mixed ones, and says nothing of a score that is not a number. All of these are errors here, because each has hidden a
broken run. As in trec_eval 10, columns after the run id are ignored, lines that begin with `#` are comments, and the
columns `iteration`, `Q0` and `rank` are not looked at; empty lines are skipped (trec_eval: in runs only).
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reporting.errors import DataError

Ints = NDArray[np.int64]

MAX_BYTES = 4 << 30
"""Most that a file may hold once unpacked: a small gzip must not fill the memory."""
MAX_GRADE = 1_000_000
_QRELS = "query iteration document grade"
_RUN = "query Q0 document rank score run_id"


@dataclass(frozen=True, slots=True)
class TrecTable:
    """A file of judgements or of results.

    Attributes:
        source: Its path, for messages.
        queries: Distinct query ids, rising by bytes (which is rising by UTF-8 text).
        documents: Distinct document ids, rising by bytes.
        query: (n,) int64, for each line the place of its query in `queries`.
        document: (n,) int64, the place of its document in `documents`; each pair occurs once.
        value: (n,) float64: the grade (a whole number; below 0: in the pool, not judged) or the score.
        run_id: Of a run, "" for judgements.
    """

    source: str
    queries: tuple[bytes, ...]
    documents: tuple[bytes, ...]
    query: Ints
    document: Ints
    value: NDArray[np.float64]
    run_id: str = ""


def read_qrels(path: Path) -> TrecTable:
    """Read judgements: `query iteration document grade`, gzipped or not.

    Raises:
        DataError: with file:line: no such file, damaged gzip, not UTF-8, other than four columns, a grade that is no
            whole number, a document judged twice for a query, no line at all.
    """
    numbers, columns = _columns(path, _QRELS)
    grades = _numbers(path, numbers, columns[3], int, f"a whole number up to {MAX_GRADE} as grade")
    _refuse(path, numbers, columns[3], np.abs(grades) > MAX_GRADE, f"a whole number up to {MAX_GRADE} as grade")
    return _table(path, numbers, columns, grades)


def read_run(path: Path) -> TrecTable:
    """Read results: `query Q0 document rank score run_id`, gzipped or not, in any order of lines.

    Raises:
        DataError: with file:line: no such file, damaged gzip, not UTF-8, fewer than six columns, a score that is no
            finite number of single precision (NaN, inf), a document twice for a query, two run ids, no line at all.
    """
    numbers, columns = _columns(path, _RUN)
    scores = _numbers(path, numbers, columns[4], float, "a finite number as score")
    with np.errstate(over="ignore"):
        infinite = ~np.isfinite(scores.astype(np.float32))
    _refuse(path, numbers, columns[4], infinite, "a finite number (of single precision) as score")
    ids = columns[5]
    if len(set(ids)) > 1:
        place = next(place for place, one in enumerate(ids) if one != ids[0])
        raise DataError(
            f"{path}:{numbers[place]}: run id {_text(ids[place])!r} after {_text(ids[0])!r}; "
            "a file holds one run: split it by its last column"
        )
    return _table(path, numbers, columns, scores, run_id=_text(ids[0]))


def _columns(path: Path, form: str) -> tuple[list[int], list[Sequence[bytes]]]:
    """Return the numbers of the lines that hold something, and their columns."""
    lines = _content(path).split(b"\n")
    rows = [
        (number, fields)
        for number, line in enumerate(lines, 1)
        if (fields := line.split()) and not fields[0].startswith(b"#")
    ]
    if not rows:
        raise DataError(f"{path}: holds no line; expected lines of `{form}`")
    expected = len(form.split())
    for number, fields in rows:
        if len(fields) < expected or (len(fields) > expected and form == _QRELS):
            raise DataError(f"{path}:{number}: {len(fields)} columns; expected the {expected} of `{form}`")
    columns: list[Sequence[bytes]] = list(zip(*(fields for _, fields in rows), strict=False))
    return [number for number, _ in rows], columns[:expected]


def _content(path: Path) -> bytes:
    """Return a file's bytes, unpacked where it is gzipped (told by its first bytes, not by its name)."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip is damaged ({error}); copy or make the file again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); give a TREC file") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: more than {MAX_BYTES >> 30} GiB once unpacked; split it by queries")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 ({error.reason}); convert the file") from error
    return data


def _numbers(
    path: Path, lines: Sequence[int], column: Sequence[bytes], number: Callable[[bytes], float], wanted: str
) -> NDArray[np.float64]:
    """Return a column as numbers; Python's own `1_000` is none."""

    def convert(field: bytes) -> float:
        if b"_" in field:
            raise ValueError(field)
        return number(field)

    try:
        return np.fromiter(map(convert, column), np.float64, len(column))
    except (ValueError, OverflowError):
        pass
    for line, field in zip(lines, column, strict=True):
        try:
            float(convert(field))
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}:{line}: found {_text(field)!r}; expected {wanted}") from error
    raise AssertionError(column)  # the whole column failed, so one of its fields has


def _refuse(path: Path, lines: Sequence[int], column: Sequence[bytes], wrong: NDArray[np.bool_], wanted: str) -> None:
    if wrong.any():
        place = int(wrong.argmax())
        raise DataError(f"{path}:{lines[place]}: found {_text(column[place])!r}; expected {wanted}")


def _table(
    path: Path,
    lines: Sequence[int],
    columns: Sequence[Sequence[bytes]],
    value: NDArray[np.float64],
    run_id: str = "",
) -> TrecTable:
    queries, query = _coded(columns[0])
    documents, document = _coded(columns[2])
    pairs = query * len(documents) + document
    order = np.argsort(pairs, kind="stable")
    again = np.flatnonzero(pairs[order][1:] == pairs[order][:-1])
    if len(again):
        second = order[again + 1].min()  # the first line of the file that repeats an earlier one
        first = int(np.flatnonzero(pairs == pairs[second])[0])
        raise DataError(
            f"{path}:{lines[second]}: document {_text(columns[2][second])!r} again for query "
            f"{_text(columns[0][second])!r}, first in line {lines[first]}; a document may stand once for a query"
        )
    return TrecTable(str(path), queries, documents, query, document, value, run_id)


def _coded(names: Sequence[bytes]) -> tuple[tuple[bytes, ...], Ints]:
    """Return the distinct names, rising by bytes, and the place of each name among them."""
    distinct = tuple(sorted(set(names)))
    place = {name: number for number, name in enumerate(distinct)}
    return distinct, np.fromiter(map(place.__getitem__, names), np.int64, len(names))


def _text(field: bytes) -> str:
    return field.decode()
