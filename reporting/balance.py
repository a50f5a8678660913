"""The trial balance: every item booked, one line "unexplained".

unexplained = sum over leaves of |node residual| + |edge residual|, in absolute values because signed ones
cancel. Node: input - output - dropped - failed. Edge: what the law of the edge leaves over between what one
task handed on and the next took in, on the grain both split by.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date as Date
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from reporting.effective import EffectivePlans, leaf_of
from reporting.plans import Leaf, Plan, PlanState
from reporting.record import TaskRecord
from reporting.topology import Edge, Law, Topology

if TYPE_CHECKING:
    import pandas as pd


class BalanceRow(BaseModel):
    """The books of one plan on one day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: Date
    planid: str
    input: int
    output: int
    dropped: int
    failed: int
    unexplained: int
    missing_leaves: int
    """Expected leaves without a record."""
    provisional: bool
    """The plan is still open: edges whose leaves have not all reported are not judged yet."""


class Residual(BaseModel):
    """One place where the books do not close."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: Date
    planid: str
    where: str
    handed_on: int
    taken: int
    residual: int


@dataclass(frozen=True)
class Books:
    """Everything the balance is made of: a pure value, gathered by `reporting.ledger`."""

    records: Sequence[TaskRecord]
    plans: Sequence[Plan]
    expected: Mapping[str, Set[Leaf]]
    """By plan."""
    consumed: Sequence[TaskRecord] = ()
    """Records of other days that window edges name."""


class Balance(BaseModel):
    """Rows by day and plan, and the residuals behind them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: list[BalanceRow]
    residuals: list[Residual]


def balance(topology: Topology, books: Books, *, all_plans: bool = False) -> Balance:
    """Close the books of the effective plans, or with `all_plans` of every plan on its own leaves."""
    effective = EffectivePlans(books.plans)
    plans = {plan.planid: plan for plan in books.plans}
    rows: list[BalanceRow] = []
    residuals: list[Residual] = []
    for planid, day in sorted({(r.key.planid, r.key.date) for r in books.records} | _expected_days(books)):
        if planid not in plans:
            continue
        view = _View(topology, books, effective, plans[planid], day, own_leaves=all_plans)
        if not view.mine:
            continue
        found = view.residuals()
        residuals += found
        rows.append(view.row(found))
    rows.sort(key=lambda row: (row.date, row.planid))
    return Balance(rows=rows, residuals=sorted(residuals, key=lambda r: (r.date, r.planid, r.where)))


def _expected_days(books: Books) -> set[tuple[str, Date]]:
    return {(planid, leaf.date) for planid, leaves in books.expected.items() for leaf in leaves}


