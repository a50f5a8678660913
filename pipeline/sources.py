"""The source manifest: which pictures arrive, whose offers they show, and where they lie.

One row is one picture of one offer (merchant, sku). Everything a later task believes about the source is
checked here, once, with the line it stands on; a manifest that contradicts itself is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.source_rows import CellBatch, read_cells
from reporting.errors import DataError, nearest

STRATEGIES = ("directed", "long-tail", "replay", "discovery")
TRUE_WORDS = ("true", "1", "yes")
FALSE_WORDS = ("false", "0", "no")

SOURCE_SCHEMA = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("location", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("sku", pa.string(), nullable=False),
        pa.field("merchant", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("listed", pa.bool_(), nullable=False),
        pa.field("strategy", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
    ]
)

# Control characters break logs, ids (0x1f separates their parts) and C paths (NUL).
_CONTROL = r"[\x00-\x1f\x7f]"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One picture of one offer; the columns of `SOURCE_SCHEMA` by name.

    Attributes:
        item: 32 hex characters, see `item_id`.
        location: URL as written, or absolute path (relative ones are joined to the manifest's folder).
        kind: `url` or `path`.
        category: May be "": the categorise task decides.
        group: Product group of the catalogue of record; `merchant/sku` where the source names none.
        line: 1-based line in the manifest (row number in Parquet).
    """

    item: str
    location: str
    kind: Literal["url", "path"]
    sku: str
    merchant: str
    category: str
    title: str
    listed: bool
    strategy: str
    group: str
    line: int


class DuplicateRow(NamedTuple):
    """A row that repeats (merchant, sku, location) of an earlier line, and is kept out."""

    item: str
    line: int
    first_line: int


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A manifest that passed every check.

    Attributes:
        path: Where it was read from.
        rows: `SOURCE_SCHEMA`, in file order, one row an item.
        duplicates: The rows kept out, in file order. `rows` and `duplicates` together are the file.
        digest: SHA-256 of the file's bytes, in hex.
    """

    path: Path
    rows: pa.Table
    duplicates: tuple[DuplicateRow, ...]
    digest: str

    def iter_rows(self) -> Iterator[SourceRow]:
        """Yield the rows in file order, a batch at a time."""
        for batch in self.rows.to_batches():
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield SourceRow(*values)


def item_id(merchant: str, sku: str, location: str) -> str:
    """Return the id of one picture of one offer: XXH128 (seed 0) of the parts joined by 0x1f, in hex.

    Args:
        merchant: Merchant as written, trimmed.
        sku: Stock keeping unit as written, trimmed.
        location: URL or path as written (not resolved: ids are equal on every machine), trimmed.

    Example:
        >>> item_id("acme", "sku-1", "https://img.example/1.jpg")
        'ed71ab9488169217a4d9b748f30d648a'
    """
    return xxhash.xxh128_hexdigest(f"{merchant}\x1f{sku}\x1f{location}".encode())


def read_source(path: Path) -> SourceTable:
    """Read and check a source manifest (CSV, JSONL or Parquet by its ending).

    Cells are trimmed of white space. Of rows with equal (merchant, sku, location) the first is kept; the
    others are returned as duplicates, whatever their title, `listed` or strategy say. A file with columns and
    no rows is an empty day. Memory: the result as an Arrow table, plus one batch.

    Raises:
        DataError: The file's form or a value is wrong, or an offer (merchant, sku) stands in two categories
            or two groups; the message begins with `path:line` (`path` alone where no line is to blame).
        StoreError: The file system failed.
    """
    tables: list[pa.Table] = []
    folder = str(path.absolute().parent)
    digest = read_cells(path, lambda batch: tables.append(_checked(batch, path, folder)))
    table = pa.concat_tables(tables)
    _refuse_contradictions(table, path)
    rows, duplicates = _without_duplicates(table.drop_columns("written"), table["written"], path)
    return SourceTable(path=path, rows=rows, duplicates=duplicates, digest=digest)


def _checked(batch: CellBatch, path: Path, folder: str) -> pa.Table:
    """Return one batch in `SOURCE_SCHEMA` plus the column `written`, or raise for its first bad line."""
    cells = {name: pc.utf8_trim_whitespace(values) for name, values in batch.cells.items()}
    empty = pa.array([""] * len(batch.lines), pa.string())
    strategy = cells.get("strategy", empty)
    group = cells.get("group", empty)
    cells["strategy"] = pc.if_else(pc.equal(strategy, ""), STRATEGIES[0], strategy)
    cells["listed"] = pc.utf8_lower(cells["listed"])
    faults = list(_faults(cells, group, batch.location_column))
    if faults:
        row, message = min(faults)
        raise DataError(f"{path}:{batch.lines[row].as_py()}: {message}")
    written = cells[batch.location_column]
    keys = pc.binary_join_element_wise(cells["merchant"], cells["sku"], written, "\x1f")
    own_group = pc.binary_join_element_wise(cells["merchant"], cells["sku"], "/")
    columns = {
        "item": pa.array([xxhash.xxh128_hexdigest(key.encode()) for key in keys.to_pylist()], pa.string()),
        "location": _resolved(written, folder) if batch.location_column == "path" else written,
        "kind": pa.array([batch.location_column] * len(batch.lines), pa.string()),
        **{name: cells[name] for name in ("sku", "merchant", "category", "title")},
        "listed": pc.is_in(cells["listed"], value_set=pa.array(TRUE_WORDS)),
        "strategy": cells["strategy"],
        "group": pc.if_else(pc.equal(group, ""), own_group, group),
        "line": batch.lines,
    }
    schema = SOURCE_SCHEMA.append(pa.field("written", pa.string(), nullable=False))
    return pa.table({**columns, "written": written}, schema=schema)


def _resolved(written: pa.Array, folder: str) -> pa.Array:
    """Join relative paths to the manifest's folder; what may be opened is for the download policy to say."""
    joined = pc.binary_join_element_wise(folder.rstrip("/"), written, "/")
    return pc.if_else(pc.starts_with(written, "/"), written, joined)


