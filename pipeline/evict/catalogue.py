"""What verification sees: the catalogue of record before a day's decisions, beside what an index holds after them.

Nothing here comes from the evictor's decisions. The catalogue is an Arrow table, one row for each picture and group:

| column | type | meaning |
|---|---|---|
| picture, group, category | string | or a dictionary; a picture of several groups has several rows that say the same |
| last_seen | date32 | day on which an offer of it was last seen |
| gone_since | date32 | day since which none of its offers is alive; null while one is |
| marked_on | date32 | day on which it was first said to go, as the days before left it; null where it was not |
| taken_down, pinned, indexed | bool | must not stay; must stay; an index held an object of it before |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date as Date
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.days import day_number
from pipeline.evict.places import Places
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER, Stored
from pipeline.evict.stored_of import Names
from reporting.errors import DataError


class HeldRow(NamedTuple):
    """One row of an index: an object of a picture."""

    picture: str
    category: str
    """Whose index holds it."""
    day: Date
    """First or last day of the picture, for messages."""


def catalogue_schema() -> Any:
    """Return the Arrow schema of the catalogue, its names as text."""
    import pyarrow as pa

    names = [(name, pa.large_string()) for name in ("picture", "group", "category")]
    days = [(name, pa.date32()) for name in ("last_seen", "gone_since", "marked_on")]
    return pa.schema([*names, *days, *((name, pa.bool_()) for name in ("taken_down", "pinned", "indexed"))])


def catalogue_of(stored: Stored, names: Names) -> Any:
    """Return the catalogue of what is stored before a day's decisions, one row for each membership.

    Names are dictionaries: those of 20 million pictures would be as much text as the library itself.
    """
    import pyarrow as pa

    rows = stored.member_rows
    pictures = _one_array(names.pictures)
    categories = pa.array(list(stored.categories), pa.large_string())
    columns = [
        pa.DictionaryArray.from_arrays(pa.array(stored.ids[rows]), pictures),
        pa.DictionaryArray.from_arrays(pa.array(stored.member_groups), names.groups),
        pa.DictionaryArray.from_arrays(pa.array(stored.category[rows]), categories),
        pa.array(stored.last_seen[rows]).cast(pa.date32()),
        *(
            pa.array(days, mask=days == NEVER).cast(pa.date32())
            for days in (stored.gone_since[rows], stored.marked_on[rows])
        ),
        pa.array(stored.taken_down[rows]),
        pa.array(stored.pinned[rows]),
        pa.array(stored.indexed[rows]),
    ]
    return pa.table(columns, names=catalogue_schema().names)


@dataclass(frozen=True, eq=False)
class Record:
    """The catalogue in columns, n pictures, beside what is held; what each guarantee is computed from.

    Attributes:
        pictures, groups, categories: Names by number, the first two as Arrow `large_string`.
        member_rows, member_groups: Memberships, (p,) int64.
        category: Number of each picture's, (n,) int64.
        last_seen, gone_since, marked_on: Days, (n,) int32; NEVER where there is none.
        taken_down, pinned, indexed: (n,) bool.
        window: Last seen within the window, (n,) bool.
        gone: None of its offers is alive, (n,) bool.
        held: An index holds an object of it, (n,) bool.
        strangers: What is held without being in the catalogue.
        held_rows: Rows of the indices, Arrow with the columns of `HeldRow`; asked one by one, for messages.
        places: Finds pictures by their names.
    """

    pictures: Any
    groups: Any
    categories: list[str]
    member_rows: NDArray[np.int64]
    member_groups: NDArray[np.int64]
    category: NDArray[np.int64]
    last_seen: NDArray[np.int32]
    gone_since: NDArray[np.int32]
    marked_on: NDArray[np.int32]
    taken_down: NDArray[np.bool_]
    pinned: NDArray[np.bool_]
    indexed: NDArray[np.bool_]
    window: NDArray[np.bool_]
    gone: NDArray[np.bool_]
    held: NDArray[np.bool_]
    strangers: list[HeldRow]
    held_rows: Any
    places: Places

    @property
    def represents(self) -> NDArray[np.bool_]:
        """Whether a picture can stand for its groups: alive, indexed, not taken down; (n,) bool."""
        return ~self.gone & ~self.taken_down & self.indexed

    def count(self, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return how many of these pictures each group has, (g,) int64."""
        return np.bincount(self.member_groups[rows[self.member_rows]], minlength=len(self.groups))

    def of_groups(self, numbers: NDArray[Any], *, least: bool) -> NDArray[Any]:
        """Return for each picture the least, else the greatest, of its groups' numbers, (n,) int64."""
        limits = np.iinfo(np.int64)
        found = np.full(len(self.pictures), limits.max if least else limits.min, np.int64)
        (np.minimum if least else np.maximum).at(found, self.member_rows, numbers[self.member_groups])
        return found

    def picture(self, row: int) -> str:
        """Return the sha256 of a picture."""
        return str(self.pictures[int(row)].as_py())

    def group(self, number: int) -> str:
        """Return the name of a group."""
        return str(self.groups[int(number)].as_py())

    def groups_of(self, row: int) -> str:
        """Return the names of a picture's groups, as messages list them."""
        return ", ".join(sorted(self.group(number) for number in self.member_groups[self.member_rows == row]))

    def category_of(self, row: int) -> str:
        """Return the category of a picture."""
        return self.categories[int(self.category[row])]

    def place_of(self, row: int) -> str:
        """Return where an index holds a picture, else where the catalogue has it."""
        import pyarrow.compute as pc

        held = self.held_rows.filter(pc.equal(self.held_rows["picture"], self.picture(row))).slice(0, 1).to_pylist()
        return place_of(HeldRow(**held[0])) if held else f"catalogue, {self.category_of(row)}"


