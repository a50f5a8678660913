"""The unit of work on SQL: records, events, outbox and a spoke's own rows in one transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from reporting import tables as t
from reporting.elastic.names import evaluation_id
from reporting.key import KEY_PARTS, RunKey
from reporting.outbox import Topic
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.stores.base import PutOutcome, decide_put
from reporting.stores.sql_changes import count_unlogged, counting_upsert
from reporting.stores.sql_hot import HotStatement
from reporting.verdict import Verdict

LEAVES_PER_ENTRY = 500
"""A day's manifest may have 100,000 lines: no entry of the outbox becomes much larger than the others."""

_KEY = (t.record.c.planid, t.record.c.task, t.record.c.date, t.record.c.category, t.record.c.subinstance)


def iso(moment: datetime) -> str:
    """Return the stored form of a time: UTC, microseconds, sortable as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def upsert(dialect: str, table: Any, keys: Sequence[str], rises: str | None = None, counts: str | None = None) -> Any:
    """Return an INSERT that overwrites the row with the same keys.

    Args:
        dialect: `sqlite` or `postgresql`.
        table: into which.
        keys: the primary key.
        rises: overwrite only where this column grows.
        counts: this column is 1 at first, goes up by one with each overwriting, and is returned.
    """
    insert = _insert(dialect, table)
    rest = [column.name for column in table.columns if column.name not in keys and column.name != counts]
    if counts is not None:
        return insert.on_conflict_do_update(
            index_elements=list(keys),
            set_={**{name: insert.excluded[name] for name in rest}, counts: table.c[counts] + 1},
        ).returning(table.c[counts])
    return insert.on_conflict_do_update(
        index_elements=list(keys),
        set_={name: insert.excluded[name] for name in rest},
        where=None if rises is None else table.c[rises] < insert.excluded[rises],
    )


def insert_new(dialect: str, table: Any) -> Any:
    """Return an INSERT that leaves an existing row as it is."""
    return _insert(dialect, table).on_conflict_do_nothing()


def _insert(dialect: str, table: Any) -> Any:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


class Statements:
    """The statements of a store, built once; those of the hot path compiled once too."""

    def __init__(self, engine: Engine):
        dialect = engine.dialect.name
        self.find_record = HotStatement(
            select(t.record.c.version, t.record.c.content_hash).where(
                *(column == bindparam(column.name) for column in _KEY)
            ),
            engine.dialect,
        )
        self.find_event = HotStatement(
            select(t.event.c.body).where(t.event.c.event_id == bindparam("event_id")), engine.dialect
        )
        newer = upsert(dialect, t.record, [column.name for column in _KEY], rises="version")
        self.put_record = HotStatement(_bound(newer, t.record), engine.dialect)
        self.add_event = HotStatement(_bound(insert_new(dialect, t.event), t.event), engine.dialect)
        self.add_outbox = HotStatement(_bound(t.outbox.insert().inline(), t.outbox), engine.dialect)
        self.put_plan = upsert(dialect, t.plan, ["planid"], counts="revision")
        self.put_day = insert_new(dialect, t.plan_day)
        self.expect = insert_new(dialect, t.expected_leaf)
        self.count_unlogged = counting_upsert(_insert(dialect, t.counter))
        self.put_verdict = upsert(dialect, t.verdict, ["verdict_id"], counts="revision")


def _bound(statement: Any, table: Any) -> Any:
    """Give an INSERT one parameter for each column but a serial key."""
    return statement.values({column.name: bindparam(column.name) for column in table.columns if column.name != "seq"})


class SqlUnitOfWork:
    """One open transaction. `connection` is for a spoke's own tables; it lives as long as the block."""

    def __init__(self, connection: Connection, statements: Statements, *, ships: bool = True):
        self.connection = connection
        self._sql = statements
        self._ships = ships

    def put_record(self, record: TaskRecord) -> PutOutcome:
        """See `UnitOfWork.put_record`."""
        body = record.model_dump_json()
        at = iso(record.reported_at)
        # One statement decides and writes, so that no other transaction comes in between: it writes nothing where
        # a version not below ours is stored, and only then must be looked at what that is.
        written = self._sql.put_record.run(self.connection, _row(record, at, body)).rowcount
        outcome = PutOutcome.STORED if written else self._decide(record)
        if outcome is not PutOutcome.REPEAT:
            if not self.add_event("record", record.key, record.version, at, body) and written:
                # It was deleted, and is back: its event is of the first time.
                count_unlogged(self.connection, self._sql.count_unlogged, [record.key.date])
            self.ship(Topic.RECORD, record.key.document_id(), record.version, body, at)
        return outcome

    def _decide(self, record: TaskRecord) -> PutOutcome:
        """Return REPEAT or OLDER for a record that was not written; an older version may itself be a repeat."""
        stored = self._sql.find_record.run(self.connection, _key_values(record.key)).fetchone()
        outcome = decide_put(None if stored is None else (stored[0], stored[1]), record)
        if outcome is PutOutcome.OLDER:
            event_id = _event_id("record", record.key, record.version)
            found = self._sql.find_event.run(self.connection, {"event_id": event_id}).fetchone()
            if found is not None:
                event = TaskRecord.model_validate_json(found[0])
                outcome = decide_put((event.version, event.content_hash()), record)
        return outcome

    def add_event(self, kind: str, key: RunKey, version: int, at: str, body: str) -> bool:
        """Append a fact about an attempt; return whether it is new: the same fact again is ignored."""
        event_id = _event_id(kind, key, version)
        added = self._sql.add_event.run(
            self.connection,
            {**_key_values(key), "event_id": event_id, "kind": kind, "version": version, "at": at, "body": body},
        )
        return bool(added.rowcount)

    def ship(self, topic: Topic, document_id: str, version: int, body: str, at: str) -> None:
        """Queue an entry for the shipper; it leaves only after this transaction commits. Nothing where none ships."""
        if not self._ships:
            return
        self._sql.add_outbox.run(
            self.connection,
            {"topic": topic.value, "document_id": document_id, "version": version, "body": body, "created_at": at},
        )

    def ship_evaluation(self, run_id: str, check_id: str, instance: str, result: str, at: str) -> None:
        """Queue what a check said of one instance; its row in `evaluation` is the caller's.

        Args:
            run_id: of the run.
            check_id: of the check.
            instance: within the check.
            result: as JSON.
            at: when, from `iso`.
        """
        body = f'{{"run_id": {json.dumps(run_id)}, "result": {result}}}'
        self.ship(Topic.EVALUATION, evaluation_id(run_id, check_id, instance), 0, body, at)

    def ship_incident(self, episode: str, revision: int, incident: str, at: str) -> None:
        """Queue an incident as it is now; its row in `incident` is the caller's.

        Args:
            episode: its key.
            revision: one more with each change.
            incident: as JSON.
            at: when, from `iso`.
        """
        self.ship(Topic.INCIDENT, episode, revision, incident, at)

    def put_plan(self, plan: Plan) -> None:
        """See `UnitOfWork.put_plan`."""
        body = plan.model_dump_json()
        revision = self.connection.execute(
            self._sql.put_plan,
            {
                "planid": plan.planid,
                "kind": plan.kind.value,
                "state": plan.state.value,
                "created_at": iso(plan.created_at),
                "completed_at": plan.completed_at and iso(plan.completed_at),
                "promoted_at": plan.promoted_at and iso(plan.promoted_at),
                "body": body,
            },
        ).scalar_one()
        self.connection.execute(
            self._sql.put_day,
            [{"planid": plan.planid, "date": day, "sealed_at": None, "split": None} for day in plan.dates],
        )
        self.ship(Topic.PLAN, plan.planid, revision, body, _now())

    def expect(self, planid: str, leaves: Iterable[Leaf]) -> None:
        """See `UnitOfWork.expect`."""
        rows = [{**leaf._asdict(), "planid": planid} for leaf in leaves]
        if rows:
            self.connection.execute(self._sql.expect, rows)
            count_unlogged(self.connection, self._sql.count_unlogged, [row["date"] for row in rows])
        for start in range(0, len(rows), LEAVES_PER_ENTRY):
            part = rows[start : start + LEAVES_PER_ENTRY]
            named = [[row["task"], row["date"].isoformat(), row["category"], row["subinstance"]] for row in part]
            body = json.dumps({"planid": planid, "leaves": named}, ensure_ascii=False)
            self.ship(Topic.EXPECTED, planid, 0, body, _now())

    def put_verdict(self, verdict: Verdict) -> None:
        """See `UnitOfWork.put_verdict`."""
        body = verdict.model_dump_json()
        at = iso(verdict.decided_at)
        revision = self.connection.execute(
            self._sql.put_verdict,
            {
                "verdict_id": verdict.verdict_id,
                "date": verdict.date,
                "planid": verdict.planid,
                "outcome": verdict.outcome.value,
                "decided_at": at,
                "body": body,
            },
        ).scalar_one()
        self.ship(Topic.VERDICT, verdict.verdict_id, revision, body, at)

    def delete_records(self, planid: str) -> int:
        """Delete a plan's records (not its events); return how many."""
        c = t.record.c
        statement = delete(t.record).where(c.planid == planid).returning(c.version, *_KEY)
        rows = self.connection.execute(statement).mappings().all()
        for row in rows:
            key = RunKey(**{part: row[part] for part in KEY_PARTS})
            body = json.dumps({"key": key.model_dump(mode="json")}, ensure_ascii=False)
            self.ship(Topic.DELETE, key.document_id(), row["version"], body, _now())
        count_unlogged(self.connection, self._sql.count_unlogged, [row["date"] for row in rows])
        return len(rows)


def _now() -> str:
    return iso(datetime.now(UTC))


def _key_values(key: RunKey) -> dict[str, Any]:
    return {
        "task": key.task,
        "date": key.date,
        "category": key.category,
        "subinstance": key.subinstance,
        "planid": key.planid,
    }


def _event_id(kind: str, key: RunKey, version: int) -> str:
    return hashlib.sha256(f"{'|'.join(key.parts())}|{version}|{kind}".encode()).hexdigest()[:32]


def _row(record: TaskRecord, at: str, body: str) -> dict[str, Any]:
    return {
        **_key_values(record.key),
        "state": record.state.value,
        "attempt": record.attempt,
        "version": record.version,
        "input": record.input,
        "output": record.output,
        "produced": record.produced,
        "dropped_total": record.dropped_total,
        "failed_total": record.failed_total,
        "seconds": record.seconds,
        "content_hash": record.content_hash(),
        "reported_at": at,
        "body": body,
    }
