"""From the live table and what is known of its pictures to the columns that are decided about, and back to names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date as Date
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.days import day_number
from pipeline.evict.groups import Grouping, Space, groups_of, in_order
from pipeline.evict.places import Places
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER, Stored
from pipeline.evict.value import uniqueness, value_of
from reporting.errors import DataError


class ByRow(NamedTuple):
    """What is known of each row of the live table, where it need not be looked for by name.

    Attributes:
        values: (n,) numpy or Arrow; null: not known.
    """

    values: Any


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of pictures beside the live table; what is said of pictures that are not stored is passed over.

    Each mapping may be an Arrow table of two columns instead, the picture (no two alike) and what is known; each
    collection an Arrow array; and either a `ByRow`: millions of them are then no Python objects.

    Attributes:
        taken_down: Pictures that must not be kept.
        indexed: Pictures that an index holds an object of; None: all.
        pinned: Pictures that must be kept, beside those that the policy pins.
        gone_since: Day since which none of its offers is alive; a picture that is not there has one.
        marked_on: Day on which it was first said to go (`Decisions.marked_on` of the day before).
        category: Category of a picture.
        other_category: Category of pictures that are not there.
        clicks: Counts, >= 0; None: not known of any; of a picture that is not there: 0.
        quality: Scores in [0, 1]; None: not known of any; of a picture that is not there: not known, its weight falls
            out.
        uniqueness: 1 - cosine to the nearest picture of another product; of a picture that is not there: not known,
            its weight falls out. None: computed of `spaces`, where there are any.
        spaces: Vectors, for look-alikes (`EvictPolicy.near_duplicate`) and uniqueness; rows are those of the live
            table.
    """

    taken_down: Collection[str] | ByRow = frozenset()
    indexed: Collection[str] | ByRow | None = None
    gone_since: Mapping[str, Date] | ByRow = field(default_factory=dict)
    marked_on: Mapping[str, Date] | ByRow = field(default_factory=dict)
    category: Mapping[str, str] | ByRow = field(default_factory=dict)
    other_category: str = "all"
    clicks: Mapping[str, float] | ByRow | None = None
    quality: Mapping[str, float] | ByRow | None = None
    uniqueness: Mapping[str, float] | ByRow | None = None
    spaces: Sequence[Space] = ()
    pinned: Collection[str] | ByRow = frozenset()


