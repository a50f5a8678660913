"""What verification sees: the catalogue of record before a day's decisions, beside what an index holds after them.

Nothing here comes from the evictor's decisions. The catalogue is an Arrow table, one row for each picture and group:

| column | type | meaning |
|---|---|---|
| picture, group, category | string | a picture of several groups has several rows, which say the same of it |
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
    """Return the Arrow schema of the catalogue."""
    import pyarrow as pa

    names = [(name, pa.large_string()) for name in ("picture", "group", "category")]
    days = [(name, pa.date32()) for name in ("last_seen", "gone_since", "marked_on")]
    return pa.schema([*names, *days, *((name, pa.bool_()) for name in ("taken_down", "pinned", "indexed"))])


def catalogue_of(stored: Stored, names: Names) -> Any:
    """Return the catalogue of what is stored before a day's decisions, one row for each membership."""
    import pyarrow as pa

    rows = stored.member_rows
    categories = pa.array(list(stored.categories), pa.large_string())
    columns = [
        names.pictures.take(pa.array(stored.ids[rows])),
        names.groups.take(pa.array(stored.member_groups)),
        categories.take(pa.array(stored.category[rows])),
        pa.array(stored.last_seen[rows]).cast(pa.date32()),
        *(
            pa.array(days, mask=days == NEVER).cast(pa.date32())
            for days in (stored.gone_since[rows], stored.marked_on[rows])
        ),
        pa.array(stored.taken_down[rows]),
        pa.array(stored.pinned[rows]),
        pa.array(stored.indexed[rows]),
    ]
    return pa.table(columns, schema=catalogue_schema())


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
    import pyarrow.compute as pc

    catalogue = _checked(catalogue)
    held = held_table(held)
    pictures = pc.unique(catalogue["picture"])
    rows = np.asarray(pc.index_in(catalogue["picture"], value_set=pictures), np.int64)
    first = np.unique(rows, return_index=True)[1]
    facts = {name: _numbers(catalogue[name]) for name in catalogue.column_names if name not in _NAMES}
    groups, categories = pc.unique(catalogue["group"]), pc.unique(catalogue["category"])
    facts["category"] = np.asarray(pc.index_in(catalogue["category"], value_set=categories), np.int64)
    _refuse_contradictions(facts, rows, first, pictures)
    facts = {name: values[first] for name, values in facts.items()}
    now = day_number(day)
    known = pc.is_in(held["picture"], value_set=pictures)
    found = held.filter(pc.invert(known)).to_pylist()
    return Record(
        pictures=pictures,
        groups=groups,
        categories=categories.to_pylist(),
        member_rows=rows,
        member_groups=np.asarray(pc.index_in(catalogue["group"], value_set=groups), np.int64),
        window=facts["last_seen"] > now - policy.window_days,
        gone=facts["gone_since"] <= now,
        held=np.array(pc.is_in(pictures, value_set=pc.unique(held["picture"]).cast(pa.large_string())), np.bool_),
        strangers=sorted({HeldRow(**row) for row in found}),
        held_rows=held,
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
    schema = catalogue_schema()
    missing = [name for name in schema.names if name not in catalogue.column_names]
    if missing:
        raise DataError(f"catalogue: no column {missing[0]!r}; expected {', '.join(schema.names)}")
    found = catalogue.select(schema.names).cast(schema)
    for name in schema.names:
        if name not in _NULLABLE and found[name].null_count:
            raise DataError(f"catalogue: {found[name].null_count} rows have no {name}; expected it of every picture")
    return found


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
    import pyarrow.compute as pc

    return np.array(pc.is_in(record.pictures, value_set=pa.array(list(some), pa.large_string())), np.bool_)
