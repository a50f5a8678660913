"""From the live table and what is known of its pictures to the columns that are decided about, and back to names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date as Date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.days import day_number
from pipeline.evict.groups import Grouping, Space, groups_of
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER, Stored
from pipeline.evict.value import uniqueness, value_of
from reporting.errors import DataError


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of pictures beside the live table; what is said of pictures that are not stored is passed over.

    Each mapping may be an Arrow table of two columns instead, the picture (no two alike) and what is known; each
    collection an Arrow array: millions of them are then no Python objects.

    Attributes:
        taken_down: Pictures that must not be kept.
        indexed: Pictures that an index holds an object of; None: all.
        gone_since: Day since which none of its offers is alive; a picture that is not there has one.
        marked_on: Day on which it was first said to go (`Decisions.marked_on` of the day before).
        category: Category of a picture.
        other_category: Category of pictures that are not there.
        clicks: Counts, >= 0; None: not known of any; of a picture that is not there: 0.
        quality: Scores in [0, 1]; None: not known of any; of a picture that is not there: not known, its weight falls
            out.
        spaces: Vectors, for look-alikes (`EvictPolicy.near_duplicate`) and uniqueness; rows are those of the live
            table.
    """

    taken_down: Collection[str] = frozenset()
    indexed: Collection[str] | None = None
    gone_since: Mapping[str, Date] = field(default_factory=dict)
    marked_on: Mapping[str, Date] = field(default_factory=dict)
    category: Mapping[str, str] = field(default_factory=dict)
    other_category: str = "all"
    clicks: Mapping[str, float] | None = None
    quality: Mapping[str, float] | None = None
    spaces: Sequence[Space] = ()


@dataclass(frozen=True, eq=False)
class Names:
    """The pictures and groups behind the numbers of a `Stored`.

    Attributes:
        pictures: sha256 of a picture by its id, rising: Arrow `large_string` (n,).
        groups: Name of a group by its number, rising: Arrow `large_string` (g,).
    """

    pictures: Any
    groups: Any

    def picture(self, number: int) -> str:
        """Return the sha256 of an id."""
        return str(self.pictures[int(number)].as_py())

    def group(self, number: int) -> str:
        """Return the name of a group."""
        return str(self.groups[int(number)].as_py())

    def ids_of(self, pictures: Iterable[str]) -> NDArray[np.int64]:
        """Return the ids, rising, of those of these pictures that are stored."""
        return np.unique(np.flatnonzero(_is_in(self.pictures, pictures)))


def stored_of(live: Any, policy: EvictPolicy, day: Date, facts: Facts) -> tuple[Stored, Names]:
    """Return what is stored on a day, before its decisions, and the names of what it numbers.

    A picture's id is its place among all of them sorted by sha256, and that is also its row; so it means this picture
    on this day only, and what is carried from day to day (marks) is carried by sha256.

    Args:
        live: `LIVE_SCHEMA` (columns picture, group, first_day, last_seen, offers), in any order.
        policy: Pins, value weights and `near_duplicate`.
        day: Which is decided; freshness counts from it.
        facts: What else is known.

    Raises:
        DataError: A picture twice in the live table, no last_seen, or a click or quality out of range.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    live = live.select(["picture", "group", "first_day", "last_seen", "offers"])
    order = np.asarray(pc.sort_indices(live["picture"]), np.int64)
    pictures = live["picture"].cast(pa.large_string()).take(pa.array(order)).combine_chunks()
    _refuse_twice(pictures)
    if live["last_seen"].null_count:
        raise DataError(
            f"live table of {day}: {live['last_seen'].null_count} pictures have no last_seen; run dedup again"
        )
    groups = _in_order(groups_of(live, cosine=policy.near_duplicate, spaces=facts.spaces), order)
    last_seen = np.asarray(live["last_seen"].cast(pa.int32()), np.int32)[order]
    categories, category = _categories(pictures, facts)
    value = value_of(
        policy.value,
        day_number(day),
        last_seen,
        clicks=None if facts.clicks is None else _numbers(pictures, facts.clicks, 0),
        quality=None if facts.quality is None else _numbers(pictures, facts.quality, np.nan),
        uniqueness=_uniqueness(facts.spaces, order, groups) if facts.spaces and policy.value.uniqueness else None,
    )
    stored = Stored(
        ids=np.arange(len(pictures), dtype=np.int64),
        last_seen=last_seen,
        gone_since=_days(pictures, facts.gone_since),
        marked_on=_days(pictures, facts.marked_on),
        taken_down=_is_in(pictures, facts.taken_down),
        pinned=_pinned(pictures, groups, policy),
        indexed=np.ones(len(pictures), np.bool_) if facts.indexed is None else _is_in(pictures, facts.indexed),
        value=value,
        category=category,
        member_rows=groups.member_rows,
        member_groups=groups.member_groups,
        categories=categories,
    )
    return stored, Names(pictures, groups.names)


def _pinned(pictures: Any, groups: Grouping, policy: EvictPolicy) -> NDArray[np.bool_]:
    """Tell of each picture whether it is pinned, itself or by a group."""
    pinned = _is_in(pictures, policy.pins.pictures)
    pinned[groups.member_rows[np.isin(groups.member_groups, groups.numbers_of(policy.pins.groups))]] = True
    return pinned


def _refuse_twice(pictures: Any) -> None:
    import pyarrow.compute as pc

    if len(pictures) < 2:
        return
    twice = pc.equal(pictures.slice(1), pictures.slice(0, len(pictures) - 1))
    if pc.any(twice).as_py():
        first = pictures.slice(1).filter(twice)[0].as_py()
        raise DataError(f"live table: picture {first} is there twice; expected one row a picture: run dedup again")


def _in_order(groups: Grouping, order: NDArray[np.int64]) -> Grouping:
    """Return the memberships of rows that are put into another order."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    rows = place[groups.member_rows]
    by_row = np.argsort(rows, kind="stable")
    return replace(groups, member_rows=rows[by_row], member_groups=groups.member_groups[by_row])


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


def _categories(pictures: Any, facts: Facts) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the names of all categories there are, sorted, and the number of each picture's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = _known(pictures, facts.category, pa.string())
    filled = pc.fill_null(known, facts.other_category)
    names = pc.unique(filled)
    names = names.take(pc.sort_indices(names))
    return tuple(names.to_pylist()), np.asarray(pc.index_in(filled, value_set=names), np.int32)


def _days(pictures: Any, known: Mapping[str, Date]) -> NDArray[np.int32]:
    import pyarrow as pa
    import pyarrow.compute as pc

    days = _known(pictures, known, pa.date32()).cast(pa.int32())
    return np.asarray(pc.fill_null(days, int(NEVER)), np.int32)


def _numbers(pictures: Any, known: Mapping[str, float], missing: float) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(_known(pictures, known, pa.float64()), missing), np.float64)


def _known(pictures: Any, known: Any, kind: Any) -> Any:
    """Return what is known of each picture, null where nothing is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(known, pa.Table):
        names, values = known.column(0).cast(pa.large_string()), known.column(1).cast(kind).combine_chunks()
    else:
        names, values = pa.array(list(known), pa.large_string()), pa.array(list(known.values()), kind)
    return values.take(pc.index_in(pictures, value_set=names))


def _is_in(pictures: Any, some: Any) -> NDArray[np.bool_]:
    """Tell of each picture whether it is one of `some`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    given = some if isinstance(some, pa.Array | pa.ChunkedArray) else pa.array(list(some), pa.large_string())
    return np.array(pc.is_in(pictures, value_set=given.cast(pa.large_string())), np.bool_)