@dataclass(frozen=True, eq=False)
class Names:
    """The pictures and groups behind the numbers of a `Stored`.

    Attributes:
        pictures: sha256 of a picture by its id, rising: Arrow `string` or `large_string`, chunked or not, (n,).
        groups: Name of a group by its number, rising: Arrow `large_string` (g,).
        live_rows: Row of each in the live table, (n,) int64; None: the same.
    """

    pictures: Any
    groups: Any
    live_rows: NDArray[np.int64] | None = None

    def by_live_row(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what there is by id, (n,), by row of the live table."""
        if self.live_rows is None:
            return values
        found = np.empty_like(values)
        found[self.live_rows] = values
        return found

    def picture(self, number: int) -> str:
        """Return the sha256 of an id."""
        return str(self.pictures[int(number)].as_py())

    def group(self, number: int) -> str:
        """Return the name of a group."""
        return str(self.groups[int(number)].as_py())

    @cached_property
    def places(self) -> Places:
        """Finds ids by sha256."""
        return Places(self.pictures)

    def ids_of(self, pictures: Iterable[str]) -> NDArray[np.int64]:
        """Return the ids, rising, of those of these pictures that are stored."""
        return np.flatnonzero(self.places.mask_of(_names_of(pictures)))


def stored_of(live: Any, policy: EvictPolicy, day: Date, facts: Facts) -> tuple[Stored, Names]:
    """Return what is stored on a day, before its decisions, and the names of what it numbers.

    A picture's id is its place among all of them sorted by sha256, and that is also its row; so it means this picture
    on this day only, and what is carried from day to day (marks) is carried by sha256.

    Args:
        live: `LIVE_SCHEMA` (columns picture, group, last_seen, offers, and with `near_duplicate` first_day; of offers
            only their `group` is asked), in any order. Sorted by picture it is not copied.
        policy: Pins, value weights and `near_duplicate`.
        day: Which is decided; freshness counts from it.
        facts: What else is known.

    Raises:
        DataError: A picture twice in the live table, no last_seen, or a click or quality out of range.
    """
    import pyarrow as pa

    rows = _sorted_rows(live["picture"])
    if live["last_seen"].null_count:
        raise DataError(
            f"live table of {day}: {live['last_seen'].null_count} pictures have no last_seen; run dedup again"
        )
    groups = groups_of(live, cosine=policy.near_duplicate, spaces=facts.spaces)
    order = np.arange(live.num_rows) if rows.order is None else rows.order
    groups = groups if rows.order is None else in_order(groups, order)
    last_seen = rows.put(np.asarray(live["last_seen"].cast(pa.int32()), np.int32))
    categories, category = _categories(rows, facts)
    value = value_of(
        policy.value,
        day_number(day),
        last_seen,
        clicks=None if facts.clicks is None else rows.numbers(facts.clicks, 0),
        quality=None if facts.quality is None else rows.numbers(facts.quality, np.nan),
        uniqueness=_uniqueness_known(rows, facts, policy, order, groups),
    )
    names = Names(rows.names.pictures, groups.names, rows.order)
    stored = Stored(
        ids=np.arange(live.num_rows, dtype=np.int64),
        last_seen=last_seen,
        gone_since=rows.days(facts.gone_since),
        marked_on=rows.days(facts.marked_on),
        taken_down=rows.mask(facts.taken_down),
        pinned=rows.mask(facts.pinned) | rows.mask(policy.pins.pictures) | _of_pinned_groups(groups, order, policy),
        indexed=np.ones(live.num_rows, np.bool_) if facts.indexed is None else rows.mask(facts.indexed),
        value=value,
        category=category,
        member_rows=groups.member_rows,
        member_groups=groups.member_groups,
        categories=categories,
    )
    return stored, names


class _Rows(NamedTuple):
    """Puts what is known of pictures in the order of `Stored`.

    Attributes:
        names: Of the pictures; it has no groups.
        order: The rows of the live table as they come there, (n,) int64; None: as they are.
    """

    names: Names
    order: NDArray[np.int64] | None

    def put(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what there is by row of the live table."""
        return values if self.order is None else values[self.order]

    def mask(self, some: Collection[str] | ByRow) -> NDArray[np.bool_]:
        """Tell of each picture whether it is one of `some`."""
        if isinstance(some, ByRow):
            return self.put(np.asarray(some.values, np.bool_))
        if not len(some):
            return np.zeros(len(self.names.pictures), np.bool_)
        return self.names.places.mask_of(_names_of(some))

    def days(self, known: Mapping[str, Date] | ByRow) -> NDArray[np.int32]:
        """Return the days that are known, NEVER where none is."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return np.asarray(pc.fill_null(self.known(known, pa.date32()).cast(pa.int32()), int(NEVER)), np.int32)

    def numbers(self, known: Mapping[str, float] | ByRow, missing: float) -> NDArray[np.float64]:
        """Return the numbers that are known, `missing` where none is."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return np.asarray(pc.fill_null(self.known(known, pa.float64()), missing), np.float64)

    def known(self, known: Any, kind: Any) -> Any:
        """Return what is known of each picture as Arrow of a kind, null where nothing is."""
        import pyarrow as pa

        if isinstance(known, ByRow):
            given = known.values if isinstance(known.values, pa.Array | pa.ChunkedArray) else pa.array(known.values)
            values = given.cast(kind)
            return values if self.order is None else values.take(pa.array(self.order))
        if not len(known):
            return pa.nulls(len(self.names.pictures), kind)
        if isinstance(known, pa.Table):
            names, values = known.column(0), known.column(1).cast(kind).combine_chunks()
        else:
            names, values = pa.array(list(known), pa.large_string()), pa.array(list(known.values()), kind)
        return values.take(self._lines(names))

    def _lines(self, names: Any) -> Any:
        """Return which of these names each picture is, as Arrow; null: none."""
        import pyarrow as pa

        rows = self.names.places.rows_of(names)
        lines = np.flatnonzero(rows >= 0)[::-1]  # so that of a name that is there twice the first counts
        found = np.full(len(self.names.pictures), -1, np.int64)
        found[rows[lines]] = lines
        return pa.array(found, mask=found < 0)


def _sorted_rows(pictures: Any) -> _Rows:
    """Sort the pictures; those that are in order already stay what they are.

    Raises:
        DataError: One is there twice.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    groups = pa.nulls(0, pa.large_string())
    rises = pc.less(pictures.slice(0, max(len(pictures) - 1, 0)), pictures.slice(1))
    if pc.all(rises, min_count=0).as_py():
        return _Rows(Names(pictures, groups), None)
    order = np.asarray(pc.sort_indices(pictures), np.int64)
    pictures = pictures.cast(pa.large_string()).take(pa.array(order)).combine_chunks()
    twice = pc.equal(pictures.slice(1), pictures.slice(0, len(pictures) - 1))
    if pc.any(twice).as_py():
        first = pictures.slice(1).filter(twice)[0].as_py()
        raise DataError(f"live table: picture {first} is there twice; expected one row a picture: run dedup again")
    return _Rows(Names(pictures, groups), order)


def _of_pinned_groups(groups: Grouping, order: NDArray[np.int64], policy: EvictPolicy) -> NDArray[np.bool_]:
    """Tell of each picture whether it is pinned by a group."""
    pinned = np.zeros(len(order), np.bool_)
    if policy.pins.groups:
        pinned[groups.member_rows[np.isin(groups.member_groups, groups.numbers_of(policy.pins.groups))]] = True
    return pinned


def _uniqueness_known(
    rows: _Rows, facts: Facts, policy: EvictPolicy, order: NDArray[np.int64], groups: Grouping
) -> NDArray[Any] | None:
    """Return what is known of it in the order of `rows`: as the indexes say, else of the vectors at hand."""
    if facts.uniqueness is not None:
        return rows.numbers(facts.uniqueness, np.nan)
    return _uniqueness(facts.spaces, order, groups) if facts.spaces and policy.value.uniqueness else None


def _uniqueness(spaces: Sequence[Space], order: NDArray[np.int64], groups: Grouping) -> NDArray[np.float32]:
    """Return the uniqueness of every row, NaN where it has no vector; two spaces are not compared."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    found = np.full(len(order), np.nan, np.float32)
    for space in spaces:
        rows = place[space.rows]
        by_row = np.argsort(rows)
        inside = np.full(len(order), -1, np.int64)
        inside[rows[by_row]] = np.arange(len(rows))
        mine = inside[groups.member_rows] >= 0
        found[rows[by_row]] = uniqueness(
            space.vectors[by_row], inside[groups.member_rows[mine]], groups.member_groups[mine]
        )
    return found


def _categories(rows: _Rows, facts: Facts) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the names of all categories there are, sorted, and the number of each picture's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = pc.dictionary_encode(rows.known(facts.category, pa.string()))
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    names = [*encoded.dictionary.to_pylist(), facts.other_category]
    codes = np.asarray(pc.fill_null(encoded.indices, len(names) - 1), np.int64)
    found = tuple(sorted({names[code] for code in np.flatnonzero(np.bincount(codes)).tolist()}))
    number = {name: place for place, name in enumerate(found)}
    return found, np.array([number.get(name, -1) for name in names], np.int32)[codes]


def _names_of(some: Any) -> Any:
    """Return names as Arrow."""
    import pyarrow as pa

    return some if isinstance(some, pa.Array | pa.ChunkedArray) else pa.array(list(some), pa.large_string())
