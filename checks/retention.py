"""Old evaluations are deleted: what was judged is kept for some months, what came of it for ever.

Only rows of `check_run` and `evaluation` go, by when their run began. Of a business day that has an open incident all
stay. Incidents, their history, notices and marks are never deleted, and neither is what was shipped to Elasticsearch.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Connection, Select, delete, func, select

from checks.incidents import OPEN_STATES
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import iso
from reporting.tables import check_run, evaluation, incident

ROWS_AT_ONCE = 5000
"""Evaluations deleted in one transaction, about: who wants to write meanwhile waits for a tenth of a second."""
_RUNS_AT_ONCE = 500


class Prunable(BaseModel):
    """What is old enough to be deleted.

    Attributes:
        before: Runs that began before then.
        runs: Of them.
        evaluations: Of these runs.
        oldest: When the first of them began; None where there is none.
        kept_days: Business days whose old runs stay, for they have an open incident.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: datetime
    runs: int
    evaluations: int
    oldest: datetime | None
    kept_days: tuple[Date, ...]


class Pruned(NamedTuple):
    """What was deleted."""

    runs: int
    evaluations: int
    is_done: bool
    """False where more is left."""


def prunable(store: SqlStore, before: datetime) -> Prunable:
    """Return what `prune` would delete.

    Args:
        store: Whose evaluations.
        before: Aware.
    """
    c = check_run.c
    old = c.started_at < iso(before)
    counts = select(func.count(), func.coalesce(func.sum(c.results), 0), func.min(c.started_at)).where(*_old(before))
    kept = select(c.date).where(old, c.date.in_(_open_days())).distinct().order_by(c.date)
    with store.read() as connection:
        runs, evaluations, oldest = connection.execute(counts).one()
        days = tuple(connection.execute(kept).scalars())
    return Prunable(
        before=before,
        runs=runs,
        evaluations=int(evaluations),
        oldest=None if oldest is None else datetime.fromisoformat(oldest),
        kept_days=days,
    )


def prune(store: SqlStore, before: datetime, *, most_batches: int | None = None) -> Pruned:
    """Delete runs that began before a moment, the oldest first, with their evaluations; a transaction a batch.

    A crash leaves whole runs; two at once delete each of them once.

    Args:
        store: Whose evaluations.
        before: Aware.
        most_batches: Stop after so many; None: when all is done.

    Raises:
        StoreError: the store failed; batches before that are deleted.
    """
    runs = evaluations = batches = 0
    while most_batches is None or batches < most_batches:
        with store.begin() as work:
            chosen = _next_batch(work.connection, before)
            if not chosen:
                return Pruned(runs, evaluations, is_done=True)
            evaluations += _deleted(work.connection, evaluation, chosen)
            runs += _deleted(work.connection, check_run, chosen)
        batches += 1
    return Pruned(runs, evaluations, is_done=False)


def _next_batch(connection: Connection, before: datetime) -> list[str]:
    """Return the oldest runs that go, so many as have about `ROWS_AT_ONCE` evaluations, one at least."""
    c = check_run.c
    oldest = select(c.run_id, c.results).where(*_old(before)).order_by(c.started_at, c.run_id).limit(_RUNS_AT_ONCE)
    chosen: list[str] = []
    rows = 0
    for run_id, results in connection.execute(oldest):
        rows += results
        if chosen and rows > ROWS_AT_ONCE:
            break
        chosen.append(run_id)
    return chosen


def _deleted(connection: Connection, table: Any, runs: Sequence[str]) -> int:
    return int(connection.execute(delete(table).where(table.c.run_id.in_(runs))).rowcount)


def _old(before: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    c = check_run.c
    return c.started_at < iso(before), c.date.not_in(_open_days())


def _open_days() -> Select[tuple[Any]]:
    return select(incident.c.date).where(incident.c.state.in_([state.value for state in OPEN_STATES]))
