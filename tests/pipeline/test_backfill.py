"""What a backfill does with each day, and what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date as Date
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from pipeline.backfill import BackfillRequest, decide
from pipeline.instance_states import FAILED
from pipeline.plans import PlanRequest, find_or_make_plans
from reporting import tables as t
from reporting.errors import UsageError
from reporting.plans import Plan, PlanKind, PlanState
from reporting.stores.sql import SqlStore
from reporting.topology import Topology
from tests.pipeline.conftest import Ended
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, new_project, row, store_of

DAYS = tuple(Date(2026, 11, 1) + timedelta(days=number) for number in range(5))
COMPLETE, OPEN, BROKEN, REPEATED, MISSING = DAYS


@pytest.fixture
def history(sqlite_store: SqlStore, repository: Path, tmp_path: Path) -> SqlStore:
    """Five days: complete, open, open with a failure, complete with an open re-run, never planned."""
    topology = Topology.load(repository / "pipeline" / "default.yaml")
    for day in DAYS:
        (tmp_path / f"{day}.csv").write_text("path,sku,merchant,category,title,listed\n")

    def made(day: Date, kind: PlanKind = PlanKind.DAILY) -> Plan:
        request = PlanRequest(kind=kind, dates=(day,), source=str(tmp_path / "{date}.csv"))
        return find_or_make_plans(sqlite_store, topology, request)[0]

    def complete(plan: Plan) -> None:
        with sqlite_store.begin() as work:
            work.put_plan(plan.model_copy(update={"state": PlanState.COMPLETE, "completed_at": plan.created_at}))

    complete(made(COMPLETE))
    made(OPEN)
    broken = made(BROKEN)
    complete(made(REPEATED))
    made(REPEATED, PlanKind.RERUN)
    with sqlite_store.begin() as work:
        work.connection.execute(update(t.instance).where(t.instance.c.planid == broken.planid).values(state=FAILED))
    return sqlite_store


def actions(store: SqlStore, **request: object) -> dict[Date, str]:
    return {one.date: one.action for one in decide(store, BackfillRequest(dates=DAYS, **request))}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("missing", {COMPLETE: "leave", OPEN: "leave", BROKEN: "leave", REPEATED: "leave", MISSING: "make"}),
        ("failed", {COMPLETE: "leave", OPEN: "leave", BROKEN: "resume", REPEATED: "leave", MISSING: "make"}),
        ("all", {COMPLETE: "make", OPEN: "leave", BROKEN: "resume", REPEATED: "leave", MISSING: "make"}),
    ],
)
def test_each_mode_acts_on_its_days_and_never_on_one_being_worked_on(
    history: SqlStore, mode: str, expected: dict[Date, str]
) -> None:
    assert actions(history, mode=mode) == expected


def test_every_decision_says_why(history: SqlStore) -> None:
    why = {one.date: one.why for one in decide(history, BackfillRequest(dates=DAYS, mode="all"))}
    assert why == {
        COMPLETE: "asked for, though daily-20261101 is complete",
        OPEN: "open: being worked on, or to be resumed by run",
        BROKEN: "open with failed instances",
        REPEATED: "open: being worked on, or to be resumed by run",
        MISSING: "no plan",
    }


def test_the_cap_counts_days_that_are_acted_on_from_the_end_asked_for(history: SqlStore) -> None:
    forwards = decide(history, BackfillRequest(dates=DAYS, mode="all", cap=2))
    assert [one.date for one in forwards if one.action != "leave"] == [COMPLETE, BROKEN]
    assert [one.date for one in forwards] == list(DAYS)
    assert forwards[-1].why == "over the cap of 2 days: call again"
    backwards = decide(history, BackfillRequest(dates=DAYS, mode="all", cap=2, backwards=True))
    assert [one.date for one in backwards if one.action != "leave"] == [MISSING, BROKEN]
    assert [one.date for one in backwards] == list(reversed(DAYS))


def test_an_unknown_mode_is_refused(history: SqlStore) -> None:
    with pytest.raises(UsageError, match="--mode 'fialed': no such mode; did you mean failed"):
        actions(history, mode="fialed")


def test_a_dry_run_shows_the_decisions_and_does_nothing(tmp_path: Path, main_in: Callable[..., Ended]) -> None:
    project = new_project(tmp_path / "project")
    for day in (DAY_1, DAY_2):
        project.manifest(day, [])
    command = ("backfill", "--from", str(DAY_1), "--to", str(DAY_2), "--source", "{date}.csv", "--dry-run")
    ended = main_in(project.folder, *command, "--json")
    assert ended.code == 0
    assert [(one["date"], one["action"]) for one in json.loads(ended.out)] == [
        (str(DAY_1), "make"),
        (str(DAY_2), "make"),
    ]
    assert f"{DAY_2} make   -: no plan" in main_in(project.folder, *command).out
    with store_of(project) as store:
        assert store.plans() == []


@pytest.mark.slow
def test_a_backfill_makes_missing_days_and_repeats_complete_ones_beside_them(
    three_days: Project, copy_of: Callable[[Project], Project]
) -> None:
    project = copy_of(three_days)
    fourth = Date(2026, 11, 4)
    project.manifest(fourth, [row(project.drawn(300), "x300")])
    span = ("--from", str(DAY_3), "--to", str(fourth), "--source", "{date}.csv")
    done = project.call("backfill", *span, "--mode", "all", "--reason", "a test")
    assert done.returncode == 0, done.stderr + done.stdout
    with store_of(project) as store:
        made = [(plan.planid, plan.kind, plan.state) for plan in store.plans(DAY_3, fourth)]
        with store.read() as connection:
            (kept,) = connection.execute(select(t.backfill.c.reason, t.backfill.c.planids)).all()
    assert made == [
        ("daily-20261103", PlanKind.DAILY, PlanState.COMPLETE),
        ("backfill-20261103-1", PlanKind.BACKFILL, PlanState.PROMOTED),
        ("daily-20261104", PlanKind.DAILY, PlanState.PROMOTED),
    ]
    assert kept.reason == "a test"
    assert json.loads(kept.planids) == ["backfill-20261103-1", "daily-20261104"]
    assert project.call("balance").returncode == 0
