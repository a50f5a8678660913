"""A small pipeline whose books close on every day, and faults to put into it: what every test of the checks judges.

Records are sums of cells (category x subinstance) over a task's grain, so that a world without faults is balanced by
construction. Everything is a function of the seed and the date.

The work of a business day is done the day after, from 00:10 UTC on, one task every 20 minutes; its plan completes at
04:00, repairs run from 10:00 to 11:00, and `noon(date)`, when all is there, is the moment a view is of unless told
otherwise.

    world = World().lose(Leaf("embed", DAY, "shoes", "0002"))
    view = world.view(DAY)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from datetime import date as Date
from typing import Any, NamedTuple

from checks.history import History, Need
from checks.view import View
from reporting.effective import leaf_of
from reporting.key import ALL
from reporting.plans import Leaf, Plan, PlanKind, cover_of
from reporting.record import Consumed, TaskRecord
from reporting.stores.base import RecordStore
from reporting.testing import DAY, make_plan, make_record
from reporting.topology import DIMENSIONS, Law, Topology
from tests.checks.world_flow import (
    CATEGORIES,
    CHAIN,
    ORDER,
    SUBINSTANCES,
    TOPOLOGY,
    Fault,
    Kind,
    cells_of,
    digest_of,
    flow,
)
from tests.checks.world_history import history_of

__all__ = ["CATEGORIES", "DAY", "ORDER", "SUBINSTANCES", "TOPOLOGY", "Day", "World", "noon", "planid_of", "record_of"]

WINDOW_DAYS = 3
"""Days that a merge reads, its own the last."""

_VERSIONS = {
    "detect": {"model": "detector@3"},
    "embed": {"model": "embedder@7", "space": "space-7"},
    "index": {"space": "space-7"},
    "merge": {"space": "space-7"},
}


class Day(NamedTuple):
    """What a store would hold of one day."""

    records: list[TaskRecord]
    plans: list[Plan]
    expected: dict[str, frozenset[Leaf]]


class _Repair(NamedTuple):
    plan: Plan
    world: World
    """The same without the faults that the repair mends."""


@dataclass(frozen=True)
class World:
    """Days of a pipeline; every method that puts a fault in returns another world."""

    seed: int = 0
    rows: float = 60
    """Mean rows of a cell on a weekday; there are nine cells, and 0.7 of that at weekends."""
    topology: Topology = TOPOLOGY
    """Deadlines, zone, owners may differ from TOPOLOGY; tasks and edges may not."""
    faults: tuple[Fault, ...] = ()
    repairs: tuple[_Repair, ...] = ()

    def lose(self, leaf: Leaf) -> World:
        """Take the record of one leaf away; what is downstream has read its items all the same."""
        return self._with("lost", leaf.task, _dimensions(leaf), leaf.date)

    def ruin(self, leaf: Leaf) -> World:
        """Lose one leaf with its items: nothing downstream gets them, and leaves with no others never report."""
        return self._with("lost", leaf.task, _dimensions(leaf), leaf.date)._with(
            "ruined", leaf.task, _dimensions(leaf), leaf.date
        )

    def shrink(self, task: str, where: Mapping[str, str], share: float, on: Date = DAY) -> World:
        """Let a task take in fewer items than were handed to it and book nothing of it: {"category": "shoes"}, 0.03.

        At least one item of each cell goes. On `collect` it is a smaller day whose books close. Not on merge, release.
        """
        return self._with("shrunk", task, where, on, share)

    def fail(self, task: str, where: Mapping[str, str], share: float, on: Date = DAY) -> World:
        """Let a share of a task's items fail, booked as such in records of state failed. Not on merge, release."""
        return self._with("failing", task, where, on, share)

    def delay(self, task: str, where: Mapping[str, str], by: timedelta, on: Date = DAY) -> World:
        """Let leaves report later than they would have; nobody waits for them."""
        return self._with("late", task, where, on, by.total_seconds())

    def swap_ids(self, task: str, where: Mapping[str, str], on: Date = DAY) -> World:
        """Let a task take in as many items as were handed to it, but others; digests tell, counts do not."""
        return self._with("other_ids", task, where, on)

    def swap_version(self, task: str, where: Mapping[str, str], field: str, version: str, on: Date = DAY) -> World:
        """Let leaves of a task use another version of something."""
        return self._with("version", task, where, on, text=(field, version))

    def unbook(self, leaf: Leaf, items: int) -> World:
        """Break a record's own books: `output` loses items, which the model would refuse."""
        return self._with("unbooked", leaf.task, _dimensions(leaf), leaf.date, items)

    def _with(
        self,
        kind: Kind,
        task: str,
        where: Mapping[str, str],
        on: Date,
        amount: float = 0,
        text: tuple[str, str] = ("", ""),
    ) -> World:
        assert task in ORDER, task
        assert set(where) <= set(DIMENSIONS), where
        return replace(self, faults=(*self.faults, Fault(kind, task, on, tuple(sorted(where.items())), amount, text)))

    def rerun(
        self,
        planid: str,
        tasks: Sequence[str],
        on: Date = DAY,
        *,
        promoted: bool = True,
        categories: tuple[str, ...] | None = None,
        subinstances: tuple[str, ...] | None = None,
    ) -> World:
        """Add a repair of one day: faults that touch the leaves it covers are mended, those of other leaves stay.

        Args:
            planid: Of the new plan.
            tasks: Where it begins; everything downstream is done again.
            on: The day.
            promoted: Whether it counts from 11:00 on.
            categories: As in `reporting.plans.cover_of`.
            subinstances: Likewise.
        """
        done = _at(on, 11)
        plan = make_plan(
            planid,
            PlanKind.RERUN,
            dates=(on,),
            created_at=_at(on, 10),
            completed_at=done,
            promoted_at=done if promoted else None,
            cover=cover_of(self.topology, tuple(tasks), categories, subinstances),
            supersedes=planid_of(on),
        )
        covered = [leaf for leaf in self.leaves(on) if plan.covers(leaf)]
        left = tuple(fault for fault in self.faults if not any(map(fault.meets, covered)))
        return replace(self, repairs=(*self.repairs, _Repair(plan, replace(self, faults=left, repairs=()))))

    def leaves(self, date: Date = DAY) -> list[Leaf]:
        """Return all leaves of a day: what the daily plan's manifest holds."""
        return [
            Leaf(task, date, category, subinstance)
            for task in ORDER
            for category in (CATEGORIES if "category" in self.topology.task(task).grain else (ALL,))
            for subinstance in (SUBINSTANCES if "subinstance" in self.topology.task(task).grain else (ALL,))
        ]

    def plans(self, date: Date = DAY) -> list[Plan]:
        """Return the plans of a day, the daily one first."""
        daily = make_plan(planid_of(date), dates=(date,), created_at=_at(date, 0), completed_at=_at(date, 4))
        return [daily, *(repair.plan for repair in self.repairs if date in repair.plan.dates)]

    def day(self, date: Date = DAY, *, digests: bool = True) -> Day:
        """Return the records of all plans of a day, these plans, and their manifests."""
        plans, leaves = self.plans(date), self.leaves(date)
        records = _Booker(self, date, plans[0], digests).records()
        for repair in self.repairs:
            if date in repair.plan.dates:
                records += _Booker(repair.world, date, repair.plan, digests).records()
        return Day(records, plans, {plan.planid: frozenset(filter(plan.covers, leaves)) for plan in plans})

    def view(
        self,
        date: Date = DAY,
        *,
        as_of: datetime | None = None,
        history: Sequence[Need] | History = (),
        digests: bool = True,
    ) -> View:
        """Return what a scan would bring of a day.

        Args:
            date: The judged day.
            as_of: Default `noon(date)`; nothing reported later and no plan created later is in it.
            history: What to know of the days before (computed record by record, not by the code under test).
            digests: False saves the time of hashing ids.
        """
        as_of = noon(date) if as_of is None else as_of
        day = self.day(date, digests=digests)
        window = _before(date, WINDOW_DAYS - 1)
        read = [record for other in window for record in self.day(other, digests=False).records]
        if not isinstance(history, History):
            history = self.history(history, date, as_of)
        plans = [*day.plans, *(plan for other in window for plan in self.plans(other))]
        known = [plan for plan in plans if plan.created_at <= as_of]
        return View(
            topology=self.topology,
            date=date,
            as_of=as_of,
            records=[record for record in day.records if record.reported_at <= as_of],
            other_days=[record for record in read if record.key.task == "index" and record.reported_at <= as_of],
            plans=known,
            expected={plan.planid: day.expected[plan.planid] for plan in known if plan.planid in day.expected},
            history=history,
        )

    def history(self, needs: Sequence[Need], date: Date = DAY, as_of: datetime | None = None) -> History:
        """Return sums of the days before, see `tests.checks.world_history`."""
        days = {}
        for day in _before(date, max((need.days for need in needs), default=0)):
            booked = self.day(day, digests=False)
            days[day] = (booked.records, booked.plans)
        return history_of(days, needs, date, noon(date) if as_of is None else as_of)

    def put(self, store: RecordStore, dates: Iterable[Date] = (DAY,), *, digests: bool = True) -> None:
        """Write days into a store, a transaction each. Not with `unbook`: the model refuses to read such a record."""
        for date in dates:
            day = self.day(date, digests=digests)
            with store.begin() as work:
                for plan in day.plans:
                    work.put_plan(plan)
                    work.expect(plan.planid, sorted(day.expected[plan.planid]))
                for record in day.records:
                    work.put_record(record)


