"""From sums that a store answers to baselines: which plan counted on a past day, and which days are left out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from checks.history import Baseline, Group, Need
from reporting.measures import read_measure
from reporting.plans import Effective, Leaf, Plan, PlanKind, by_precedence, first_covering
from reporting.stores.base import Sums
from reporting.topology import DIMENSIONS, Dimension


@dataclass(frozen=True)
class LeftOut:
    """Past days that are no example of a normal one; their values are NaN.

    Attributes:
        holidays: For every task.
        days: (task, day) with an incident that nobody marked as benign.
        non_daily: Leave out what a re-run or backfill brought: a value of which no part is a daily plan's.
    """

    holidays: frozenset[Date] = frozenset()
    days: frozenset[tuple[str, Date]] = frozenset()
    non_daily: bool = True


class Read(NamedTuple):
    """One question to the store about the days before."""

    by: tuple[Dimension, ...]
    tasks: tuple[str, ...]
    measures: tuple[str, ...]
    days: int
    needs: tuple[Need, ...]
    """What it answers, each need in one read only."""


def reads_of(needs: Iterable[Need]) -> list[Read]:
    """Return the fewest questions that answer all needs.

    What is needed by some dimensions is added up from what is read by more of them, where a task is read by more
    anyway. Measures that a store adds up itself are asked for together; those it must read records for only of the
    tasks concerned.
    """
    by_task: dict[tuple[str, bool], list[Need]] = {}
    for need in needs:
        by_task.setdefault((need.task, read_measure(need.measure).has_column), []).append(need)
    reads: dict[tuple[tuple[Dimension, ...], object], list[Need]] = {}
    for (_, has_column), mine in sorted(by_task.items()):
        wanted = tuple(sorted({need.measure for need in mine}))
        for need in mine:
            reads.setdefault((_read_by(need, mine), has_column or wanted), []).append(need)
    return [_read(by, mine) for (by, _), mine in reads.items()]


def _read_by(need: Need, mine: Sequence[Need]) -> tuple[Dimension, ...]:
    """Return the dimensions of the finest need of the task that answers this one too."""
    finer = [set(other.by) for other in mine if set(need.by) <= set(other.by)]
    largest = max(finer, key=lambda by: (len(by), sorted(by)))
    return tuple(dimension for dimension in DIMENSIONS if dimension in largest)


def _read(by: tuple[Dimension, ...], needs: Sequence[Need]) -> Read:
    return Read(
        by=by,
        tasks=tuple(sorted({need.task for need in needs})),
        measures=tuple(sorted({need.measure for need in needs})),
        days=max(need.days for need in needs),
        needs=tuple(needs),
    )


class CountingPlans:
    """Which plan counts on a day: for a whole task where one plan covers it, else leaf by leaf.

    Args:
        plans: all that touch the days asked about.
        as_of: what was known by then.
    """

    def __init__(self, plans: Iterable[Plan], as_of: datetime):
        self._ranked: dict[Date, list[tuple[Plan, Effective]]] = {}
        self._daily: set[str] = set()
        for plan, effective in by_precedence(plans, as_of):
            for day in plan.dates:
                self._ranked.setdefault(day, []).append((plan, effective))
            if plan.kind is PlanKind.DAILY:
                self._daily.add(plan.planid)

    def is_split(self, task: str, day: Date) -> bool:
        """Tell whether a plan that covers only some leaves of the task may count for them."""
        for plan, _ in self._ranked.get(day, ()):
            mine = [part for part in plan.cover or () if part.task == task]
            if plan.cover is None or any(part.categories is None and part.subinstances is None for part in mine):
                return False
            if mine:
                return True
        return False

    def of(self, leaf: Leaf) -> str | None:
        """Return the plan that counts for a leaf, or None. Where the day is not split, any leaf stands for all."""
        found = first_covering(self._ranked.get(leaf.date, ()), leaf)
        return None if found is None else found.planid

    def is_daily(self, planid: str) -> bool:
        """Tell whether it is a daily plan."""
        return planid in self._daily


@dataclass
class Cells:
    """Parts of the past values of one task: one of each list for each group, day and plan that counted."""

    days: list[int] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    values: list[tuple[float, ...]] = field(default_factory=list)
    counted: list[tuple[int, ...]] = field(default_factory=list)
    daily: list[bool] = field(default_factory=list)


class Past:
    """The past values of the tasks of one read."""

    def __init__(self, read: Read, date: Date, plans: CountingPlans):
        self.read = read
        self.days = tuple(date - timedelta(days=back) for back in range(read.days, 0, -1))
        self._at = {day.isoformat(): number for number, day in enumerate(self.days)}
        self._plans = plans
        self._cells: dict[str, Cells] = {task: Cells() for task in read.tasks}

    def split_days(self) -> dict[Date, tuple[str, ...]]:
        """Return the days on which leaves of a task may count under different plans, with those tasks."""
        found = {day: tuple(task for task in self.read.tasks if self._plans.is_split(task, day)) for day in self.days}
        return {day: tasks for day, tasks in found.items() if tasks}

    def add(self, rows: Iterable[Sums], split: dict[Date, tuple[str, ...]]) -> None:
        """Take sums by task, date, the read's dimensions and planid; those of split days are left to `add_leaves`."""
        counts: dict[tuple[str, str], str | None] = {}
        apart = {(task, day.isoformat()) for day, tasks in split.items() for task in tasks}
        for row in rows:
            task, day, *group, planid = row.group
            if (task, day) not in counts:
                leaf = Leaf(task, Date.fromisoformat(day))
                counts[task, day] = None if (task, day) in apart else self._plans.of(leaf)
            if counts[task, day] == planid:
                self._append(task, day, tuple(group), planid, row)

    def add_leaves(self, rows: Iterable[Sums]) -> None:
        """Take sums by task, date, category, subinstance and planid, of split days."""
        for row in rows:
            task, day, category, subinstance, planid = row.group
            leaf = Leaf(task, Date.fromisoformat(day), category, subinstance)
            if self._plans.of(leaf) == planid:
                group = tuple([str(getattr(leaf, dimension)) for dimension in self.read.by])
                self._append(task, day, group, planid, row)

    def _append(self, task: str, day: str, group: Group, planid: str, row: Sums) -> None:
        mine = self._cells[task]
        mine.days.append(self._at[day])
        mine.groups.append(group)
        mine.values.append(row.values)
        mine.counted.append(row.counted)
        mine.daily.append(self._plans.is_daily(planid))

    def baseline(self, need: Need, left_out: LeftOut) -> Baseline:
        """Return what a need asked for; groups of which no day has a value are left away."""
        mine = self._cells[need.task]
        place = self.read.measures.index(need.measure)
        project = _projection(self.read.by, need.by)
        names = [project(group) for group in mine.groups]
        groups = sorted(set(names))
        code = {group: number for number, group in enumerate(groups)}
        at = np.array([code[name] * len(self.days) for name in names], dtype=np.intp) + np.array(mine.days, np.intp)
        counted = self._added(at, len(groups), [counted[place] for counted in mine.counted])
        values = self._added(at, len(groups), [values[place] for values in mine.values])
        values[counted == 0] = np.nan
        if left_out.non_daily:
            values[self._added(at, len(groups), mine.daily) == 0] = np.nan
        out = [day in left_out.holidays or (need.task, day) in left_out.days for day in self.days]
        values[:, np.array(out, dtype=bool)] = np.nan
        values, counted = values[:, -need.days :], counted[:, -need.days :]
        some = np.flatnonzero(np.isfinite(values).any(axis=1))
        values, counted = values[some], counted[some]
        kept = tuple(groups[place] for place in some)
        return Baseline(kept, self.days[-need.days :], values, values / np.maximum(counted, 1))

    def _added(self, at: NDArray[np.intp], groups: int, weights: Sequence[float]) -> NDArray[np.float64]:
        size = groups * len(self.days)
        sums = np.bincount(at, weights=np.asarray(weights, dtype=np.float64), minlength=size)
        return sums.astype(np.float64).reshape(groups, len(self.days))  # of nothing bincount counts in whole numbers


def _projection(read: Sequence[str], wanted: Sequence[str]) -> Callable[[Group], Group]:
    places = [read.index(dimension) for dimension in wanted]
    return lambda group: tuple([group[place] for place in places])
