"""Which days have changed: whoever keeps what it once read of a day asks here what to read anew.

A record is written together with its event; what changes without one (a manifest grows, records are deleted, a deleted
one comes back) is counted by day in the table `counter`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date as Date
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, text

from reporting import tables as t

_UNLOGGED = "unlogged:"
"""Begins the names of the counters of changes that have no event; the day follows."""


class Mark(NamedTuple):
    """How much of a store's history is known."""

    seq: int | None
    """Of the newest event; None: while it was asked for, others were writing, so that any may still come."""
    revisions: Mapping[str, int]
    """By plan."""
    unlogged: Mapping[str, int]
    """By day."""


class Changed(NamedTuple):
    """What happened since a mark."""

    mark: Mark
    """How far the history goes now."""
    days: frozenset[Date] | None
    """Of which anything changed; None: any day may have."""
    planned: frozenset[Date] = frozenset()
    """Those among them of which a plan, a manifest or records without an event changed; the others have new records."""


def changed_days(connection: Connection, known: Mark | None) -> Changed:
    """Return how far the history goes now, and the days of which anything changed since a mark.

    Records, manifests and plans are what counts as a change. Ask first, then read: what changes in between is told
    by the next call. A handful of statements, whose cost depends on how much has changed, not on how much there is.

    Args:
        connection: from `SqlStore.snapshot`.
        known: what the last call returned; None: nothing is known.
    """
    plans = connection.execute(select(t.plan.c.planid, t.plan.c.revision)).all()
    revisions = {one.planid: one.revision for one in plans}
    counters = select(t.counter.c.name, t.counter.c.next).where(t.counter.c.name.startswith(_UNLOGGED))
    unlogged = {name.removeprefix(_UNLOGGED): count for name, count in connection.execute(counters)}
    newest = connection.execute(select(func.coalesce(func.max(t.event.c.seq), 0))).scalar_one()
    seq = newest if _is_quiet(connection) else None if known is None else known.seq
    mark = Mark(seq, revisions, unlogged)
    if known is None or known.seq is None:
        return Changed(mark, None)
    events = select(t.event.c.date).where(t.event.c.seq > known.seq, t.event.c.kind == "record").distinct()
    booked = frozenset(connection.execute(events).scalars())
    planned = {Date.fromisoformat(day) for day in _different(unlogged, known.unlogged)}
    touched = _different(revisions, known.revisions)
    if touched:
        of_plans = select(t.plan_day.c.date).where(t.plan_day.c.planid.in_(touched)).distinct()
        planned |= set(connection.execute(of_plans).scalars())
    return Changed(mark, booked | planned, frozenset(planned))


def count_unlogged(connection: Connection, upsert: Any, days: Iterable[Date]) -> None:
    """Tell that something of some days has changed that no event tells of.

    Args:
        connection: of the transaction that changes it.
        upsert: from `counting_upsert`.
        days: in any order; they are counted in their own, so that two transactions do not wait for each other.
    """
    for day in sorted(set(days)):
        connection.execute(upsert, {"name": f"{_UNLOGGED}{day.isoformat()}", "next": 1})


def counting_upsert(insert: Any) -> Any:
    """Return the statement that counts one more, from an INSERT into `counter` of the dialect."""
    return insert.on_conflict_do_update(index_elements=["name"], set_={"next": t.counter.c.next + 1})


def _is_quiet(connection: Connection) -> bool:
    """Tell whether every number given out so far belongs to an event that can be seen, or to none.

    SQLite has one writer at a time. PostgreSQL numbers events when they are written, not when they are committed.
    """
    if connection.dialect.name == "sqlite":
        return True
    alone = "SELECT pg_snapshot_xmin(now) = pg_snapshot_xmax(now) FROM pg_current_snapshot() AS now"
    return bool(connection.execute(text(alone)).scalar_one())


def _different(new: Mapping[str, int], old: Mapping[str, int]) -> list[str]:
    return [name for name in new.keys() | old.keys() if new.get(name) != old.get(name)]