class _Booker:
    """Books one plan's records of one day."""

    def __init__(self, world: World, date: Date, plan: Plan, digests: bool) -> None:
        self.world, self.date, self.plan, self.digests = world, date, plan, digests
        self.steps = flow(world.seed, world.rows, world.faults, date)
        self.begins = _at(date, 0 if plan.kind is PlanKind.DAILY else 10)

    def records(self) -> list[TaskRecord]:
        found = []
        for leaf in self.world.leaves(self.date):
            faults = [fault for fault in self.world.faults if fault.meets(leaf)]
            lost = any(fault.kind == "lost" for fault in faults) or self._never_ran(leaf)
            if self.plan.covers(leaf) and not lost:
                found.append(_spoilt(self._record(leaf), faults))
        return found

    def _never_ran(self, leaf: Leaf) -> bool:
        return leaf.task in CHAIN and bool(self.steps[leaf.task].gone[cells_of(leaf)].all())

    def _record(self, leaf: Leaf) -> TaskRecord:
        books = self._booked(leaf) if leaf.task in CHAIN else {"input": len(CATEGORIES)}
        if leaf.task == "merge":
            books = self._merged(leaf)
        pause = timedelta(minutes=20) if self.plan.kind is PlanKind.DAILY else timedelta(minutes=5)
        at = self.begins + timedelta(minutes=10) + pause * ORDER.index(leaf.task)
        at += timedelta(minutes=0 if leaf.subinstance == ALL else SUBINSTANCES.index(leaf.subinstance))
        return make_record(
            leaf.task,
            date=leaf.date,
            category=leaf.category,
            subinstance=leaf.subinstance,
            planid=self.plan.planid,
            reported_at=at,
            started_at=at - timedelta(seconds=30 + books["input"] / 10),
            versions={"code": "c1", **_VERSIONS.get(leaf.task, {})},
            **books,
        )

    def _booked(self, leaf: Leaf) -> dict[str, Any]:
        step, at = self.steps[leaf.task], cells_of(leaf)
        taken, failed = int(step.input[at].sum()), int(step.failed[at].sum())
        output, produced = int(step.output[at].sum()), int(step.produced[at].sum())
        metrics = {"bytes": 1000.0 * output} if leaf.task == "download" else {}
        if leaf.task == "detect" and output:
            metrics = {"objects_per_picture": produced / output}
        sources = [edge.source for edge in self.world.topology.upstream(leaf.task) if edge.law is Law.EQUAL]
        books: dict[str, Any] = {
            "input": taken,
            "dropped": {reason: int(cells[at].sum()) for reason, cells in step.dropped.items()},
            "failed": {"OSError": failed} if failed else {},
            "produced": produced,
            "metrics": metrics,
            "consumed": [self._read(source, self.date, taken, leaf) for source in sources],
        }
        if self.digests:
            books["digest_in"] = digest_of(self.date, step.units[0], step.input, step.other, leaf)
            books["digest_out"] = digest_of(self.date, step.units[1], step.produced, step.other, leaf)
        return books

    def _merged(self, leaf: Leaf) -> dict[str, Any]:
        read = []
        for day in (*_before(self.date, WINDOW_DAYS - 1), self.date):
            step = flow(self.world.seed, self.world.rows, self.world.faults, day)["index"]
            if not step.gone[cells_of(leaf)].all():
                read.append(self._read("index", day, int(step.produced[cells_of(leaf)].sum()), leaf))
        return {"input": sum(one.count for one in read), "consumed": read}

    def _read(self, source: str, day: Date, count: int, reader: Leaf) -> Consumed:
        planid = self.plan.planid if self.plan.covers(Leaf(source, day, *reader[2:])) else planid_of(day)
        return Consumed(task=source, date=day, planid=planid, count=count)


