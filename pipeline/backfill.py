"""Backfill: past days, done again or for the first time, as one stored request with a dry run and a cap."""

from __future__ import annotations

import getpass
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date

import typer
from pydantic import BaseModel, ConfigDict
from sqlalchemy import insert, select

from pipeline.instance_states import FAILED
from pipeline.place import Place
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.progress import run_with_progress
from pipeline.report import print_run
from reporting import tables as t
from reporting.errors import EXIT_OK, UsageError, nearest
from reporting.plans import Plan, PlanKind, PlanState
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import iso

MODES = ("missing", "failed", "all")


@dataclass(frozen=True)
class BackfillRequest:
    """Which days, what of them, and in which order."""

    dates: tuple[Date, ...]
    mode: str = "missing"
    tasks: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subinstances: tuple[str, ...] = ()
    cap: int = 7
    backwards: bool = False
    promote: bool = True
    reason: str = ""
    source: str | None = None


class DayDecision(BaseModel):
    """What a backfill does with one day, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: Date
    action: str
    """resume | make | leave."""
    planid: str | None
    why: str


def decide(store: SqlStore, request: BackfillRequest) -> list[DayDecision]:
    """Decide on every day. A day being worked on is never planned a second time (Airflow's rule).

    Raises:
        UsageError: the mode is unknown.
    """
    if request.mode not in MODES:
        raise UsageError(f"--mode {request.mode!r}: no such mode; {nearest(request.mode, MODES)}")
    decisions = [_decide(store, request, day) for day in request.dates]
    acting = [one for one in decisions if one.action != "leave"]
    acting.sort(key=lambda one: one.date, reverse=request.backwards)
    allowed = {one.date for one in acting[: request.cap]}
    capped = [
        one
        if one.action == "leave" or one.date in allowed
        else one.model_copy(update={"action": "leave", "why": f"over the cap of {request.cap} days: call again"})
        for one in decisions
    ]
    return sorted(capped, key=lambda one: one.date, reverse=request.backwards)


def _decide(store: SqlStore, request: BackfillRequest, day: Date) -> DayDecision:
    plans = [plan for plan in store.plans(day, day) if plan.kind in (PlanKind.DAILY, PlanKind.BACKFILL, PlanKind.RERUN)]
    plans = [plan for plan in plans if plan.state is not PlanState.ABANDONED]
    open_ones = [plan for plan in plans if plan.state is PlanState.OPEN]
    if open_ones:
        plan = open_ones[-1]
        if _has_failed(store, plan) and request.mode in ("failed", "all"):
            return DayDecision(date=day, action="resume", planid=plan.planid, why="open with failed instances")
        return DayDecision(
            date=day, action="leave", planid=plan.planid, why="open: being worked on, or to be resumed by run"
        )
    if not plans:
        return DayDecision(date=day, action="make", planid=None, why="no plan")
    if request.mode == "all":
        return DayDecision(
            date=day, action="make", planid=None, why=f"asked for, though {plans[-1].planid} is complete"
        )
    return DayDecision(date=day, action="leave", planid=plans[-1].planid, why="complete")


def _has_failed(store: SqlStore, plan: Plan) -> bool:
    c = t.instance.c
    with store.read() as connection:
        return (
            connection.execute(select(c.id).where(c.planid == plan.planid, c.state == FAILED).limit(1)).first()
            is not None
        )


def run_backfill(place: Place, request: BackfillRequest, *, dry_run: bool, workers: int | None, as_json: bool) -> int:
    """Do a backfill day by day, or only show what it would do; return the exit code."""
    decisions = decide(place.store, request)
    if as_json and dry_run:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in decisions], indent=1))
    elif not as_json:
        for one in decisions:
            typer.echo(f"{one.date} {one.action:6} {one.planid or '-'}: {one.why}")
    if dry_run:
        return EXIT_OK
    planids: list[str] = []
    code = EXIT_OK
    for one in (decision for decision in decisions if decision.action != "leave"):
        plan = _plan(place, request, one)
        planids.append(plan.planid)
        outcome = run_with_progress(place, [plan], workers=workers)
        print_run(place, outcome, as_json=as_json)
        code = code or outcome.exit_code
    _store(place.store, request, planids)
    return code


def _plan(place: Place, request: BackfillRequest, decision: DayDecision) -> Plan:
    if decision.planid is not None:
        found = place.store.get_plan(decision.planid)
        assert found is not None
        return found
    whole = not (request.tasks or request.categories or request.subinstances)
    known = any(plan.kind is PlanKind.DAILY for plan in place.store.plans(decision.date, decision.date))
    wanted = PlanRequest(
        # A day that nobody planned gets its daily plan now; a planned one is repeated beside it.
        kind=PlanKind.DAILY if whole and not known else PlanKind.BACKFILL,
        dates=(decision.date,),
        source=request.source,
        tasks=request.tasks,
        categories=request.categories,
        subinstances=request.subinstances,
        promote=request.promote,
        reason=request.reason,
    )
    return find_or_make_plans(place.store, place.topology, wanted)[0]


def _store(store: SqlStore, request: BackfillRequest, planids: list[str]) -> None:
    selector = {
        name: [str(x) for x in value] if isinstance(value, tuple) else value for name, value in vars(request).items()
    }
    with store.begin() as work:
        work.connection.execute(
            insert(t.backfill),
            {
                "selector": json.dumps(selector),
                "reason": request.reason,
                "requested_by": getpass.getuser(),
                "planids": json.dumps(planids),
                "created_at": iso(datetime.now(UTC)),
            },
        )