class _View:
    """One plan's leaves of one day, with the leaves of other plans that it reads."""

    def __init__(
        self, topology: Topology, books: Books, effective: EffectivePlans, plan: Plan, day: Date, *, own_leaves: bool
    ):
        self.topology, self.books, self.effective, self.plan, self.day = topology, books, effective, plan, day
        self.own_leaves = own_leaves
        self.open = plan.state is PlanState.OPEN
        by_key = {(leaf_of(r.key), r.key.planid): r for r in books.records}
        everything = {leaf for leaf, _ in by_key} | {x for known in books.expected.values() for x in known}
        plan_of = {leaf: self._plan_of(leaf) for leaf in everything if leaf.date == day}
        known = {leaf for leaf, planid in by_key if planid == plan.planid} | books.expected.get(plan.planid, set())
        self.mine = {leaf for leaf in known if plan_of.get(leaf) == plan.planid}
        self.leaves: dict[str, list[Leaf]] = defaultdict(list)
        """Of the day, by task: those of other plans too, which this one's leaves read."""
        self.record: dict[Leaf, TaskRecord | None] = {}
        for leaf, planid in plan_of.items():
            if planid is not None:
                self.leaves[leaf.task].append(leaf)
                self.record[leaf] = by_key.get((leaf, planid))

    def _plan_of(self, leaf: Leaf) -> str | None:
        if self.own_leaves and self.plan.covers(leaf):
            return self.plan.planid
        found = self.effective.of(leaf)
        return None if found is None else found.planid

    def residuals(self) -> list[Residual]:
        """Return them in any order: who asks sorts them, and no two are of one place."""
        found: list[Residual] = []
        for leaf in self.mine:
            record = self.record[leaf]
            if record is not None:
                where = f"{leaf.task} {leaf.category}/{leaf.subinstance}"
                found += self._residual(where, record.input, booked_out(record))
        for edge in self.topology.edges:
            if edge.law not in (Law.WINDOW, Law.AFTER):
                found += self._edge(edge)
        for task in self.topology.order:
            found += self._window(task)
        return found

    def _edge(self, edge: Edge) -> Iterable[Residual]:
        grain = self.topology.common_grain(edge)
        sources, targets = (_by_group(self.leaves[task], grain) for task in (edge.source, edge.target))
        for group in set(sources) | set(targets):
            concerned = targets.get(group) or sources.get(group, [])
            if not any(leaf in self.mine for leaf in concerned):
                continue
            # A group that several plans share is judged once: by the plan of its first leaf of the target.
            if min(concerned) not in self.mine:
                continue
            before = [self.record[leaf] for leaf in sources.get(group, [])]
            after = [self.record[leaf] for leaf in targets.get(group, [])]
            if self.open and (None in before or None in after or not after or not before):
                continue
            handed, taken = sum(r.produced for r in before if r), sum(r.input for r in after if r)
            where = f"{edge.source} -> {edge.target}" + (f" {'/'.join(group)}" if group else "")
            yield from self._residual(where, handed, taken, edge.ratio)

    def _window(self, task: str) -> Iterable[Residual]:
        """Yield what is left over of a task's windows: in all of them together, and of each partition read."""
        sources = self.topology.window_sources(task)
        produced = {source: self._handed_on(source, task) for source in sources}
        for leaf in self.leaves[task] if sources else ():
            record = self.record[leaf] if leaf in self.mine else None
            if record is None:
                continue
            # summed: a partition read twice is one reading of twice as much
            read: Counter[tuple[str, Date, str]] = Counter()
            for consumed in record.consumed:
                if consumed.task in sources:
                    read[(consumed.task, consumed.date, consumed.planid)] += consumed.count
            end = f"{task} {leaf.category}/{leaf.subinstance}"
            yield from self._residual(f"{' + '.join(sources)} -> {end} (sum of the window)", read.total(), record.input)
            for (source, day, planid), count in read.items():
                group = tuple(getattr(leaf, dim) for dim in self.topology.shared_grain(source, task))
                there = produced[source].get((day, planid, group), 0)
                yield from self._residual(f"{source} -> {end} (read of {day} {planid})", there, count)

    def _handed_on(self, source: str, target: str) -> Mapping[tuple[Date, str, tuple[str, ...]], int]:
        records = chain(self.books.records, self.books.consumed)
        return _produced(records, source, self.topology.shared_grain(source, target))

    def _residual(
        self, where: str, handed: int, taken: int, ratio: tuple[float, float] | None = None
    ) -> Iterable[Residual]:
        """Yield the residual of one place; nothing where its books close, as nearly all of 9,000 do."""
        size = abs(handed - taken) if ratio is None else _outside(handed, taken, ratio)
        if size:
            day, planid = self.day, self.plan.planid
            yield Residual(date=day, planid=planid, where=where, handed_on=handed, taken=taken, residual=size)

    def row(self, residuals: list[Residual]) -> BalanceRow:
        records = [record for leaf in self.mine if (record := self.record[leaf]) is not None]
        return BalanceRow(
            date=self.day,
            planid=self.plan.planid,
            input=sum(r.input for r in records),
            output=sum(r.output for r in records),
            dropped=sum(r.dropped_total for r in records),
            failed=sum(r.failed_total for r in records),
            unexplained=sum(one.residual for one in residuals),
            missing_leaves=len(self.mine) - len(records),
            provisional=self.open,
        )


def _by_group(leaves: Iterable[Leaf], grain: tuple[str, ...]) -> dict[tuple[str, ...], list[Leaf]]:
    found: dict[tuple[str, ...], list[Leaf]] = defaultdict(list)
    for leaf in leaves:
        found[tuple([getattr(leaf, dim) for dim in grain])].append(leaf)
    return found


def booked_out(record: TaskRecord) -> int:
    """Return what a record accounts for, in its input unit."""
    return record.output + record.dropped_total + record.failed_total


def _outside(handed: int, taken: int, ratio: tuple[float, float]) -> int:
    """Return by how many items `taken` lies outside the band, its bounds read as written: 100 x 0.29 is 29."""
    low, high = ratio
    below = math.ceil(handed * Fraction(str(low))) - taken
    above = 0 if math.isinf(high) else taken - math.floor(handed * Fraction(str(high)))
    return max(0, below, above)


def _produced(
    records: Iterable[TaskRecord], task: str, grain: tuple[str, ...]
) -> Mapping[tuple[Date, str, tuple[str, ...]], int]:
    sums: dict[tuple[Date, str, tuple[str, ...]], int] = defaultdict(int)
    for record in {(r.key): r for r in records}.values():
        if record.key.task == task:
            group = tuple(getattr(record.key, dim) for dim in grain)
            sums[(record.key.date, record.key.planid, group)] += record.produced
    return sums


def balance_frame(found: Balance) -> pd.DataFrame:
    """Return the rows as a frame, one line a day and plan."""
    import pandas as pd

    return pd.DataFrame([row.model_dump() for row in found.rows], columns=list(BalanceRow.model_fields))
