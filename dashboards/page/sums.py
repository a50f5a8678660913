"""Sums over effective plans, added up by the database: days beside the one shown are never read record by record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date as Date
from typing import NamedTuple

from reporting.effective import EffectivePlans
from reporting.key import RunKey
from reporting.plans import Plan, by_precedence
from reporting.stores.base import RecordQuery, RecordStore, Sums
from reporting.topology import Topology

COUNTS = ("input", "output", "produced", "dropped", "failed", "seconds")
"""The measures of `TaskSum`, in its order."""


class TaskSum(NamedTuple):
    """One task on one day: items, seconds of all its leaves together, and how many leaves have a record."""

    input: int
    output: int
    produced: int
    dropped: int
    failed: int
    seconds: float
    leaves: int

    @property
    def kept(self) -> float | None:
        """Output / input; None where nothing came in."""
        return self.output / self.input if self.input else None


DaySums = Mapping[tuple[Date, str], TaskSum]
Reasons = Mapping[str, Mapping[str, int]]
"""Task to drop reason to items."""


def day_sums(store: RecordStore, plans: Sequence[Plan], first: Date, last: Date) -> DaySums:
    """Return each task's sums of each day; a task without a record on a day is not there."""
    found: dict[tuple[Date, str], TaskSum] = {}
    for (day, task), parts in _effective(store, plans, first, last, COUNTS).items():
        *items, seconds = (sum(part.values[place] for part in parts) for place in range(len(COUNTS)))
        taken, output, produced, dropped, failed = (int(item) for item in items)
        leaves = sum(part.records for part in parts)
        found[day, task] = TaskSum(taken, output, produced, dropped, failed, seconds, leaves)
    return found


def reason_sums(
    store: RecordStore, plans: Sequence[Plan], first: Date, last: Date, topology: Topology
) -> Mapping[Date, Reasons]:
    """Return for each day what each task dropped for which reason; what did not occur is left out.

    Args:
        store: Where the records are.
        plans: All that touch the days.
        first: The first day.
        last: The last day, included.
        topology: Says which reasons there are.
    """
    names = sorted({reason for spec in topology.tasks.values() for reason in spec.drop_reasons})
    found: dict[Date, dict[str, Mapping[str, int]]] = {}
    for (day, task), parts in _effective(store, plans, first, last, [f"dropped.{name}" for name in names]).items():
        counts = {name: int(sum(part.values[place] for part in parts)) for place, name in enumerate(names)}
        found.setdefault(day, {})[task] = {name: count for name, count in counts.items() if count}
    return found


def add_reasons(topology: Topology, days: Iterable[Reasons]) -> Reasons:
    """Return reasons of several days together, each task's in the order that the task graph names them."""
    totals = {task: dict.fromkeys(spec.drop_reasons, 0) for task, spec in topology.tasks.items()}
    for of_day in days:
        for task, counts in of_day.items():
            mine = totals.setdefault(task, {})
            for name, count in counts.items():
                mine[name] = mine.get(name, 0) + count
    return {task: {name: count for name, count in mine.items() if count} for task, mine in totals.items()}


def _effective(
    store: RecordStore, plans: Sequence[Plan], first: Date, last: Date, measures: Sequence[str]
) -> dict[tuple[Date, str], list[Sums]]:
    """Return the groups of records that count, by day and task.

    On most days one plan counts for all, and the database adds up its records; where a repair lies over a part of
    the day, the leaves are looked at one by one.
    """
    whole, mixed = _by_day(plans, first, last)
    found: dict[tuple[Date, str], list[Sums]] = {}
    if whole:
        query = RecordQuery(date_from=first, date_to=last, planids=tuple(sorted(set(whole.values()))))
        for one in store.sums(query, ("date", "task", "planid"), measures):
            day = Date.fromisoformat(one.group[0])
            if whole.get(day) == one.group[2]:
                found.setdefault((day, one.group[1]), []).append(one)
    effective = EffectivePlans(plans)
    for day in mixed:
        query = RecordQuery(date_from=day, date_to=day)
        for one in store.sums(query, ("task", "category", "subinstance", "planid"), measures):
            task, category, subinstance, planid = one.group
            key = RunKey(task=task, date=day, category=category, subinstance=subinstance, planid=planid)
            if effective.counts(key):
                found.setdefault((day, task), []).append(one)
    return found


def _by_day(plans: Sequence[Plan], first: Date, last: Date) -> tuple[dict[Date, str], list[Date]]:
    """Return the days on which one plan counts for every leaf, with it, and those that several plans share."""
    whole: dict[Date, str] = {}
    mixed: set[Date] = set()
    for plan, effective in by_precedence(plans):
        for day in plan.dates:
            if first <= day <= last and day not in whole and day not in mixed:
                if plan.cover is None:
                    whole[day] = effective.planid
                else:
                    mixed.add(day)
    return whole, sorted(mixed)
