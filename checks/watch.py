"""Watching: the last days are judged again and again, notices go out, and somebody can ask whether that still happens.

A tick is a function of the stores and the moment; the clock that calls it is `checks.clock`. Of any number of watchers
one leads. A day that would be judged as before (`checks.unchanged`) is only looked at. Every look leaves a row in the
table check_run, also when all has passed: `alive` counts these against those that should be there, so that a checker
that has died is noticed by whoever asks, and cannot pass for a quiet day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date as Date
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from checks import notices
from checks.deliver import deliver
from checks.handling import expire
from checks.incident_store import known_incidents, write_step
from checks.moments import business_days, overdue_at
from checks.reminders import remind
from checks.repost import repost
from checks.retention import prune
from checks.run import Run, book_unchanged, run_checks
from checks.sinks.base import Sink
from checks.sinks.settings import SinkSettings
from checks.spec import LoadedChecks
from checks.unchanged import Ground, ground_of
from reporting.errors import EXIT_FAILED, EXIT_OK, FunnelgateError
from reporting.logs import logger
from reporting.stores.base import RecordStore
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import iso
from reporting.tables import check_run
from reporting.topology import Topology

LEASE = "checks watch"
"""Name of the lease that the leading watcher holds."""
EXPIRE_DAYS = 30
"""An open incident of a day so long ago is ended: nothing judges that day any more."""
JUDGE_EVERY = timedelta(hours=1)
"""A day is judged after this time though nothing seems to have changed: no rule of ours is trusted for longer."""
PRUNE_BATCHES = 20
"""Of old evaluations that one tick deletes; what is left waits for the next."""
_log = logger("watch")


class Ran(BaseModel):
    """One run of a tick."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: Date
    run_id: str
    status: str
    incidents: int
    """Opened or changed."""
    judged: bool = True
    """False: nothing has changed since the day was judged, whose status this is."""