def _spoilt(record: TaskRecord, faults: Iterable[Fault]) -> TaskRecord:
    for fault in faults:
        changes: dict[str, Any] = {}
        if fault.kind == "late":
            times = ("started_at", "finished_at", "reported_at")
            changes = {name: getattr(record, name) + timedelta(seconds=fault.amount) for name in times}
        elif fault.kind == "version":
            changes = {"versions": {**record.versions, fault.text[0]: fault.text[1]}}
        elif fault.kind == "unbooked":
            changes = {"output": record.output - int(fault.amount)}
        record = record.model_copy(update=changes)
    return record


def planid_of(date: Date) -> str:
    """Return the id of a day's daily plan."""
    return f"daily-{date}"


def noon(date: Date) -> datetime:
    """Return 12:00 UTC of the day after: all that will come of the business day is there."""
    return _at(date, 12)


def record_of(view: View, leaf: Leaf) -> TaskRecord:
    """Return the record that counts of a leaf."""
    return next(record for record in view.records if leaf_of(record.key) == leaf and view.effective.counts(record.key))


def _before(date: Date, days: int) -> list[Date]:
    return [date - timedelta(days=n) for n in range(days, 0, -1)]


def _at(date: Date, hour: int) -> datetime:
    return datetime.combine(date + timedelta(days=1), time(hour), UTC)


def _dimensions(leaf: Leaf) -> dict[str, str]:
    return {dim: value for dim in DIMENSIONS if (value := getattr(leaf, dim)) != ALL}
