"""One run of the checks: read a day, judge it, and write what was found and what follows from it.

Judging is pure and acting apart; here both meet the store. All that a run writes is one transaction: a crash leaves
either nothing of it, or results, incidents and notices together.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date as Date
from datetime import datetime, timedelta
from typing import Any

from checks.acting import act as act_on
from checks.engine import explained, judge
from checks.incident_store import incident_days
from checks.incidents import Incident
from checks.kinds.drift import Drift
from checks.last_change import with_last_change
from checks.result import Result, Status, status_of
from checks.scan import leaf_history, scan
from checks.sinks.settings import SinkSettings
from checks.spec import LoadedChecks
from checks.view import View
from reporting import tables as t
from reporting.stores.base import RecordStore
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import SqlUnitOfWork, iso
from reporting.topology import Topology

MOST_LOCALISED = 20
"""Drifts of one run that are looked into leaf by leaf: each is one more question to the store."""


@dataclass(frozen=True)
class Run:
    """What a run came to.

    Attributes:
        run_id: Unique; its results carry it in the store.
        date: The business day.
        as_of: The moment the records are of.
        config_hash: Of the file of checks and the task graph.
        status: Of the run as a whole.
        results: In the file's order.
        started_at: When it began.
        incidents: Those it opened or changed, as they are now.
        told: Notices it has queued.
    """

    run_id: str
    date: Date
    as_of: datetime
    config_hash: str
    status: Status
    results: tuple[Result, ...]
    started_at: datetime
    incidents: tuple[Incident, ...] = ()
    told: int = 0


def run_checks(
    store: RecordStore,
    topology: Topology,
    loaded: LoadedChecks,
    date: Date,
    as_of: datetime | None,
    now: datetime,
    *,
    act: bool,
    books: SqlStore | None = None,
    sinks: Sequence[SinkSettings] = (),
) -> Run:
    """Judge a day, write every result, and where `act` is set open, change and resolve incidents.

    Args:
        store: Where records, plans and manifests are read.
        topology: The task graph.
        loaded: The checks.
        date: The business day.
        as_of: Judge what was known at this moment, from the events; None: what is known now, from the records.
        now: Aware.
        act: False leaves incidents as they are: for a moment of the past, and for people who only want to look.
        books: Where results and incidents are written; None: `store`, which must then be an SQL store.
        sinks: Who hears of incidents.

    Raises:
        StoreError: a store failed; nothing was written.
        TypeError: there is no SQL store to write to.
    """
    books = store if books is None and isinstance(store, SqlStore) else books
    if books is None:
        raise TypeError(f"{type(store).__name__} keeps no results; give an SQL store as `books`")
    began = time.perf_counter()
    found = judge_day(store, topology, loaded, date, as_of, now, books=books)
    rules = {check.id: check for check in loaded.file.checks}
    with books.begin() as work:
        if act:
            done = act_on(work, found.results, topology=topology, now=now, rules=rules, sinks=sinks)
            found = replace(found, incidents=tuple(done.incidents), told=len(done.notices))
        _write(work, found, now + timedelta(seconds=time.perf_counter() - began), act=act)
    return found


def judge_day(
    store: RecordStore,
    topology: Topology,
    loaded: LoadedChecks,
    date: Date,
    as_of: datetime | None,
    now: datetime,
    *,
    books: SqlStore | None = None,
) -> Run:
    """Judge a day and write nothing; for the arguments see `run_checks`.

    Args:
        store: Where records, plans and manifests are read.
        topology: The task graph.
        loaded: The checks.
        date: The business day.
        as_of: A moment of the past, or None.
        now: Aware.
        books: Where incidents are kept: days with an unmended one are in no baseline. None: there are none.
    """
    moment = now if as_of is None else as_of
    needs = [need for check in loaded.file.checks for need in check.needs(topology)]
    back = max((need.days for need in needs), default=0)
    past: dict[str, Any] = {
        "with_as_of": as_of is not None,
        "excluded_days": _incident_days(books, date, back),
        "holidays": loaded.file.holidays,
    }
    view = scan(store, topology, date, as_of=moment, needs=needs, **past)
    results = judge(loaded.file, view, loaded.config_hash)
    results = localise_drifts(store, view, loaded, results, past)
    results = with_last_change(store, view, results, as_of)
    return Run(
        run_id=_new_run_id(date, now),
        date=date,
        as_of=moment,
        config_hash=loaded.config_hash,
        status=status_of(results),
        results=tuple(results),
        started_at=now,
    )


def _new_run_id(date: Date, now: datetime) -> str:
    return f"{date:%Y%m%d}-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def book_unchanged(books: SqlStore, run: Run, now: datetime) -> Run:
    """Write that a day was looked at and is as a run has judged it; return the run of this look, without results.

    Args:
        books: Where runs are written.
        run: The one whose verdict stands.
        now: Aware; the moment that the verdict is of as well.

    Raises:
        StoreError: the store failed.
    """
    again = replace(run, run_id=_new_run_id(run.date, now), as_of=now, started_at=now, results=(), incidents=(), told=0)
    with books.begin() as work:
        _write(work, again, now, act=False, unchanged_since=run.run_id)
    return again


def _incident_days(books: SqlStore | None, date: Date, back: int) -> Collection[tuple[str, Date]]:
    if books is None or not back:
        return ()
    with books.read() as connection:
        return incident_days(connection, date - timedelta(days=back), date - timedelta(days=1))


def localise_drifts(
    store: RecordStore, view: View, loaded: LoadedChecks, results: Sequence[Result], past: dict[str, Any]
) -> list[Result]:
    """Say of each total that has drifted in which leaves: only now is the past read leaf by leaf, for these alone."""
    drifts = {check.id: check for check in loaded.file.checks if isinstance(check, Drift)}
    fired = [
        number
        for number, result in enumerate(results)
        if result.id in drifts and result.status in (Status.WARN, Status.FAIL) and not result.key.group
    ]
    found = list(results)
    for number in fired[:MOST_LOCALISED]:
        result = found[number]
        check, task = drifts[result.id], result.key.task
        grain = view.topology.task(task).grain
        if grain:
            leaves = leaf_history(store, view, task, check.measure, check.history, **past)
            table = check.series(view, task, grain, leaves).table()
            found[number] = explained(result, table, view.topology)
    return found


def _write(
    work: SqlUnitOfWork, found: Run, finished_at: datetime, *, act: bool, unchanged_since: str | None = None
) -> None:
    """Write the run and each of its results, also the passes: what was looked at is as much a fact as what broke."""
    counts = Counter(result.status.value for result in found.results)
    episodes = [one.episode for one in found.incidents]
    body: dict[str, Any] = {"counts": dict(sorted(counts.items())), "acted": act, "incidents": episodes}
    if unchanged_since is not None:
        body["unchanged_since"] = unchanged_since
    shared = {"run_id": found.run_id, "date": found.date, "as_of": iso(found.as_of), "config_hash": found.config_hash}
    work.connection.execute(
        t.check_run.insert().values(
            **shared,
            started_at=iso(found.started_at),
            finished_at=iso(finished_at),
            status=found.status.value,
            results=len(found.results),
            body=json.dumps(body, sort_keys=True),
        )
    )
    bodies = [_body(result) for result in found.results]
    rows = [
        {**shared, "check_id": one.id, "instance": one.instance, "status": one.status.value, "body": text}
        for one, text in zip(found.results, bodies, strict=True)
    ]
    if rows:
        work.connection.execute(t.evaluation.insert(), rows)
    for one, text in zip(found.results, bodies, strict=True):
        work.ship_evaluation(found.run_id, one.id, one.instance, text, iso(finished_at))


def _body(result: Result) -> str:
    """Return a result as JSON, without what has its default: a third of the size, and most results are passes.

    The version of the evaluator stands there always: its default changes.
    """
    told = result.model_dump(mode="json", exclude_defaults=True)
    return json.dumps({**told, "evaluator_version": result.evaluator_version}, ensure_ascii=False)