def _faults(cells: dict[str, pa.Array], group: pa.Array, location: str) -> Iterator[tuple[int, str]]:
    """Yield (row, message) for the first row that breaks each rule."""
    for name in ("merchant", "sku", location):
        row = _first(pc.equal(cells[name], ""))
        if row is not None:
            yield row, f"{name} is empty; expected a value; fill it in or remove the row"
    for name, values in {**cells, "group": group}.items():
        row = None if name == "title" else _first(pc.match_substring_regex(values, _CONTROL))
        if row is not None:
            yield row, f"{name} is {_shown(values, row)}; expected no control characters; remove them"
    row = _first(pc.invert(pc.is_in(cells["listed"], value_set=pa.array(TRUE_WORDS + FALSE_WORDS))))
    if row is not None:
        yield (
            row,
            f"listed is {_shown(cells['listed'], row)}; expected true, false, 1, 0, yes or no; correct it",
        )
    row = _first(pc.invert(pc.is_in(cells["strategy"], value_set=pa.array(STRATEGIES))))
    if row is not None:
        found = cells["strategy"][row].as_py()
        yield row, f"unknown strategy {found!r:.60}; {nearest(found[:60], STRATEGIES)}"
    # merchant "a/b" with sku "c" would share the default group of merchant "a" with sku "b/c".
    row = _first(pc.and_(pc.match_substring(cells["merchant"], "/"), pc.equal(group, "")))
    if row is not None:
        shown = _shown(cells["merchant"], row)
        yield row, f"merchant is {shown} and group is empty; expected no '/' in it then; name the group"


def _first(mask: pa.Array) -> int | None:
    row: int = pc.index(mask, True).as_py()
    return None if row < 0 else row


def _shown(values: pa.Array, row: int) -> str:
    return f"{values[row].as_py()!r:.60}"


def _first_seen(values: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return, for each row, the position of the first row with an equal value: (n,) int64."""
    encoded = values.combine_chunks().dictionary_encode()
    codes: np.ndarray[tuple[int], np.dtype[np.int32]] = encoded.indices.to_numpy(zero_copy_only=False)
    positions = np.arange(len(codes), dtype=np.int64)
    first = np.zeros(len(codes), dtype=np.int64)
    first[codes[::-1]] = positions[::-1]  # of several assignments to one code the last, the earliest row, stays
    return first[codes]


def _refuse_contradictions(table: pa.Table, path: Path) -> None:
    """Raise for the first offer that stands in two categories, or in two groups."""
    first = _first_seen(pc.binary_join_element_wise(table["merchant"], table["sku"], "\x1f"))
    for name in ("category", "group"):
        values = table[name].combine_chunks()
        row = _first(pc.not_equal(values, values.take(pa.array(first))))
        if row is None:
            continue
        line, earlier_line = (table["line"][at].as_py() for at in (row, int(first[row])))
        offer = f"sku {_shown(table['sku'], row)} of merchant {_shown(table['merchant'], row)}"
        raise DataError(
            f"{path}:{line}: {offer} has {name} {_shown(values, row)}, but {_shown(values, int(first[row]))} "
            f"at line {earlier_line}; expected one {name} for an offer; correct one of the two lines"
        )


def _without_duplicates(
    table: pa.Table, written: pa.ChunkedArray, path: Path
) -> tuple[pa.Table, tuple[DuplicateRow, ...]]:
    """Split off the rows whose item was seen on an earlier line."""
    first = _first_seen(table["item"])
    is_repeated = first != np.arange(len(first))
    if not is_repeated.any():
        return table, ()
    repeated, earlier = pa.array(np.flatnonzero(is_repeated)), pa.array(first[is_repeated])
    items = table["item"].take(repeated).to_pylist()
    lines, first_lines = (table["line"].take(at).to_pylist() for at in (repeated, earlier))
    for name, values in (("merchant", table["merchant"]), ("sku", table["sku"]), ("location", written)):
        # XXH128 is not collision-proof against an adversary: an equal id must mean an equal row.
        row = _first(pc.not_equal(values.take(repeated), values.take(earlier)))
        if row is not None:
            raise DataError(
                f"{path}:{lines[row]}: the item id equals that of line {first_lines[row]} though {name} "
                "differs; expected one id for one row; change the location of one of them"
            )
    return table.filter(pa.array(~is_repeated)), tuple(map(DuplicateRow, items, lines, first_lines))