def place_of(row: HeldRow) -> str:
    """Return where an index holds a row, for messages."""
    return f"index of {row.category}, {row.day}"


def record_of(held: Any, catalogue: Any, policy: EvictPolicy, day: Date) -> Record:
    """Put the catalogue beside what is held.

    Args:
        held: Rows of the indices after the decisions: an Arrow table with the columns of `HeldRow` (of item tables
            `first_day` or `last_seen` as `day`), or `HeldRow`s. A picture of several objects has several.
        catalogue: `catalogue_schema`, before the decisions.
        policy: For the window.
        day: Of the decisions.

    Raises:
        DataError: A column is missing, a null where none may be, or two rows of a picture contradict each other.
    """
    import pyarrow as pa

    catalogue = _checked(catalogue)
    held = held_table(held)
    rows, pictures = _numbered(catalogue["picture"])
    first = np.full(len(pictures), len(rows))
    np.minimum.at(first, rows, np.arange(len(rows)))
    facts = {name: _numbers(catalogue[name]) for name in catalogue.column_names if name not in _NAMES}
    member_groups, groups = _numbered(catalogue["group"])
    facts["category"], categories = _numbered(catalogue["category"])
    _refuse_contradictions(facts, rows, first, pictures)
    facts = {name: values[first] for name, values in facts.items()}
    now = day_number(day)
    places = Places(pictures)
    found = places.rows_of(held["picture"])
    is_held = np.zeros(len(pictures), np.bool_)
    is_held[found[found >= 0]] = True
    strangers = held.take(pa.array(np.flatnonzero(found < 0))).to_pylist()
    return Record(
        pictures=pictures,
        groups=groups,
        categories=categories.to_pylist(),
        member_rows=rows,
        member_groups=member_groups,
        window=facts["last_seen"] > now - policy.window_days,
        gone=facts["gone_since"] <= now,
        held=is_held,
        strangers=sorted({HeldRow(**row) for row in strangers}),
        held_rows=held,
        places=places,
        **facts,
    )


_NAMES = ("picture", "group", "category")
_NULLABLE = ("gone_since", "marked_on")


def held_table(held: Any) -> Any:
    """Return index rows as an Arrow table with the columns of `HeldRow`.

    Raises:
        DataError: A table without them.
    """
    import pyarrow as pa

    schema = pa.schema([("picture", pa.large_string()), ("category", pa.large_string()), ("day", pa.date32())])
    if not isinstance(held, pa.Table):
        return pa.Table.from_pylist([HeldRow(*row)._asdict() for row in held], schema=schema)
    missing = [name for name in schema.names if name not in held.column_names]
    if missing:
        raise DataError(f"held rows: no column {missing[0]!r}; expected {', '.join(schema.names)}")
    return held.select(schema.names).cast(schema)


def _checked(catalogue: Any) -> Any:
    import pyarrow as pa

    schema = catalogue_schema()
    missing = [name for name in schema.names if name not in catalogue.column_names]
    if missing:
        raise DataError(f"catalogue: no column {missing[0]!r}; expected {', '.join(schema.names)}")
    found = catalogue.select(schema.names)
    for number, field in enumerate(schema):
        if not pa.types.is_dictionary(found.schema.field(field.name).type):
            found = found.set_column(number, field, found[field.name].cast(field.type))
    for name in schema.names:
        if name not in _NULLABLE and found[name].null_count:
            raise DataError(f"catalogue: {found[name].null_count} rows have no {name}; expected it of every picture")
    return found


def _one_array(names: Any) -> Any:
    """Return names as one Arrow array; where they are one, it is not copied."""
    import pyarrow as pa

    if not isinstance(names, pa.ChunkedArray):
        return names
    return names.chunk(0) if names.num_chunks == 1 else names.cast(pa.large_string()).combine_chunks()


def _numbered(column: Any) -> tuple[NDArray[np.int64], Any]:
    """Return the number of the name in each row, (n,) int64, and the names by number, each at least once in it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
    encoded = encoded.chunk(0) if encoded.num_chunks == 1 else encoded.combine_chunks()
    numbers, names = np.asarray(encoded.indices, np.int64), encoded.dictionary
    there = np.zeros(len(names), np.bool_)
    there[numbers] = True
    if there.all():
        return numbers, names
    return (np.cumsum(there) - 1)[numbers], names.filter(pa.array(there))


def _numbers(column: Any) -> NDArray[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type):
        return np.asarray(column, np.bool_)
    return np.asarray(pc.fill_null(column.cast(pa.int32()), int(NEVER)), np.int32)


def _refuse_contradictions(
    facts: dict[str, NDArray[Any]], rows: NDArray[np.int64], first: NDArray[np.int64], pictures: Any
) -> None:
    for name, values in facts.items():
        differs = values != values[first][rows]
        if differs.any():
            picture = pictures[int(rows[differs][0])].as_py()
            raise DataError(f"catalogue: the rows of picture {picture} say different things of its {name}")


def pictures_among(record: Record, some: Iterable[str]) -> NDArray[np.bool_]:
    """Tell of each picture of the record whether it is one of `some`, (n,) bool."""
    import pyarrow as pa

    return record.places.mask_of(pa.array(list(some), pa.large_string()))
