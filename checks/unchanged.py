"""Whether a business day would be judged as it was: nothing that a judgement reads has changed since.

A judgement is a function of records, plans, manifests, incidents (what people said; days that no baseline holds), the
rules, and the moment. The first four are read off numbers that change with each of their changes, at the cost of a few
look-ups instead of the day's records; the rules are those of the process. Of the moment it depends in steps only:
deadlines that pass, snoozes that end, plans dated ahead of our clock. Counting what has passed makes these numbers too.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date as Date
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from checks.incidents import OPEN_STATES, Incident
from checks.kinds.complete import Complete
from checks.kinds.fresh import Fresh, due_at
from checks.spec import LoadedChecks
from reporting.stores.base import RecordStore
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import iso
from reporting.tables import event, expected_leaf, incident, plan, plan_day, record
from reporting.topology import Topology

_RECENT = 10_000
"""Events before the newest that are counted: PostgreSQL numbers them when they are written, and shows them when their
transaction ends, so that one may turn up behind a newer one."""
_SNOOZED = '"snooze":{'


class Ground(NamedTuple):
    """What a judgement stands on: two that are equal would be judged alike."""

    newest_event: int
    """Of the events of records, of any day."""
    recent_events: int
    day_records: int
    plans: tuple[int, int]
    """How many there are, and the sum of their revisions, which only rise."""
    plan_turns: tuple[int, int, int]
    """How many plans were created, completed and promoted by the moment."""
    expected: int
    """Lines in the manifests of the plans that touch the day."""
    incidents: tuple[int, int]
    """As of the plans."""
    woken: int
    """Open incidents whose snooze is over."""
    deadlines: int
    """Of the day that have passed."""


def ground_of(
    records: RecordStore, books: SqlStore, topology: Topology, loaded: LoadedChecks, day: Date, now: datetime
) -> Ground | None:
    """Return what a judgement of a day would stand on; None where the store cannot tell, as Elasticsearch cannot.

    Read it before judging: what is written meanwhile makes the next one another.

    Args:
        records: Where records, plans and manifests are.
        books: Where incidents are.
        topology: The task graph.
        loaded: The checks.
        day: The business day.
        now: Aware.

    Raises:
        StoreError: a store cannot be read.
    """
    if not isinstance(records, SqlStore):
        return None
    with records.read() as connection:
        newest, recent = _events(connection)
        booked = _count(connection, record, record.c.date == day)
        plans, turns = _revisions(connection, plan), _turns(connection, now)
        touching = select(plan_day.c.planid).where(plan_day.c.date == day)
        expected = _count(connection, expected_leaf, expected_leaf.c.planid.in_(touching))
    with books.read() as connection:
        incidents, woken = _revisions(connection, incident), _woken(connection, now)
    passed = sum(moment <= now for moment in clock_moments(topology, loaded, day))
    return Ground(newest, recent, booked, plans, turns, expected, incidents, woken, passed)


def clock_moments(topology: Topology, loaded: LoadedChecks, day: Date) -> Iterator[datetime]:
    """Yield the moments from which on equal records of a day may be judged otherwise, in UTC."""
    for check in loaded.file.checks:
        if not (isinstance(check, Fresh) or (isinstance(check, Complete) and check.deadline)):
            continue
        for one in check.expand(topology):
            clock = topology.task(one.task).deadline
            if clock is None:
                continue
            due = due_at(day, clock, topology.timezone, check.deadline_days)
            grace = timedelta(minutes=check.grace)
            if isinstance(check, Fresh):
                yield from (due - grace, due)
            else:
                yield due + grace + timedelta.resolution  # a leaf may be missing until then, that moment included


def _events(connection: Connection) -> tuple[int, int]:
    c = event.c
    is_record = c.kind == "record"
    newest = connection.execute(select(c.seq).where(is_record).order_by(c.seq.desc()).limit(1)).scalar() or 0
    return newest, _count(connection, event, is_record, c.seq > newest - _RECENT)


def _count(connection: Connection, table: Any, *where: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def _revisions(connection: Connection, table: Any) -> tuple[int, int]:
    statement = select(func.count(), func.coalesce(func.sum(table.c.revision), 0))
    count, revisions = connection.execute(statement).one()
    return int(count), int(revisions)


def _turns(connection: Connection, now: datetime) -> tuple[int, int, int]:
    c, moment = plan.c, iso(now)
    created, completed, promoted = (
        _count(connection, plan, column <= moment) for column in (c.created_at, c.completed_at, c.promoted_at)
    )
    return created, completed, promoted


def _woken(connection: Connection, now: datetime) -> int:
    c = incident.c
    is_open = c.state.in_([state.value for state in OPEN_STATES])
    bodies = connection.execute(select(c.body).where(is_open, c.body.contains(_SNOOZED, autoescape=True))).scalars()
    found = [Incident.model_validate_json(body) for body in bodies]
    return sum(one.snooze is not None and not one.is_snoozed(now) for one in found)
