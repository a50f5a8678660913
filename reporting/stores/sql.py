"""The store in SQLite or PostgreSQL."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date as Date
from typing import Any

from sqlalchemy import Connection, Engine, func, select, union

from reporting import tables as t
from reporting.key import KEY_PARTS, RunKey
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery, Sums, Totals
from reporting.stores.memory import latest, sum_by
from reporting.stores.sql_changes import Changed, Mark, changed_days
from reporting.stores.sql_engine import make_engine, reader, store_errors, upgrade
from reporting.stores.sql_sums import add_sums
from reporting.stores.sql_work import SqlUnitOfWork, Statements, iso
from reporting.stores.summing import Summing
from reporting.verdict import Verdict


class SqlStore:
    """Records, plans, instances and outbox in one SQL database. Thread-safe; share one a process."""

    def __init__(self, engine: Engine, *, ships: bool = True):
        self.engine = engine
        self.ships = ships
        self._reader = reader(engine)
        self.dialect = engine.dialect.name
        self.url = engine.url.render_as_string(hide_password=False)
        self._statements = Statements(engine)
        self._of_thread = threading.local()
        self._writers: weakref.WeakSet[Connection] = weakref.WeakSet()

    @classmethod
    def open(cls, url: str, *, ships: bool = True) -> SqlStore:
        """Open a store, building or migrating its tables.

        Args:
            url: see `open_store`.
            ships: whether what is written is queued in the outbox; without a cluster nothing would ever empty it.

        Raises:
            ConfigError: the URL is not one of ours.
            StoreError: the database cannot be reached or migrated.
        """
        engine = make_engine(url)
        try:
            upgrade(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, ships=ships)

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._writers):
            connection.close()
        self.engine.dispose()

    def __enter__(self) -> SqlStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def begin(self) -> Iterator[SqlUnitOfWork]:
        """Open a transaction; SQLite takes the write lock at once (BEGIN IMMEDIATE)."""
        with store_errors("store"):
            # A pooled PostgreSQL connection is tested before it is used again; a SQLite file cannot go away.
            opened = self._writer().begin() if self.dialect == "sqlite" else self.engine.begin()
            with opened as started:
                connection = started if isinstance(started, Connection) else started.connection
                yield SqlUnitOfWork(connection, self._statements, ships=self.ships)

    def _writer(self) -> Connection:
        """Return this thread's writing connection: taking one from the pool costs a tenth of a claim and completion."""
        connection: Connection | None = getattr(self._of_thread, "writer", None)
        if connection is None or connection.closed:
            connection = self.engine.connect()
            self._of_thread.writer = connection
            self._writers.add(connection)
        return connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection for reading, without a transaction."""
        with store_errors("store"), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Yield a connection for reading whose statements all see one state; writers are not held up."""
        if self.dialect == "sqlite":
            with self.read() as connection:
                connection.exec_driver_sql("BEGIN")
                try:
                    yield connection
                finally:
                    connection.exec_driver_sql("ROLLBACK")
            return
        frozen = self.engine.execution_options(isolation_level="REPEATABLE READ")
        with store_errors("store"), frozen.connect() as connection:
            yield connection

    def get_record(self, key: RunKey) -> TaskRecord | None:
        """See `RecordStore.get_record`."""
        where = [getattr(t.record.c, part) == getattr(key, part) for part in KEY_PARTS]
        with self.read() as connection:
            body = connection.execute(select(t.record.c.body).where(*where)).scalar()
        return None if body is None else TaskRecord.model_validate_json(body)

    def records(self, query: RecordQuery) -> list[TaskRecord]:
        """See `RecordStore.records`."""
        found = [TaskRecord.model_validate_json(body) for body in self.bodies(query)]
        if query.as_of is not None:
            found = list(latest(found).values())
        return sorted(found, key=lambda record: record.key.parts())

    def bodies(self, query: RecordQuery) -> Sequence[str]:
        """Return the JSON of records, in any order; with `as_of` of every version until then."""
        table = t.record if query.as_of is None else t.event
        where = _where(table, query)
        if query.as_of is not None:
            where += [t.event.c.kind == "record", t.event.c.at <= iso(query.as_of)]
        with self.read() as connection:
            return connection.execute(select(table.c.body).where(*where)).scalars().all()

    def totals(self, query: RecordQuery, by: Sequence[str]) -> list[Totals]:
        """See `RecordStore.totals`."""
        if query.as_of is not None:
            return sum_by(self.records(query), by)
        c = t.record.c
        sums = [func.coalesce(func.sum(x), 0) for x in (c.input, c.output, c.produced, c.dropped_total, c.failed_total)]
        groups = [getattr(c, part) for part in by]
        statement = select(*groups, func.count(), *sums).where(*_where(t.record, query)).group_by(*groups)
        with self.read() as connection:
            rows = connection.execute(statement).all()
        names = ("records", "input", "output", "produced", "dropped", "failed")
        found = [
            Totals(
                group=tuple(str(value) for value in row[: len(groups)]),
                **{name: int(value) for name, value in zip(names, row[len(groups) :], strict=True)},
            )
            for row in rows
            if row[len(groups)]
        ]
        return sorted(found, key=lambda total: total.group)

    def sums(self, query: RecordQuery, by: Sequence[str], measures: Sequence[str]) -> list[Sums]:
        """See `RecordStore.sums`."""
        summing = Summing(by, measures)
        with self.snapshot() as connection:
            add_sums(connection, summing, query, lambda table: _where(table, query))
        return summing.results()

    def history(self, key: RunKey) -> list[TaskRecord]:
        """See `RecordStore.history`."""
        where = [getattr(t.event.c, part) == getattr(key, part) for part in KEY_PARTS]
        statement = select(t.event.c.body).where(t.event.c.kind == "record", *where).order_by(t.event.c.seq)
        with self.read() as connection:
            return [TaskRecord.model_validate_json(body) for body in connection.execute(statement).scalars()]

    def plans(self, date_from: Date | None = None, date_to: Date | None = None) -> list[Plan]:
        """See `RecordStore.plans`."""
        days = select(t.plan_day.c.planid)
        if date_from is not None:
            days = days.where(t.plan_day.c.date >= date_from)
        if date_to is not None:
            days = days.where(t.plan_day.c.date <= date_to)
        statement = (
            select(t.plan.c.body).where(t.plan.c.planid.in_(days)).order_by(t.plan.c.created_at, t.plan.c.planid)
        )
        with self.read() as connection:
            return [Plan.model_validate_json(body) for body in connection.execute(statement).scalars()]

    def get_plan(self, planid: str) -> Plan | None:
        """See `RecordStore.get_plan`."""
        with self.read() as connection:
            body = connection.execute(select(t.plan.c.body).where(t.plan.c.planid == planid)).scalar()
        return None if body is None else Plan.model_validate_json(body)

    def expected(self, planid: str) -> set[Leaf]:
        """See `RecordStore.expected`."""
        c = t.expected_leaf.c
        with self.read() as connection:
            rows = connection.execute(select(c.task, c.date, c.category, c.subinstance).where(c.planid == planid)).all()
        return {Leaf(*row) for row in rows}

    def delete_plan_records(self, planid: str) -> int:
        """See `RecordStore.delete_plan_records`."""
        with self.begin() as work:
            return work.delete_records(planid)

    def verdicts(self, planid: str) -> list[Verdict]:
        """See `RecordStore.verdicts`."""
        statement = (
            select(t.verdict.c.body)
            .where(t.verdict.c.planid == planid)
            .order_by(t.verdict.c.decided_at, t.verdict.c.verdict_id)
        )
        with self.read() as connection:
            return [Verdict.model_validate_json(body) for body in connection.execute(statement).scalars()]

    def revision(self, day: Date) -> int:
        """See `Registry.revision`."""
        mine = select(t.plan_day.c.planid).where(t.plan_day.c.date == day)
        statement = select(func.coalesce(func.sum(t.plan.c.revision), 0)).where(t.plan.c.planid.in_(mine))
        with self.read() as connection:
            return int(connection.execute(statement).scalar_one())

    def changed_days(self, known: Mark | None) -> Changed:
        """See `sql_changes.changed_days`."""
        with self.snapshot() as connection:
            return changed_days(connection, known)

    def leaves(self, day: Date) -> Iterator[Leaf]:
        """See `Registry.leaves`."""
        mine = select(t.plan_day.c.planid).where(t.plan_day.c.date == day)
        e, r = t.expected_leaf.c, t.record.c
        statement = union(
            select(e.task, e.date, e.category, e.subinstance).where(e.planid.in_(mine), e.date == day),
            select(r.task, r.date, r.category, r.subinstance).where(r.date == day),
        )
        with self.read() as connection:
            for row in connection.execute(statement):
                yield Leaf(*row)

    def split_text(self, planid: str, day: Date) -> str | None:
        """Return the sealed split of a plan's day as JSON, or None before it is sealed."""
        c = t.plan_day.c
        with self.read() as connection:
            return connection.execute(select(c.split).where(c.planid == planid, c.date == day)).scalar()


def _where(table: Any, query: RecordQuery) -> list[Any]:
    conditions = []
    for part, values in (
        ("task", query.tasks),
        ("category", query.categories),
        ("subinstance", query.subinstances),
        ("planid", query.planids),
    ):
        if values is not None:
            conditions.append(table.c[part].in_(values))
    if query.date_from is not None:
        conditions.append(table.c.date >= query.date_from)
    if query.date_to is not None:
        conditions.append(table.c.date <= query.date_to)
    return conditions
