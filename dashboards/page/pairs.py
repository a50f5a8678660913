"""Plan against plan, leaf by leaf: only what both have done can be compared. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reporting.effective import leaf_of
from reporting.plans import Leaf
from reporting.record import TaskRecord

MOST_LEAVES = 200
"""Leaves that differ, named on the page."""


class Side(NamedTuple):
    """Totals of one plan over some leaves."""

    input: int
    output: int
    produced: int
    dropped: Counter[str]
    failed: int

    @property
    def kept(self) -> float | None:
        """Share of what came in that went on; None where nothing came in."""
        return self.output / self.input if self.input else None


class TaskPair(NamedTuple):
    """One task in both plans, over the leaves that both have."""

    task: str
    both: int
    only_one: int
    """Leaves of the first plan alone."""
    only_other: int
    one: Side
    other: Side
    reasons: tuple[str, ...]
    """Drop reasons of either."""


class LeafPair(NamedTuple):
    """One leaf whose counts differ."""

    leaf: Leaf
    one: TaskRecord
    other: TaskRecord

    @property
    def size(self) -> int:
        """By how much, in items."""
        return sum(abs(getattr(self.one, name) - getattr(self.other, name)) for name in ("input", "output", "produced"))


class Pair(NamedTuple):
    """Two plans."""

    tasks: tuple[TaskPair, ...]
    leaves: tuple[LeafPair, ...]
    """Those that differ, by how much."""
    left_out: int


def compare_plans(order: Sequence[str], one: Iterable[TaskRecord], other: Iterable[TaskRecord]) -> Pair:
    """Compare the records of two plans; tasks that only one of them has are listed without figures."""
    first = {leaf_of(record.key): record for record in one}
    second = {leaf_of(record.key): record for record in other}
    tasks = []
    for task in order:
        mine, theirs = ({leaf for leaf in found if leaf.task == task} for found in (first, second))
        both = sorted(mine & theirs)
        if not mine | theirs:
            continue
        sides = _side([first[leaf] for leaf in both]), _side([second[leaf] for leaf in both])
        reasons = sorted(set(sides[0].dropped) | set(sides[1].dropped))
        tasks.append(TaskPair(task, len(both), len(mine - theirs), len(theirs - mine), *sides, tuple(reasons)))
    pairs = [LeafPair(leaf, first[leaf], second[leaf]) for leaf in first.keys() & second.keys()]
    differ = sorted((pair for pair in pairs if _differs(pair)), key=lambda pair: (-pair.size, pair.leaf))
    return Pair(tuple(tasks), tuple(differ[:MOST_LEAVES]), max(0, len(differ) - MOST_LEAVES))


def _side(records: Sequence[TaskRecord]) -> Side:
    dropped = Counter[str]()
    for record in records:
        dropped.update({reason: count for reason, count in record.dropped.items() if count})
    return Side(
        sum(record.input for record in records),
        sum(record.output for record in records),
        sum(record.produced for record in records),
        dropped,
        sum(record.failed_total for record in records),
    )


def _differs(pair: LeafPair) -> bool:
    return any(
        getattr(pair.one, name) != getattr(pair.other, name) for name in ("input", "output", "produced", "dropped")
    ) or (pair.one.failed != pair.other.failed)
