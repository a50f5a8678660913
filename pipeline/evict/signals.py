"""What shoppers and reviewers say of pictures: clicks and quality, by picture, by product or by offer.

From the rows of a file (`pipeline.signals_file`) to one figure a picture, as `Facts` takes them. Nobody has to send
any: what is not known has no weight (`pipeline.evict.value`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date as Date
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.evict.groups import group_name, groups_of
from reporting.errors import DataError, nearest

KEYS: Final = (("picture",), ("group",), ("merchant", "sku"))
"""What a row may be about; a file has one of the three."""
VALUES: Final = ("clicks", "quality")

_MOST: Final = {"clicks": np.inf, "quality": 1.0}
_EXPECTED: Final = {"clicks": "a number from 0", "quality": "a number from 0 to 1"}
_NUMBER: Final = r"^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,4})?$"
_SHA256: Final = "^[0-9a-f]{64}$"
_BETWEEN: Final = "\x1f"  # in no cell of a manifest (pipeline/sources.py)


class SignalsUsed(BaseModel):
    """The file whose figures a day was decided with.

    Attributes:
        date: The day in its name.
        path: Where it lay.
        sha256: Of its bytes.
        with_clicks: Stored pictures that it knows the clicks of.
        with_quality: Stored pictures that it knows the quality of.
    """

    model_config = ConfigDict(frozen=True)

    date: Date
    path: str
    sha256: str
    with_clicks: int
    with_quality: int

    @property
    def version(self) -> str:
        """How the books name it: its day and the beginning of its sha256."""
        return f"{self.date} {self.sha256[:12]}"


class Signals(NamedTuple):
    """What is known of pictures; each an Arrow table of two columns, the picture and the figure, or None.

    Attributes:
        clicks: Counts, float64 >= 0; a picture that is not there was not clicked. None: nobody counts.
        quality: Scores, float64 in [0, 1]; of a picture that is not there nothing is known. None: nobody judges.
    """

    clicks: Any
    quality: Any


def checked_signals(table: Any, where: str) -> Any:
    """Return the rows of a file with their types: keys as trimmed text, figures as float64, null where not known.

    Args:
        table: Arrow table; text is read as numbers where a number is expected. No rows: nothing is known.
        where: The file, for messages.

    Raises:
        DataError: A column is missing, unknown or there twice, a value is none, or two rows are about the same thing;
            with file, row (from 1, the header not counted), column and what was expected.
    """
    import pyarrow as pa

    key, values = _columns(table.column_names, where)
    columns = {name: _key(table[name], name, where) for name in key}
    columns |= {name: _figures(table[name], name, where) for name in values}
    found = pa.table(columns)
    _refuse_twice(found, key, where)
    return found


def signals_of(table: Any, live: Any) -> Signals:
    """Return what a file says of each picture of a library.

    A row about a picture counts for it; one about a product for each picture that shows it; one about an offer for the
    picture that carries it. Where several rows reach one picture their clicks are added, and of their qualities the
    mean is taken. Rows about what the library does not have are passed over.

    Args:
        table: From `checked_signals`.
        live: `LIVE_SCHEMA` (columns picture, group, first_day, offers), no picture twice.
    """
    key = next(key for key in KEYS if set(key) <= set(table.column_names))
    if key == ("picture",):
        return Signals(*(_of_pictures(table, name) for name in VALUES))
    rows, places = _of_groups(table, live) if key == ("group",) else _of_offers(table, live)
    return Signals(*(_summed(table, name, live["picture"], rows, places) for name in VALUES))


def _columns(names: Sequence[str], where: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the columns of the key and those with figures."""
    known = [*(name for key in KEYS for name in key), *VALUES]
    for name in names:
        if name not in known:
            raise DataError(f"{where}: unknown column {name!r}; {nearest(name, known)}")
        if names.count(name) > 1:
            raise DataError(f"{where}: column {name!r} is there twice; expected it once; remove one of them")
    given = [name for name in names if name not in VALUES]
    keys = [key for key in KEYS if set(key) == set(given)]
    if not keys:
        raise DataError(
            f"{where}: its rows are named by {', '.join(given) or 'nothing'}; expected one of: picture; group; merchant"
            " and sku"
        )
    values = [name for name in VALUES if name in names]
    if not values:
        raise DataError(f"{where}: it has neither clicks nor quality; expected at least one of the two columns")
    return keys[0], values


def _key(column: Any, name: str, where: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        cells = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"{where}: column {name!r} is {column.type}; expected text; cast it") from None
    _refuse(pc.fill_null(pc.equal(cells, ""), True), cells, where, name, "a name in each row")
    if name == "picture":
        wrong = pc.invert(pc.match_substring_regex(cells, _SHA256))
        _refuse(wrong, cells, where, name, "the sha256 of a picture, 64 digits of 0-9a-f")
    return cells


