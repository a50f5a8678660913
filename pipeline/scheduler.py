"""The scheduler: APScheduler is the clock only; `tick(store, now)` decides, and is tested without waiting.

A tick makes the plan of every day whose source is there and that nobody has planned, and takes back leases
that ran out. Ready instances need no trigger: workers pull them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from pathlib import Path
from types import FrameType
from zoneinfo import ZoneInfo

import typer
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from pipeline import instances
from pipeline.place import Place
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.supervisor import Supervisor
from reporting import tables as t
from reporting.errors import FunnelgateError, UsageError
from reporting.logs import logger
from reporting.plans import PlanKind, PlanState
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import upsert
from reporting.topology import Topology

_log = logger("scheduler")
_LOOK_BACK_DAYS = 7
_LEADER = "scheduler"


class Tick(BaseModel):
    """What one look did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    made: list[str]
    """Plans made."""
    taken_back: int
    """Leases that had run out."""
    open_plans: list[str]
    leader: bool
    """False: another scheduler leads, and this tick did nothing."""


def tick(
    store: SqlStore,
    topology: Topology,
    source: str,
    now: datetime,
    *,
    owner: str,
    lease_seconds: float,
    exists: Callable[[Path], bool] = Path.is_file,
) -> Tick:
    """Look once. Pure in (store, now): tests call it with any clock.

    Args:
        store: the truth.
        topology: what plans are made of; its timezone says which day it is.
        source: path of a day's manifest, with {date}.
        now: aware.
        owner: who looks; only one scheduler leads at a time.
        lease_seconds: how long leadership holds without a further tick.
        exists: tells whether a day's source is there.
    """
    if not _lead(store, owner, now, lease_seconds):
        return Tick(at=now, made=[], taken_back=0, open_plans=[], leader=False)
    with store.begin() as work:
        taken_back = instances.reap(work, now.timestamp())
    today = now.astimezone(ZoneInfo(topology.timezone)).date()
    made = []
    for day in (today - timedelta(days=back) for back in range(_LOOK_BACK_DAYS, -1, -1)):
        if exists(Path(source.replace("{date}", day.isoformat()))) and not _is_planned(store, day):
            request = PlanRequest(kind=PlanKind.DAILY, dates=(day,), source=source, today=today)
            made.append(find_or_make_plans(store, topology, request)[0].planid)
    recent = store.plans(today - timedelta(days=_LOOK_BACK_DAYS), today)
    open_plans = [plan.planid for plan in recent if plan.state is PlanState.OPEN]
    return Tick(at=now, made=made, taken_back=taken_back, open_plans=open_plans, leader=True)


def _is_planned(store: SqlStore, day: Date) -> bool:
    return any(plan.kind is PlanKind.DAILY and plan.state is not PlanState.ABANDONED for plan in store.plans(day, day))


def _lead(store: SqlStore, owner: str, now: datetime, lease_seconds: float) -> bool:
    """Take or keep the leader lease; False while another holds it."""
    c = t.lease.c
    with store.begin() as work:
        held = work.connection.execute(select(c.owner, c.until).where(c.name == _LEADER).with_for_update()).first()
        if held is not None and held.owner != owner and held.until > now.timestamp():
            return False
        work.connection.execute(
            upsert(store.dialect, t.lease, ["name"]),
            {"name": _LEADER, "owner": owner, "until": now.timestamp() + lease_seconds},
        )
    return True


def run_scheduler(
    place: Place, *, source: str | None, workers: int | None, every_seconds: float, once: bool, as_json: bool
) -> None:
    """Tick on APScheduler's clock and keep worker processes, until SIGTERM or SIGINT.

    Raises:
        UsageError: no source pattern, or one without {date}.
    """
    if source is None or "{date}" not in source:
        raise UsageError(f"--source {source!r}: expected a path with {{date}} in it, as in 'arrivals/{{date}}.csv'")
    owner = f"{socket.gethostname()}:{os.getpid()}"

    def look() -> None:
        try:
            done = tick(
                place.store, place.topology, source, datetime.now(UTC), owner=owner, lease_seconds=3 * every_seconds
            )
        except FunnelgateError as error:
            # The next tick tries again; the log and standard error say what went wrong meanwhile.
            _log.error("tick failed: %s", error)
            typer.secho(f"tick failed: {error}", fg=typer.colors.RED, err=True)
            return
        if as_json:
            typer.echo(json.dumps(done.model_dump(mode="json")))
        elif done.made or once:
            typer.echo(
                f"{done.at:%Y-%m-%d %H:%M:%S} made {', '.join(done.made) or 'nothing'}; open: {len(done.open_plans)}"
            )

    look()
    if not once:
        _until_told(place, look, workers, every_seconds)


def _until_told(place: Place, look: Callable[[], None], workers: int | None, every_seconds: float) -> None:
    from apscheduler.schedulers.background import BackgroundScheduler

    told = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        told.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    count = place.settings.workers if workers is None else workers
    clock = BackgroundScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 60}
    )
    clock.add_job(look, "interval", seconds=every_seconds)
    with ExitStack() as stack:
        supervisor = stack.enter_context(Supervisor(place.store, place.worker_command(), count)) if count else None
        clock.start()
        stack.callback(clock.shutdown)
        while not told.wait(0.5):
            if supervisor is not None:
                supervisor.poll()
