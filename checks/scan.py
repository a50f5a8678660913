"""The one scan of a run: reads a day, the registry and the sums of the days before, whatever the number of checks.

Two or three questions to the store for the day (records, plans, what was consumed), one for each plan's manifest, and
one for the past for each set of dimensions that somebody compares by; repaired past days are asked for leaf by leaf.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date as Date
from datetime import datetime, timedelta

from checks.history import Baseline, History, Need
from checks.past import CountingPlans, LeftOut, Past, Read, reads_of
from checks.view import View
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery, RecordStore
from reporting.topology import DIMENSIONS, Dimension, Law, Topology

_LEAF = ("task", "date", "category", "subinstance", "planid")


def scan(
    store: RecordStore,
    topology: Topology,
    date: Date,
    *,
    as_of: datetime,
    needs: Sequence[Need] = (),
    with_as_of: bool = True,
    excluded_days: Collection[tuple[str, Date]] = (),
    holidays: Collection[Date] = (),
    skip_non_daily: bool = True,
) -> View:
    """Read what the checks of a day judge.

    The past has one value for each task, date and group: that of the plans that counted at `as_of`. Plans made later
    do not exist yet, and neither do their manifests; a plan that was abandoned later is already, for the registry does
    not say when.

    Args:
        store: any.
        topology: the task graph.
        date: the business day.
        as_of: aware; nothing that was reported later is in the view.
        needs: of the past; the same need twice is read once.
        with_as_of: read the events up to `as_of`; False reads the records as they are, for an `as_of` of now.
        excluded_days: (task, day) that no baseline should hold, as those of incidents.
        holidays: days that no baseline should hold.
        skip_non_daily: leave out values that only a re-run or backfill brought.

    Raises:
        StoreError: the store cannot be read.
        ConfigError: a need's measure is none.
        ValueError: `as_of` is naive, or a need reaches back less than a day.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of {as_of} has no time zone; expected an aware time")
    _reach_back(needs)
    moment = as_of if with_as_of else None
    records = store.records(RecordQuery(date_from=date, date_to=date, as_of=moment))
    consumed = _consumed(records, topology, date)
    back = max((need.days for need in needs), default=0)
    days = {date - timedelta(days=number) for number in range(back + 1)} | {day for _, day, _ in consumed}
    plans = _plans(store, days, as_of)
    left_out = LeftOut(frozenset(holidays), frozenset(excluded_days), skip_non_daily)
    return View(
        topology=topology,
        date=date,
        as_of=as_of,
        records=records,
        other_days=_other_days(store, consumed, moment),
        plans=plans,
        expected=_expected(store, plans, date),
        history=_history(store, date, needs, CountingPlans(plans, as_of), moment, left_out),
    )


def leaf_history(
    store: RecordStore,
    view: View,
    task: str,
    measure: str,
    days: int,
    *,
    with_as_of: bool = True,
    excluded_days: Collection[tuple[str, Date]] = (),
    holidays: Collection[Date] = (),
    skip_non_daily: bool = True,
) -> Baseline:
    """Read the days before of one task leaf by leaf: where a drift that fired comes from.

    Args:
        store: the one the view was read from.
        view: tells the day, the moment and the topology.
        task: of which.
        measure: see `reporting.measures`.
        days: back from the view's day, >= 1.
        with_as_of: as in `scan`, as are the others.
        excluded_days: days of a task to leave out.
        holidays: days to leave out.
        skip_non_daily: leave out what only a re-run or backfill brought.

    Returns:
        Groups by the dimensions of the task's grain, in the order of `DIMENSIONS`.

    Raises:
        StoreError: the store cannot be read.
        ConfigError: there is no such task or measure.
        ValueError: `days` is below 1.
    """
    splits_by = view.topology.task(task).grain
    grain = tuple(dimension for dimension in DIMENSIONS if dimension in splits_by)
    need = Need(task, measure, grain, days)
    _reach_back([need])
    span = {view.date - timedelta(days=number) for number in range(1, days + 1)}
    plans = CountingPlans(_plans(store, span, view.as_of), view.as_of)
    moment = view.as_of if with_as_of else None
    left_out = LeftOut(frozenset(holidays), frozenset(excluded_days), skip_non_daily)
    return _history(store, view.date, [need], plans, moment, left_out).of(task, measure, grain, days)


def _reach_back(needs: Iterable[Need]) -> None:
    wrong = [need for need in needs if need.days < 1]
    if wrong:
        raise ValueError(f"{wrong[0]}: expected at least one day back")


def _consumed(records: Iterable[TaskRecord], topology: Topology, date: Date) -> set[tuple[str, Date, str]]:
    """Return (task, day, plan) of other days that the window tasks of the day have read."""
    window = {edge.target for edge in topology.edges if edge.law is Law.WINDOW}
    return {
        (consumed.task, consumed.date, consumed.planid)
        for record in records
        if record.key.task in window
        for consumed in record.consumed
        if consumed.date != date
    }


def _plans(store: RecordStore, days: Collection[Date], as_of: datetime) -> list[Plan]:
    """Return the plans that touch some days and existed at a moment, sorted by creation."""
    found = store.plans(min(days), max(days))
    return [plan for plan in found if plan.created_at <= as_of and any(day in days for day in plan.dates)]


def _other_days(
    store: RecordStore, consumed: Collection[tuple[str, Date, str]], moment: datetime | None
) -> list[TaskRecord]:
    """Return the records that were read on other days: one question, though the partitions lie apart."""
    if not consumed:
        return []
    tasks, days, planids = (sorted(set(values)) for values in zip(*consumed, strict=True))
    query = RecordQuery(tasks=tuple(tasks), planids=tuple(planids), date_from=days[0], date_to=days[-1], as_of=moment)
    return [
        record for record in store.records(query) if (record.key.task, record.key.date, record.key.planid) in consumed
    ]


def _expected(store: RecordStore, plans: Iterable[Plan], date: Date) -> dict[str, frozenset[Leaf]]:
    """Return the lines of the day in the manifests of the plans that touch it."""
    return {
        plan.planid: frozenset(leaf for leaf in store.expected(plan.planid) if leaf.date == date)
        for plan in plans
        if date in plan.dates
    }


def _history(
    store: RecordStore,
    date: Date,
    needs: Sequence[Need],
    plans: CountingPlans,
    moment: datetime | None,
    left_out: LeftOut,
) -> History:
    longest: dict[tuple[str, str, tuple[Dimension, ...]], Need] = {}
    for need in needs:
        known = longest.get(need[:3])
        if known is None or need.days > known.days:
            longest[need[:3]] = need
    baselines: dict[tuple[str, str, tuple[Dimension, ...]], Baseline] = {}
    for read in reads_of(longest.values()):
        past = _read_past(store, date, read, plans, moment)
        baselines |= {(need.task, need.measure, need.by): past.baseline(need, left_out) for need in read.needs}
    return History(baselines)


def _read_past(store: RecordStore, date: Date, read: Read, plans: CountingPlans, moment: datetime | None) -> Past:
    past = Past(read, date, plans)
    split = past.split_days()
    whole = RecordQuery(tasks=read.tasks, date_from=past.days[0], date_to=past.days[-1], as_of=moment)
    past.add(store.sums(whole, ("task", "date", *read.by, "planid"), read.measures), split)
    for day, tasks in split.items():
        leaves = RecordQuery(tasks=tasks, date_from=day, date_to=day, as_of=moment)
        past.add_leaves(store.sums(leaves, _LEAF, read.measures))
    return past
