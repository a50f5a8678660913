"""Find the partition that counts: of this plan where it covers the leaf, else of the leaf's effective plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date as Date
from typing import NamedTuple

from sqlalchemy import select, true

from pipeline.instance_states import DONE
from pipeline.planner import read_split
from reporting import tables as t
from reporting.errors import StoreError
from reporting.key import RunKey
from reporting.plans import Effective, Leaf, Plan, effective_plan
from reporting.stores.sql import SqlStore
from reporting.topology import Topology

_c = t.instance.c


class Partition(NamedTuple):
    """The committed output of one instance."""

    leaf: Leaf
    planid: str
    attempt: int
    folder: str

    def read_as(self) -> list[str | int]:
        """Return what is remembered of having read it: leaf, plan and attempt."""
        return [self.leaf.task, self.leaf.date.isoformat(), *self.leaf[2:], self.planid, self.attempt]


class Partitions:
    """Looks up partitions as one plan sees them."""

    def __init__(self, store: SqlStore, topology: Topology, plan: Plan | None):
        self._store = store
        self._topology = topology
        self._plan = plan

    def plan_of(self, leaf: Leaf, plans: Iterable[Plan]) -> str | None:
        """Return the plan whose partition of a leaf this plan must read."""
        if self._plan is not None and self._plan.covers(leaf):
            return self._plan.planid
        found: Effective | None = effective_plan(plans, leaf)
        return None if found is None else found.planid

    def of_task(self, task: str, day: Date) -> list[Partition]:
        """Return every committed partition of a task on a day, sorted by leaf; [] when the day has none."""
        plans = self._store.plans(day, day)
        with self._store.read() as connection:
            rows = connection.execute(
                select(_c.category, _c.subinstance, _c.planid, _c.attempt, _c.artifact)
                .where(_c.task == task, _c.date == day, _c.state == DONE)
                .order_by(_c.category, _c.subinstance)
            ).all()
        return [
            Partition(Leaf(task, day, row[0], row[1]), row[2], row[3], row[4])
            for row in rows
            if self.plan_of(Leaf(task, day, row[0], row[1]), plans) == row[2]
        ]

    def upstream(self, source: str, key: RunKey) -> list[Partition]:
        """Return the partitions of an upstream task that a leaf must read: those that agree in the shared dimensions.

        Raises:
            StoreError: none is there, although the dependency says it is done.
        """
        mine, theirs = self._topology.task(key.task).work_grain, self._topology.task(source).work_grain
        shared = [dim for dim in ("category", "subinstance") if dim in mine and dim in theirs]
        found = [
            partition
            for partition in self.of_task(source, key.date)
            if all(getattr(partition.leaf, dim) == getattr(key, dim) for dim in shared)
        ]
        if not found:
            raise StoreError(
                f"{key}: no committed partition of {source!r} on {key.date} to read; run that day's {source!r} first"
            )
        return found

    def days_before(self, task: str, day: Date, count: int, category: str | None = None) -> list[Date]:
        """Return the nearest earlier days that have plans with this task, newest first, at most `count`.

        Days without the category, where one is given, do not count.
        """
        of_category = true() if category is None else _c.category == category
        with self._store.read() as connection:
            return list(
                connection.execute(
                    select(_c.date)
                    .where(_c.task == task, _c.date < day, of_category)
                    .distinct()
                    .order_by(_c.date.desc())
                    .limit(count)
                ).scalars()
            )

    def packages(self, planid: str, day: Date) -> Sequence[str]:
        """Return the packages of a sealed day, [] before."""
        text = self._store.split_text(planid, day)
        split = read_split(text)
        return () if split is None else split.packages