class Tick(BaseModel):
    """What one look came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    leader: bool
    """False: another watcher leads, and this tick did nothing."""
    runs: tuple[Ran, ...] = ()
    sent: int = 0
    retried: int = 0
    dead: int = 0
    reposted: int = 0
    expired: int = 0
    reminded: int = 0
    """Notices queued for what nobody has taken; they are among those sent."""
    pruned: int = 0
    """Old evaluations deleted."""
    errors: tuple[str, ...] = ()
    """Days that could not be judged, sinks that could not be reached, each with the reason; the rest was done."""


class _Judged(NamedTuple):
    """The latest judgement of a day."""

    run: Run
    ground: Ground
    at: datetime


class Watcher:
    """Looks at the last business days.

    Args:
        books: Where results, incidents and notices are kept.
        records: Where records are read; it may be the same store.
        topology: The task graph.
        loaded: The checks.
        sinks: Who hears of incidents, as in the settings.
        opened: The same, ready to be sent to.
        days: How many business days before the present one are looked at.
        owner: Who watches; unique among the watchers of a store.
        lease_seconds: How long it leads without a further tick.
        remind_after: For how long what pages may be left alone; None: nobody is reminded.
        keep: How long runs and evaluations are kept; None: for ever.
    """

    def __init__(
        self,
        books: SqlStore,
        records: RecordStore,
        topology: Topology,
        loaded: LoadedChecks,
        *,
        sinks: Sequence[SinkSettings] = (),
        opened: Sequence[Sink] = (),
        days: int,
        owner: str,
        lease_seconds: float,
        remind_after: timedelta | None = None,
        keep: timedelta | None = None,
    ):
        self.books = books
        self.records = records
        self.topology = topology
        self.loaded = loaded
        self.sinks = sinks
        self.opened = opened
        self.days = days
        self.owner = owner
        self.lease_seconds = lease_seconds
        self.remind_after = remind_after
        self.keep = keep
        self._judged: dict[Date, _Judged] = {}
        self._pruned_on: Date | None = None

    def tick(self, now: datetime) -> Tick:
        """Judge the days that are due at a moment, and send what is to be told.

        A day or sink that fails keeps no other from its turn.

        Raises:
            StoreError: the store of incidents cannot be reached at all.
        """
        with self.books.begin() as work:
            if not notices.lead(work.connection, LEASE, self.owner, self.lease_seconds, now.timestamp()):
                return Tick(at=now, leader=False)
        runs: list[Ran] = []
        errors: list[str] = []
        for day in due_days(self.records, self.topology, now, self.days):
            try:
                runs.append(self._run(day, now))
            except FunnelgateError as error:
                errors.append(f"{day}: {error}")
        expired = self._expire(now)
        told = self._tell(now, errors)
        pruned = self._prune(now, errors)
        for text in errors:
            _log.error("%s", text)
        return Tick(at=now, leader=True, runs=tuple(runs), expired=expired, pruned=pruned, errors=tuple(errors), **told)

    def resign(self) -> None:
        """Let another watcher lead at once."""
        with self.books.begin() as work:
            notices.resign(work.connection, LEASE, self.owner)

    def _run(self, day: Date, now: datetime) -> Ran:
        ground = ground_of(self.records, self.books, self.topology, self.loaded, day, now)
        before = self._judged.pop(day, None)
        if ground is not None and before is not None and before.ground == ground and now - before.at < JUDGE_EVERY:
            run = book_unchanged(self.books, before.run, now)
            self._judged[day] = before
            return Ran(date=day, run_id=run.run_id, status=run.status.value, incidents=0, judged=False)
        found = run_checks(
            self.records, self.topology, self.loaded, day, None, now, act=True, books=self.books, sinks=self.sinks
        )
        if ground is not None:
            self._judged[day] = _Judged(replace(found, results=(), incidents=()), ground, now)
        return Ran(date=day, run_id=found.run_id, status=found.status.value, incidents=len(found.incidents))

    def _expire(self, now: datetime) -> int:
        before = business_days(self.topology, now, EXPIRE_DAYS)[0]
        with self.books.begin() as work:
            done = expire(known_incidents(work, ()), before, now)
            write_step(work, done)
            notices.queue_notices(work.connection, done.notices, self.sinks, now)
        return len(done.incidents)

    def _tell(self, now: datetime, errors: list[str]) -> dict[str, int]:
        found = {"sent": 0, "retried": 0, "dead": 0, "reposted": 0, "reminded": 0}
        try:
            found["reminded"] = remind(self.books, self.sinks, now, self.remind_after)
            found |= deliver(self.books, self.opened, now)._asdict()
            again = repost(self.books, self.opened, now)
        except FunnelgateError as error:
            errors.append(f"notices: {error}")
            return found
        errors += [f"sink {name}: {error}" for name, error in again.errors.items()]
        return {**found, "reposted": again.posted}

    def _prune(self, now: datetime, errors: list[str]) -> int:
        """Delete what is old once a day, a part of it in each tick."""
        if self.keep is None or self._pruned_on == now.date():
            return 0
        try:
            done = prune(self.books, now - self.keep, most_batches=PRUNE_BATCHES)
        except FunnelgateError as error:
            errors.append(f"old evaluations: {error}")
            return 0
        if done.is_done:
            self._pruned_on = now.date()
        return done.evaluations


def due_days(records: RecordStore, topology: Topology, now: datetime, days: int) -> list[Date]:
    """Return the business days that a tick judges, the oldest first.

    Those that have a plan, whatever became of it; and those without one from their first deadline on, for then they
    have been forgotten.
    """
    asked = business_days(topology, now, days)
    plans = records.plans(asked[0], asked[-1])
    planned = {day for plan in plans if plan.created_at <= now for day in plan.dates}
    return [day for day in asked if day in planned or now >= overdue_at(topology, day)]


class Alive(BaseModel):
    """Whether the checks are still run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    within_seconds: float
    expected: tuple[Date, ...]
    """Business days that should have been judged in that time."""
    missing: tuple[Date, ...]
    """Of these, those that have not."""
    last_run: datetime | None
    """Of any day; None where there never was one."""

    @property
    def alive(self) -> bool:
        """Whether all that should have run has."""
        return not self.missing and self.last_run is not None and self.at - self.last_run <= self.within

    @property
    def within(self) -> timedelta:
        """How old the latest run of a day may be."""
        return timedelta(seconds=self.within_seconds)

    @property
    def exit_code(self) -> int:
        """1 when the checker is dead."""
        return EXIT_OK if self.alive else EXIT_FAILED

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "alive": self.alive,
            **self.model_dump(mode="json"),
            "runs_expected": len(self.expected),
            "runs_done": len(self.expected) - len(self.missing),
        }


def ask_alive(
    books: SqlStore, records: RecordStore, topology: Topology, now: datetime, *, within: timedelta, days: int
) -> Alive:
    """Compare the runs that were done with those that should have been.

    Args:
        books: Where runs are written down.
        records: Where plans are read: which days were due.
        topology: The task graph.
        now: Aware.
        within: Each day that was due before this time must have been judged in it.
        days: As the watcher has it.
    """
    from sqlalchemy import func, select

    expected = due_days(records, topology, now - within, days)
    c = check_run.c
    with books.read() as connection:
        rows = connection.execute(select(c.date, func.max(c.finished_at)).group_by(c.date)).all()
    latest: dict[Date, str] = {row[0]: row[1] for row in rows}
    since = iso(now - within)
    missing = [day for day in expected if latest.get(day, "") < since]
    last = max(latest.values(), default=None)
    return Alive(
        at=now,
        within_seconds=within.total_seconds(),
        expected=tuple(expected),
        missing=tuple(missing),
        last_run=None if last is None else datetime.fromisoformat(last),
    )
