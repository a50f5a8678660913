"""The instance table: the truth about every unit of work, and the queue that workers pull from.

Lease, heartbeat, fencing token: a claim gives the row to one worker for a while under a fresh token;
heartbeat and completion name that token, so a worker that lost its lease cannot change anything.
At-least-once execution, exactly-once visibility.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from datetime import date as Date
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, func, insert, or_, select, update

from pipeline.instance_sql import statements_for
from pipeline.instance_states import DONE, FAILED, READY, RUNNING, WAITING
from reporting import tables as t
from reporting.errors import StoreError
from reporting.key import RunKey
from reporting.plans import Plan
from reporting.record import version_of
from reporting.stores.sql_work import SqlUnitOfWork, iso

HELD = "held "
"""How the error of a ready instance begins that an incident holds; see `pipeline.holds`."""

_c = t.instance.c


class LeaseLost(StoreError):
    """Another worker has this instance now; the result of this attempt must be dropped."""


class Claim(NamedTuple):
    """One attempt of one instance, held under a fencing token."""

    instance_id: int
    key: RunKey
    attempt: int
    max_attempts: int
    token: str
    worker: str
    lease_until: float


def claim(
    work: SqlUnitOfWork,
    worker: str,
    now: float,
    lease_seconds: float,
    planids: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
) -> Claim | None:
    """Take the best ready instance, or one whose lease ran out; None when there is nothing to do.

    Args:
        work: an open transaction (on SQLite it holds the write lock).
        worker: who takes it.
        now: epoch seconds.
        lease_seconds: how long the lease holds without a heartbeat.
        planids: only these plans' instances.
        tasks: only these tasks' instances.
    """
    taken = _take(work, worker, now, lease_seconds, planids, tasks)
    if taken is None and reap(work, now, planids):
        taken = _take(work, worker, now, lease_seconds, planids, tasks)
    return taken


def _scope(planids: Sequence[str] | None, tasks: Sequence[str] | None) -> list[Any]:
    scope: list[Any] = []
    if planids is not None:
        scope.append(_c.planid.in_(planids))
    if tasks is not None:
        scope.append(_c.task.in_(tasks))
    return scope


def _take(
    work: SqlUnitOfWork,
    worker: str,
    now: float,
    lease_seconds: float,
    planids: Sequence[str] | None,
    tasks: Sequence[str] | None,
) -> Claim | None:
    sql = statements_for(work.connection.dialect)
    statement = sql.claim(None if planids is None else len(planids), None if tasks is None else len(tasks))
    token = uuid.uuid4().hex
    at = iso(datetime.fromtimestamp(now, UTC))
    values: dict[str, Any] = {
        "now": now,
        "token": token,
        "worker": worker,
        "lease_until": now + lease_seconds,
        "started_at": at,
    }
    values |= {f"plan_{n}": planid for n, planid in enumerate(planids or ())}
    values |= {f"task_{n}": task for n, task in enumerate(tasks or ())}
    row = statement.run(work.connection, values).fetchone()
    if row is None:
        return None
    key = _stored_key(row[1:6])
    sql.add_attempt.run(work.connection, {"instance_id": row[0], "attempt": row[6], "worker": worker, "started_at": at})
    work.add_event("running", key, version_of(row[6], 0), at, json.dumps({"worker": worker}))
    return Claim(row[0], key, row[6], row[7], token, worker, now + lease_seconds)


def _stored_key(parts: Sequence[Any]) -> RunKey:
    """Return the key of a row; its parts were checked when the row was written."""
    task, day, category, subinstance, planid = parts
    date = Date.fromisoformat(day) if isinstance(day, str) else day  # SQLite's driver gives text
    return RunKey.model_construct(task=task, date=date, category=category, subinstance=subinstance, planid=planid)


def heartbeat(connection: Connection, claimed: Claim, now: float, lease_seconds: float) -> bool:
    """Extend a lease; False when it was lost to another attempt."""
    result = connection.execute(
        update(t.instance)
        .where(_c.id == claimed.instance_id, _c.token == claimed.token, _c.state == RUNNING)
        .values(lease_until=now + lease_seconds)
    )
    return result.rowcount == 1


def complete(work: SqlUnitOfWork, claimed: Claim, *, artifact: str, inputs: str, built_with: str, now: float) -> bool:
    """Mark an attempt done, commit its artifact pointer and release what waited for it.

    Returns:
        True when nothing depends on this instance (its plan may be finished).

    Raises:
        LeaseLost: the token is no longer the instance's; the transaction must roll back.
    """
    at = iso(datetime.fromtimestamp(now, UTC))
    sql = statements_for(work.connection.dialect)
    values: dict[str, Any] = {
        "artifact": artifact,
        "inputs": inputs,
        "built_with": built_with,
        "error": None,
        "finished_at": at,
    }
    values |= {"i": claimed.instance_id, "held": claimed.token}
    if sql.finish.run(work.connection, values).rowcount != 1:
        raise LeaseLost(_lost(claimed))
    _close_attempt(work, claimed.instance_id, claimed.attempt, "done", None, at)
    released: int = sql.release.run(work.connection, {"i": claimed.instance_id}).rowcount
    return released == 0


def _lost(claimed: Claim) -> str:
    return f"{claimed.key}: attempt {claimed.attempt} of {claimed.worker} lost its lease; its result is dropped"


def give_up(work: SqlUnitOfWork, claimed: Claim, *, error: str, retry_at: float | None, now: float) -> None:
    """Book a failed attempt: ready again at `retry_at`, or quarantined as failed when that is None.

    Raises:
        LeaseLost: the token is no longer the instance's.
    """
    at = iso(datetime.fromtimestamp(now, UTC))
    if retry_at is None or claimed.attempt >= claimed.max_attempts:
        _finish(work, claimed, at, state=FAILED, error=error)
    else:
        _finish(work, claimed, at, state=READY, error=error, available_at=retry_at)


def _finish(work: SqlUnitOfWork, claimed: Claim, at: str, **values: Any) -> None:
    result = work.connection.execute(
        update(t.instance)
        .where(_c.id == claimed.instance_id, _c.token == claimed.token, _c.state == RUNNING)
        .values(**values, token=None, lease_until=None, finished_at=at)
    )
    if result.rowcount != 1:
        raise LeaseLost(_lost(claimed))
    _close_attempt(work, claimed.instance_id, claimed.attempt, "failed", values["error"], at)


def _close_attempt(
    work: SqlUnitOfWork, instance_id: int, number: int, outcome: str, error: str | None, at: str
) -> None:
    statements_for(work.connection.dialect).close_attempt.run(
        work.connection,
        {"i": instance_id, "number": number, "outcome": outcome, "error": error, "finished_at": at},
    )


def reap(work: SqlUnitOfWork, now: float, planids: Sequence[str] | None = None) -> int:
    """Take back leases that ran out; return how many."""
    return _take_back(work, [_c.lease_until < now, *_scope(planids, None)], now, "its lease ran out")


def release_worker(work: SqlUnitOfWork, worker: str, now: float) -> int:
    """Take back everything a worker held, when it is known to be dead; return how many."""
    return _take_back(work, [_c.worker == worker], now, f"worker {worker} died")


def _take_back(work: SqlUnitOfWork, where: list[Any], now: float, why: str) -> int:
    at = iso(datetime.fromtimestamp(now, UTC))
    rows = work.connection.execute(
        select(_c.id, _c.attempt, _c.max_attempts).where(_c.state == RUNNING, *where).with_for_update(skip_locked=True)
    ).all()
    for instance_id, number, limit in rows:
        spent = number >= limit
        work.connection.execute(
            update(t.instance)
            .where(_c.id == instance_id, _c.state == RUNNING, _c.attempt == number)
            .values(
                state=FAILED if spent else READY,
                token=None,
                lease_until=None,
                available_at=now,
                error=f"WorkerLost: attempt {number} of {limit}: {why}" if spent else None,
                finished_at=at,
            )
        )
        _close_attempt(work, instance_id, number, "lost", why, at)
    return len(rows)


def requeue(work: SqlUnitOfWork, planids: Sequence[str]) -> int:
    """Make the failed instances of plans ready again with fresh attempts allowed; return how many.

    What was held is asked for again at once.
    """
    held = and_(_c.planid.in_(planids), _c.state == READY, _c.error.like(f"{HELD}%"))
    work.connection.execute(update(t.instance).where(held).values(available_at=0.0, error=None))
    result = work.connection.execute(
        update(t.instance)
        .where(_c.planid.in_(planids), _c.state == FAILED)
        .values(state=READY, max_attempts=_c.attempt + 3, available_at=0.0, error=None)
    )
    return result.rowcount


class Progress(NamedTuple):
    """How many instances of one task of one plan are in each state."""

    planid: str
    task: str
    states: dict[str, int]


def progress(connection: Connection, planids: Sequence[str]) -> list[Progress]:
    """Return counts by plan, task and state."""
    rows = connection.execute(
        select(_c.planid, _c.task, _c.state, func.count())
        .where(_c.planid.in_(planids))
        .group_by(_c.planid, _c.task, _c.state)
    ).all()
    found: dict[tuple[str, str], dict[str, int]] = {}
    for planid, task, state, count in rows:
        found.setdefault((planid, task), {})[state] = count
    return [Progress(planid, task, states) for (planid, task), states in sorted(found.items())]


def claimable(connection: Connection, planids: Sequence[str] | None, tasks: Sequence[str] | None = None) -> bool:
    """Tell whether anything of these plans is ready or running: whether waiting makes sense.

    What an incident holds is not: only a person, or a repair, lets it go on.
    """
    ready = and_(_c.state == READY, or_(_c.error.is_(None), _c.error.not_like(f"{HELD}%")))
    statement = select(_c.id).where(or_(ready, _c.state == RUNNING), *_scope(planids, tasks)).limit(1)
    return connection.execute(statement).first() is not None


def failures(connection: Connection, planids: Sequence[str]) -> list[tuple[RunKey, str]]:
    """Return the quarantined instances of plans with their last error, in order of making."""
    rows = connection.execute(
        select(_c.task, _c.date, _c.category, _c.subinstance, _c.planid, _c.error)
        .where(_c.planid.in_(planids), _c.state == FAILED)
        .order_by(_c.id)
    ).all()
    return [
        (RunKey(task=r[0], date=r[1], category=r[2], subinstance=r[3], planid=r[4]), r[5] or "unknown error")
        for r in rows
    ]


add_dependencies = insert(t.dependency)
count_waits = (
    update(t.instance)
    .where(_c.id == bindparam("downstream"))
    .values(waiting_on=_c.waiting_on + bindparam("more"), state=WAITING)
)


def unfinished(connection: Connection, planid: str) -> bool:
    """Tell whether any instance of a plan is not done yet."""
    return connection.execute(select(_c.id).where(_c.planid == planid, _c.state != DONE).limit(1)).first() is not None


def load_plan(connection: Connection, planid: str) -> Plan:
    """Return a plan as this transaction sees it."""
    body = connection.execute(select(t.plan.c.body).where(t.plan.c.planid == planid)).scalar_one()
    return Plan.model_validate_json(body)


def blockers(connection: Connection, planids: Sequence[str]) -> list[str]:
    """Return what the waiting instances of plans wait for in other plans, as text."""
    upstream, downstream = t.instance.alias("upstream"), t.instance.alias("downstream")
    rows = connection.execute(
        select(
            downstream.c.task, downstream.c.date, upstream.c.planid, upstream.c.task, upstream.c.date, upstream.c.state
        )
        .select_from(t.dependency)
        .join(upstream, upstream.c.id == t.dependency.c.upstream_id)
        .join(downstream, downstream.c.id == t.dependency.c.downstream_id)
        .where(downstream.c.planid.in_(planids), downstream.c.state == WAITING)
        .where(upstream.c.planid.not_in(planids), upstream.c.state != DONE)
        .distinct()
    ).all()
    return [f"{r[0]} of {r[1]} waits for {r[3]} of {r[4]} in plan {r[2]}, which is {r[5]}" for r in rows]
