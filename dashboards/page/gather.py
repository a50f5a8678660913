"""Read one day from the store and settle what is true of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from datetime import date as Date
from zoneinfo import ZoneInfo

from dashboards.page.facts import DayFacts, Lateness
from dashboards.page.relations import relations
from reporting.balance import Books, balance
from reporting.effective import EffectivePlans, leaf_of
from reporting.funnel import funnel
from reporting.ledger import BookReader, gather_books
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.topology import Topology


def gather_day(store: BookReader, topology: Topology, day: Date, now: datetime) -> DayFacts:
    """Read a day as it is at a moment; see `read_day`."""
    return at(read_day(store, topology, day), now)


def at(facts: DayFacts, now: datetime) -> DayFacts:
    """Return a day without the leaves that are not due yet: before its deadline, what is not there is in progress."""
    late = tuple(one for one in facts.late if one.reported_at is not None or one.due is None or now >= one.due)
    return facts._replace(late=late)


def read_day(store: BookReader, topology: Topology, day: Date) -> DayFacts:
    """Read a day, with every leaf that it owes, due or not; one without any plan has empty facts.

    Args:
        store: Where the records are.
        topology: The task graph that they are held against; records of tasks it does not know are left out.
        day: Which day.
    """
    books = _known(topology, gather_books(store, topology, day, day))
    effective = EffectivePlans(books.plans)
    counting = [record for record in books.records if effective.counts(record.key)]
    planid = {
        leaf: found.planid
        for leaf in _leaves(books, day)
        if leaf.task in topology.tasks and (found := effective.of(leaf)) is not None
    }
    expected = frozenset(leaf for leaf, plan in planid.items() if leaf in books.expected.get(plan, ()))
    closed = balance(topology, books)
    return DayFacts(
        date=day,
        plans=tuple(books.plans),
        records=tuple(books.records),
        counting=tuple(counting),
        planid=planid,
        expected=expected,
        funnel=tuple(funnel(topology, counting)),
        balance=closed,
        relations=relations(topology, counting, closed.residuals),
        late=tuple(_late(topology, books.plans, planid, expected, counting)),
    )


def _known(topology: Topology, books: Books) -> Books:
    """Leave out tasks that the graph no longer has: a renamed task's old days must not stop the page."""
    return replace(books, records=[record for record in books.records if record.key.task in topology.tasks])


def _leaves(books: Books, day: Date) -> set[Leaf]:
    """Return every leaf of a day that has a record, or that a manifest expects."""
    found = {leaf_of(record.key) for record in books.records}
    return found | {leaf for leaves in books.expected.values() for leaf in leaves if leaf.date == day}


def _late(
    topology: Topology,
    plans: Iterable[Plan],
    planid: Mapping[Leaf, str],
    expected: Set[Leaf],
    counting: Iterable[TaskRecord],
) -> Iterator[Lateness]:
    """Yield what is missing, in the order of the tasks, then what came late."""
    place = {task: number for number, task in enumerate(topology.order)}
    there = {leaf_of(record.key): record for record in counting}
    for leaf in sorted(expected - there.keys(), key=lambda leaf: (place[leaf.task], leaf)):
        yield Lateness(leaf, planid[leaf], due_at(topology, leaf), None)
    made_at = {plan.planid: plan.created_at for plan in plans}
    late = []
    for leaf, record in there.items():
        due = due_at(topology, leaf)
        # What a repair or a backfill does was asked for after the deadline: nobody is late by it.
        if due is not None and record.reported_at > due >= made_at[record.key.planid]:
            late.append(Lateness(leaf, record.key.planid, due, record.reported_at))
    yield from sorted(late, key=lambda one: (place[one.leaf.task], one.leaf))


def due_at(topology: Topology, leaf: Leaf) -> datetime | None:
    """Return when a leaf is due, in UTC: at its task's deadline on the next morning; None: it has none."""
    clock = topology.tasks[leaf.task].deadline
    if clock is None:
        return None
    morning = datetime.combine(leaf.date + timedelta(days=1), time.fromisoformat(clock), ZoneInfo(topology.timezone))
    return morning.astimezone(UTC)
