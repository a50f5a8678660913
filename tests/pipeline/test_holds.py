"""A blocking check that fails keeps what is downstream of its fault from running, until somebody lets it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from checks import handling
from checks.acting import handle
from checks.incident_store import list_incidents
from checks.incidents import OPEN_STATES
from checks.run import run_checks
from checks.spec import LoadedChecks, load_checks
from pipeline import instances
from pipeline.holds import held_work
from pipeline.place import Place
from pipeline.run import RunOutcome, run_plans
from reporting import tables as t
from reporting.errors import EXIT_FAILED
from reporting.plans import PlanKind, PlanState
from tests.pipeline.project import DAY_1, Project, draw, new_project, plan_day, row, work_off

RULES = """\
version: 1
checks:
  - {id: few, kind: expr, expr: "input <= 10", on: download, group_by: [subinstance], block: true}
"""
"""Download's first package has 10 pictures and its second 4: none breaks this; see `broken`."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = new_project(tmp_path / "project")
    rows = [row(made.picture(f"{n}.png", draw(n)), f"S{n}") for n in range(14)]
    made.manifest(DAY_1, rows)
    return made


def rules(project: Project, place: Place, least: int) -> LoadedChecks:
    path = project.folder / "checks.yaml"
    path.write_text(RULES.replace("input <= 10", f"input <= {least}"))
    return load_checks(path, place.topology)


def judge(place: Place, loaded: LoadedChecks) -> None:
    run_checks(place.store, place.topology, loaded, DAY_1, None, datetime.now(UTC), act=True)


def attempts(place: Place, task: str) -> int:
    statement = select(t.attempt.c.attempt).join(t.instance, t.instance.c.id == t.attempt.c.instance_id)
    with place.store.read() as connection:
        return len(connection.execute(statement.where(t.instance.c.task == task)).all())


def held(place: Place, planid: str) -> list[str]:
    with place.store.read() as connection:
        return held_work(connection, [planid])


def test_downstream_of_the_broken_package_waits_and_goes_on_when_it_is_waived(project: Project) -> None:
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        work_off(place, plan, tasks=("collect", "download"))
        judge(place, rules(project, place, 4))  # the first package is too large
        work_off(place, plan)
        # Its quality waits; the other package goes on as far as it can alone.
        (line,) = held(place, plan.planid)
        assert line.startswith(f"quality of {DAY_1} (1 to do) is held by incident ")
        assert (attempts(place, "quality"), attempts(place, "hash"), attempts(place, "dedup")) == (1, 1, 0)

        with place.store.read() as connection:
            (incident,) = list_incidents(connection, states=OPEN_STATES)
        now = datetime.now(UTC)
        handle(place.store, incident.episode, partial(handling.waive, by="me", why="known", now=now), now=now, sinks=())
        with place.store.begin() as work:
            instances.requeue(work, [plan.planid])  # as `run` does when it is called again
        work_off(place, plan)
        assert held(place, plan.planid) == []
        ended = place.store.get_plan(plan.planid)
        assert ended is not None
        assert ended.state is PlanState.COMPLETE
        assert attempts(place, "quality") == 2  # what was held has cost no attempt


@pytest.mark.slow
def test_a_run_ends_when_only_held_work_is_left_and_says_by_what(project: Project) -> None:
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        work_off(place, plan, tasks=("collect", "download"))
        judge(place, rules(project, place, 4))
        work_off(place, plan)
        outcome = _outcome(place, plan.planid)
        assert outcome.exit_code == EXIT_FAILED
        assert any("held by incident" in line and "funnelgate incidents waive" in line for line in outcome.blocked_by)


def _outcome(place: Place, planid: str) -> RunOutcome:
    """Return what `run` says where its workers find nothing to do: the one it starts ends at once."""
    plan = place.store.get_plan(planid)
    assert plan is not None
    return run_plans(place.store, [plan], worker_command=place.worker_command("--planids", planid), workers=1)


@pytest.mark.slow
def test_a_check_that_passes_holds_nothing(project: Project) -> None:
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        work_off(place, plan, tasks=("collect", "download"))
        judge(place, rules(project, place, 10))
        work_off(place, plan)
        ended = place.store.get_plan(plan.planid)
        assert ended is not None
        assert ended.state is PlanState.COMPLETE


@pytest.mark.slow
def test_a_repair_of_the_fault_is_not_held_by_it(project: Project) -> None:
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        work_off(place, plan)
        judge(place, rules(project, place, 4))
        repair = plan_day(place, DAY_1, kind=PlanKind.RERUN, tasks=("download",), subinstances=("0001",), promote=True)
        work_off(place, repair)
        ended = place.store.get_plan(repair.planid)
        assert ended is not None
        assert ended.state is PlanState.PROMOTED
