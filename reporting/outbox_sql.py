"""The outbox as a table of the SQL store: entries are written in the transaction of what they carry."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Table, delete, func, insert, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from reporting import tables as t
from reporting.outbox import Entry, Fate, OutboxStatus, Outcome, Topic
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import SqlUnitOfWork, iso

LEASE = "shipper"
_SHIPPED = "shipped"
_DELETED_AT_ONCE = 500


class SqlOutbox:
    """See `outbox.Outbox`. Any number of processes may hold one; the lease lets one of them ship.

    Args:
        store: whose outbox.
        clock: seconds since the epoch; only the lease looks at it. Clocks that differ between machines may give two
            shippers the lease at once: they repeat each other's deliveries, and neither loses nor doubles one.
    """

    def __init__(self, store: SqlStore, clock: Callable[[], float] = time.time):
        self._store = store
        self._clock = clock

    def peek(self, limit: int, max_bytes: int) -> list[Entry]:
        """See `Outbox.peek`."""
        statement = select(t.outbox).order_by(t.outbox.c.seq).limit(limit)
        found: list[Entry] = []
        size = 0
        with self._store.read() as connection:
            for row in connection.execute(statement):
                size += len(row.body)
                if found and size > max_bytes:
                    break
                found.append(Entry(row.seq, row.topic, row.document_id, row.version, row.body, row.created_at))
        return found

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """See `Outbox.settle`."""
        done = [outcome for outcome in outcomes if outcome.fate in (Fate.DELIVERED, Fate.STALE)]
        dead = [outcome for outcome in outcomes if outcome.fate in (Fate.POISON, Fate.CONFLICT)]
        if not done and not dead:
            return
        with self._store.begin() as work:
            # Two shippers may settle the same entry: only the rows that this one removed are counted and put aside.
            removed = self._remove(work, [outcome.entry for outcome in (*done, *dead)])
            self._put_aside(work, [outcome for outcome in dead if outcome.entry.seq in removed])
            self._count(work, sum(outcome.entry.seq in removed for outcome in done))

    def _remove(self, work: SqlUnitOfWork, entries: Sequence[Entry]) -> set[int]:
        """Remove entries that are still there; return their numbers.

        A number alone does not name an entry: SQLite gives those of removed rows out again, and the other shipper may
        have settled this one since.
        """
        c = t.outbox.c
        gone: set[int] = set()
        for start in range(0, len(entries), _DELETED_AT_ONCE):
            part = entries[start : start + _DELETED_AT_ONCE]
            same = tuple_(c.seq, c.topic, c.document_id, c.version, c.created_at).in_(
                [(one.seq, one.topic, one.document_id, one.version, one.created_at) for one in part]
            )
            # The first condition is the one that both databases find by the primary key.
            mine = delete(t.outbox).where(c.seq.in_([one.seq for one in part]), same).returning(c.seq)
            gone.update(work.connection.execute(mine).scalars())
        return gone

    def _put_aside(self, work: SqlUnitOfWork, outcomes: Sequence[Outcome]) -> None:
        now = iso(datetime.now(UTC))
        for outcome in outcomes:
            row = {**outcome.entry._asdict(), "fate": outcome.fate.value, "error": outcome.error, "died_at": now}
            del row["seq"]
            work.connection.execute(insert(t.outbox_dead).values(row))

    def _count(self, work: SqlUnitOfWork, number: int) -> None:
        insert_row = self._insert(t.counter).values(name=_SHIPPED, next=number)
        total = t.counter.c.next + insert_row.excluded.next
        work.connection.execute(insert_row.on_conflict_do_update(index_elements=["name"], set_={"next": total}))

    def _insert(self, table: Table) -> Any:
        return sqlite.insert(table) if self._store.dialect == "sqlite" else postgresql.insert(table)

    def status(self) -> OutboxStatus:
        """See `Outbox.status`."""
        c = t.outbox.c
        size = func.coalesce(func.sum(func.length(c.body)), 0)
        with self._store.read() as connection:
            pending, oldest, size_bytes = connection.execute(select(func.count(), func.min(c.created_at), size)).one()
            dead = connection.execute(select(func.count()).select_from(t.outbox_dead)).scalar_one()
            shipped = connection.execute(select(t.counter.c.next).where(t.counter.c.name == _SHIPPED)).scalar() or 0
        age = None if oldest is None else (datetime.now(UTC) - datetime.fromisoformat(oldest)).total_seconds()
        return OutboxStatus(
            pending=pending,
            oldest_seconds=age if age is None else max(0.0, age),
            quarantined=dead,
            shipped=shipped,
            bytes=int(size_bytes),
        )

    def lead(self, owner: str, seconds: float) -> bool:
        """See `Outbox.lead`."""
        c = t.lease.c
        now = self._clock()
        row = self._insert(t.lease).values(name=LEASE, owner=owner, until=now + seconds)
        # One statement, so that of two who ask while nobody leads one is told no.
        taken = row.on_conflict_do_update(
            index_elements=["name"],
            set_={"owner": row.excluded.owner, "until": row.excluded.until},
            where=(c.owner == owner) | (c.until <= now),
        ).returning(c.owner)
        with self._store.begin() as work:
            return work.connection.execute(taken).scalar() is not None

    def resign(self, owner: str) -> None:
        """See `Outbox.resign`."""
        with self._store.begin() as work:
            work.connection.execute(delete(t.lease).where(t.lease.c.name == LEASE, t.lease.c.owner == owner))

    def dead(self) -> list[Outcome]:
        """See `Outbox.dead`."""
        c = t.outbox_dead.c
        with self._store.read() as connection:
            rows = connection.execute(select(t.outbox_dead).order_by(c.id)).all()
        return [
            Outcome(Entry(r.id, r.topic, r.document_id, r.version, r.body, r.created_at), Fate(r.fate), r.error)
            for r in rows
        ]

    def revive(self) -> int:
        """See `Outbox.revive`."""
        c = t.outbox_dead.c
        columns = (c.topic, c.document_id, c.version, c.body, c.created_at)
        with self._store.begin() as work:
            # What a shipper puts aside meanwhile is not among the removed, and stays.
            removed = work.connection.execute(delete(t.outbox_dead).returning(c.id, *columns)).all()
            for row in sorted(removed, key=lambda one: one.id):
                work.connection.execute(insert(t.outbox).values({one.name: getattr(row, one.name) for one in columns}))
        return len(removed)

    def queue(self, entries: Sequence[Entry]) -> None:
        """Put entries in, as they are (for `replay`); their seq is given anew."""
        with self._store.begin() as work:
            for entry in entries:
                work.ship(Topic(entry.topic), entry.document_id, entry.version, entry.body, entry.created_at)
