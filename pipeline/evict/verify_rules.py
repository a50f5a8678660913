"""G1 to G5, each from the record alone: what is held, and what the catalogue says of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.catalogue import Record, pictures_among, place_of
from pipeline.evict.decisions import Reason
from pipeline.evict.policy import EvictPolicy

TAKEN_DOWN = (
    "is taken down and still in the index; no answer shows it, and the next day's index will not hold it: to have it"
    " out at once, `funnelgate evict apply --reason TEXT --yes`"
)


class HeldObject(NamedTuple):
    """An object in an index."""

    id: int
    picture: str
    category: str


class Broken(NamedTuple):
    """One way in which a guarantee is broken."""

    guarantee: Literal["G1", "G2", "G3", "G4", "G5", "G6"]
    places: NDArray[np.int64]
    """Rows, groups or categories of the record, whichever `tell` takes."""
    tell: Callable[[int], tuple[str, str, str]]
    """From a place to what, where and the message."""


class Balance(NamedTuple):
    """What a day's losses and what is left are judged by.

    Attributes:
        had: Pictures of each group that represented it before, (g,) int64.
        has: Of these held, (g,) int64.
        excused: Of these lost to a tail that is full, (g,) int64.
        old: Rows held for their rank alone, (n,) bool: representatives out of the window, neither pinned nor marked
            today.
        tail: Rows in the tail of each category, (c,) int64.
        full: Whether the budget of a category is used up, (c,) bool.
    """

    had: NDArray[np.int64]
    has: NDArray[np.int64]
    excused: NDArray[np.int64]
    old: NDArray[np.bool_]
    tail: NDArray[np.int64]
    full: NDArray[np.bool_]


def broken_rules(
    record: Record,
    policy: EvictPolicy,
    day: int,
    marked: NDArray[np.bool_],
    taken_down: Collection[str],
    goes_again: Collection[str],
) -> list[Broken]:
    """Return every way in which G1 to G5 are broken; those without places are not.

    Args:
        record: Catalogue and what is held.
        policy: By which it was decided.
        day: Number of the day.
        marked: Rows that were marked today, `marked_today`.
        taken_down: Pictures of every takedown.
        goes_again: Pictures that would go on a second pass.
    """
    balance = _balance(record, policy, marked)
    return [
        _coverage(record, policy, balance),
        _freshness(record),
        *_growth(record, policy, balance),
        *_leftovers(record, policy, day),
        *_cause(record, policy, day, balance, goes_again),
        *_takedowns(record, taken_down),
    ]


def marked_today(record: Record, audit: Any, day: int) -> NDArray[np.bool_]:
    """Return which rows were marked today: the audit says so, and the catalogue knows no earlier mark; (n,) bool."""
    import pyarrow as pa
    import pyarrow.compute as pc

    said = pc.and_(
        pc.equal(audit["reason"], Reason.MARKED.label),
        pc.fill_null(pc.equal(audit["marked_on"].cast(pa.int32()), day), False),
    )
    return pictures_among(record, audit.filter(said)["picture"].to_pylist()) & (record.marked_on >= day)


def _balance(record: Record, policy: EvictPolicy, marked: NDArray[np.bool_]) -> Balance:
    represents = record.represents
    settled = record.window | record.pinned
    old = represents & record.held & ~settled & ~marked
    # What is pinned stays without being indexed too, and takes its room in the tail.
    pinned = record.pinned & (record.held | ~record.indexed) & ~record.taken_down & (record.gone | ~record.window)
    tail = np.bincount(record.category[old | pinned], minlength=len(record.categories))
    budgets = [policy.budget_of(name) for name in record.categories]
    full = np.array([rows is not None and tail[at] >= rows for at, rows in enumerate(budgets)], np.bool_)
    excused = represents & ~record.held & ~settled & full[record.category]
    return Balance(
        record.count(represents), record.count(represents & record.held), record.count(excused), old, tail, full
    )


def _coverage(record: Record, policy: EvictPolicy, balance: Balance) -> Broken:
    """G1: min(m, what there was); where a full tail took some, still one."""
    least = np.minimum(balance.had, policy.min_per_group)
    short = (balance.has < least) & ((balance.has < 1) | (balance.has + balance.excused < least))

    def tell(group: int) -> tuple[str, str, str]:
        lost = record.member_rows[(record.member_groups == group)]
        lost = lost[(record.represents & ~record.held)[lost]]
        message = (
            f"{balance.has[group]} of its {balance.had[group]} live pictures are held, expected at least "
            f"{least[group]}; lost: {', '.join(record.picture(row) for row in lost[:3].tolist())}"
        )
        return record.group(group), ", ".join(sorted({record.category_of(row) for row in lost.tolist()})), message

    return Broken("G1", np.flatnonzero(short), tell)


def _freshness(record: Record) -> Broken:
    """G2: what is in the window is held."""

    def tell(row: int) -> tuple[str, str, str]:
        seen = np.datetime64(int(record.last_seen[row]), "D")
        return record.picture(row), record.place_of(row), f"last seen {seen}, within the window, and not held"

    return Broken("G2", np.flatnonzero(record.represents & record.window & ~record.held), tell)


def _growth(record: Record, policy: EvictPolicy, balance: Balance) -> list[Broken]:
    """G3: what is held beyond the window has a place in one of its groups, and in its category's budget."""
    settled = record.held & record.represents & (record.window | record.pinned)
    places = np.maximum(policy.cap - record.count(settled), 0)
    homeless = balance.old & (record.of_groups(places, least=False) == 0)
    single = np.bincount(record.member_rows, minlength=len(record.pictures)) == 1
    crowded = (places > 0) & (record.count(balance.old & single) > places)
    limits = [(number, policy.budget_of(name)) for number, name in enumerate(record.categories)]
    over = [number for number, rows in limits if rows is not None and balance.tail[number] > rows]

    def tell_picture(row: int) -> tuple[str, str, str]:
        message = f"held beyond the window, though no group of it has a place left: {record.groups_of(row)}"
        return record.picture(row), record.place_of(row), message

    def tell_group(group: int) -> tuple[str, str, str]:
        rows = record.member_rows[record.member_groups == group]
        rows = rows[(balance.old & single)[rows]]
        where = ", ".join(sorted({record.place_of(row) for row in rows[:3].tolist()}))
        return record.group(group), where, f"{len(rows)} pictures beyond the window, expected at most {places[group]}"

    def tell_category(number: int) -> tuple[str, str, str]:
        name = record.categories[number]
        message = f"{balance.tail[number]} rows beyond the window, expected at most {policy.budget_of(name)}"
        return name, f"index of {name}", message

    return [
        Broken("G3", np.flatnonzero(homeless), tell_picture),
        Broken("G3", np.flatnonzero(crowded), tell_group),
        Broken("G3", np.array(over, np.int64), tell_category),
    ]