def _figures(column: Any, name: str, where: str) -> Any:
    """Return a column as float64; an empty cell is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    expected = f"{_EXPECTED[name]}, or an empty cell where it is not known"
    numbers = column
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        cells = pc.utf8_trim_whitespace(column)
        cells = pc.if_else(pc.equal(cells, ""), pa.scalar(None, cells.type), cells)
        _refuse(pc.invert(pc.match_substring_regex(cells, _NUMBER)), cells, where, name, expected)
        numbers = cells
    elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)):
        raise DataError(f"{where}: column {name!r} is {column.type}; expected numbers; cast it")
    numbers = numbers.cast(pa.float64(), safe=False)
    wrong = pc.or_(pc.invert(pc.is_finite(numbers)), pc.or_(pc.less(numbers, 0), pc.greater(numbers, _MOST[name])))
    _refuse(wrong, numbers, where, name, expected)
    return numbers


def _refuse(wrong: Any, cells: Any, where: str, name: str, expected: str) -> None:
    """Raise for the first row that is wrong; null is not wrong."""
    import pyarrow.compute as pc

    row = pc.index(wrong, True).as_py()
    if row >= 0:
        raise DataError(
            f"{where}, row {row + 1}: {name} is {cells[row].as_py()!r:.80}; expected {expected}; correct it"
        )


def _refuse_twice(table: Any, key: tuple[str, ...], where: str) -> None:
    names = _joined([table[name] for name in key]).combine_chunks().dictionary_encode()
    codes = np.asarray(names.indices, np.int64)
    first = np.full(len(names.dictionary), len(codes), np.int64)
    np.minimum.at(first, codes, np.arange(len(codes)))
    again = np.flatnonzero(first[codes] != np.arange(len(codes)))
    if len(again):
        row = int(again[0])
        said = ", ".join(f"{name} {table[name][row].as_py()!r:.80}" for name in key)
        raise DataError(
            f"{where}, row {row + 1}: {said} is also in row {first[codes[row]] + 1}; expected one row about it; add"
            " them up"
        )


def _of_pictures(table: Any, name: str) -> Any:
    if name not in table.column_names:
        return None
    found = table.select(["picture", name])
    return found.filter(found[name].is_valid())


def _of_groups(table: Any, live: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for each product of a picture that the file knows, the row of the library and that of the file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    groups = groups_of(live)
    names = pa.array([group_name(name) for name in table["group"].to_pylist()], pa.large_string())
    places = np.asarray(pc.fill_null(pc.index_in(groups.names, value_set=names), -1), np.int64)[groups.member_groups]
    return groups.member_rows[places >= 0], places[places >= 0]


def _of_offers(table: Any, live: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for each offer of a picture that the file knows, the row of the library and that of the file."""
    known = _joined([table["merchant"], table["sku"]])
    found = list(_offers_known(known, live))
    none = np.empty(0, np.int64)
    return np.concatenate([none, *(rows for rows, _ in found)]), np.concatenate([none, *(at for _, at in found)])


def _offers_known(known: Any, live: Any) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    import pyarrow.compute as pc

    start = 0
    # Chunk by chunk: the strings of millions of offers do not fit into one array of 32-bit offsets.
    for chunk in live["offers"].chunks:
        offers = pc.list_flatten(chunk)
        keys = _joined([pc.struct_field(offers, name) for name in ("merchant", "sku")])
        places = np.asarray(pc.fill_null(pc.index_in(keys, value_set=known), -1), np.int64)
        rows = np.asarray(pc.list_parent_indices(chunk), np.int64) + start
        yield rows[places >= 0], places[places >= 0]
        start += len(chunk)


def _summed(table: Any, name: str, pictures: Any, rows: NDArray[np.int64], places: NDArray[np.int64]) -> Any:
    """Return what all rows about each picture come to: the sum of clicks, the mean of qualities."""
    import pyarrow as pa

    if name not in table.column_names:
        return None
    figures = np.asarray(table[name].to_numpy(), np.float64)[places]
    there = ~np.isnan(figures)  # null in the file
    rows, figures = rows[there], figures[there]
    count = np.bincount(rows, minlength=len(pictures))
    total = np.bincount(rows, weights=figures, minlength=len(pictures))
    reached = np.flatnonzero(count)
    found = total[reached] if name == "clicks" else np.minimum(total[reached] / count[reached], 1)
    return pa.table({"picture": pictures.cast(pa.large_string()).take(pa.array(reached)), name: pa.array(found)})


def _joined(columns: Sequence[Any]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [column.cast(pa.large_string()) for column in columns]
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, pa.scalar(_BETWEEN, pa.large_string()))