def _leftovers(record: Record, policy: EvictPolicy, day: int) -> list[Broken]:
    """G3: no product that died is held for ever, nor what nothing was found in."""
    there = record.held & ~record.taken_down & ~record.pinned
    dead = there & record.gone & (record.gone_since < day - policy.delist_days)
    unseen = there & ~record.gone & ~record.indexed & ~record.window

    def tell_dead(row: int) -> tuple[str, str, str]:
        since = np.datetime64(int(record.gone_since[row]), "D")
        message = f"held, though gone since {since}; expected at most {policy.delist_days} days longer"
        return record.picture(row), record.place_of(row), message

    def tell_unseen(row: int) -> tuple[str, str, str]:
        return record.picture(row), record.place_of(row), "held beyond the window, though no index had an object of it"

    return [
        Broken("G3", np.flatnonzero(dead), tell_dead),
        Broken("G3", np.flatnonzero(unseen), tell_unseen),
    ]


def _cause(
    record: Record, policy: EvictPolicy, day: int, balance: Balance, goes_again: Collection[str]
) -> list[Broken]:
    """G4: nothing goes but for its own groups, its own category or itself, nor twice on one day."""
    lost = ~record.held & ~record.taken_down & record.indexed
    ranked = lost & ~record.gone & ~record.window & ~record.pinned
    early = lost & record.gone & ~record.pinned & (record.gone_since >= day - policy.delist_days)
    enough = record.of_groups(balance.has + balance.excused, least=True) >= policy.cap
    causeless = ranked & ~enough & ~balance.full[record.category]
    causeless &= record.of_groups(balance.has, least=True) > 0  # else its group is a violation of G1

    def teller(message: str) -> Callable[[int], tuple[str, str, str]]:
        return lambda row: (record.picture(row), f"{record.category_of(row)}, groups {record.groups_of(row)}", message)

    return [
        Broken("G4", np.flatnonzero(lost & record.pinned), teller("is pinned and not held")),
        Broken("G4", np.flatnonzero(early), teller(f"went within {policy.delist_days} days of being gone")),
        Broken(
            "G4",
            np.flatnonzero(ranked & (record.marked_on >= day)),
            teller("went without having been marked on an earlier day"),
        ),
        Broken(
            "G4",
            np.flatnonzero(causeless),
            teller(f"went, though its groups hold fewer than {policy.cap} and its category's tail is not full"),
        ),
        Broken(
            "G4",
            np.flatnonzero(pictures_among(record, goes_again)),
            teller("would go when the rule is run again on what is held, on the same day"),
        ),
    ]


def _takedowns(record: Record, taken_down: Collection[str]) -> list[Broken]:
    """G5, and what is held without being known: of that only a takedown is G5, the rest grows without bound (G3)."""
    named = set(taken_down)
    hidden = record.held & (record.taken_down | pictures_among(record, named))
    banned = np.array([number for number, row in enumerate(record.strangers) if row.picture in named], np.int64)
    unknown = np.array([number for number, row in enumerate(record.strangers) if row.picture not in named], np.int64)

    def tell_stranger(message: str) -> Callable[[int], tuple[str, str, str]]:
        return lambda number: (record.strangers[number].picture, place_of(record.strangers[number]), message)

    return [
        Broken("G5", np.flatnonzero(hidden), lambda row: (record.picture(row), record.place_of(row), TAKEN_DOWN)),
        Broken("G5", banned, tell_stranger(TAKEN_DOWN)),
        Broken("G3", unknown, tell_stranger("is held, and the catalogue does not have it")),
    ]


def taken_down_objects(objects: Sequence[HeldObject]) -> Broken:
    """G5 of objects that are taken down by their id: every one that an index holds."""

    def tell(at: int) -> tuple[str, str, str]:
        one = objects[at]
        return str(one.id), f"index of {one.category}, picture {one.picture}", TAKEN_DOWN

    return Broken("G5", np.arange(len(objects)), tell)
