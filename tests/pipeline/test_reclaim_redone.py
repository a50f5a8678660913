"""Old days that are done again: what their libraries hold keeps its bytes until later days have taken it in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date as Date

import pyarrow.parquet as pq
import pytest

from pipeline.partitions import Partitions
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.promote import promote_plan
from pipeline.storage.holdings import days_at_work
from pipeline.tasks import reclaim as task
from reporting.errors import ConfigError
from reporting.plans import Plan, PlanKind
from reporting.stores.sql import SqlStore
from tests.pipeline.old_days import DAYS, places, reclaim
from tests.pipeline.project import Project, plan_day, work_off

LAST = DAYS[5]
OLD = DAYS[:3]
"""Days that are old on the last one."""


@pytest.fixture
def project(kept_days: Project, copy_of: Callable[[Project], Project]) -> Project:
    """Six days of which nothing has given up its bytes, to change: evict would keep more of a day done again."""
    project = copy_of(kept_days)
    project.configure(evict={"min_per_group": 12, "max_per_group": 12})
    return project


def redo(project: Project, days: Sequence[Date], *, promote: bool) -> Plan:
    """Decide anew what days keep, by one plan over all of them."""
    with project.place() as place:
        asked = PlanRequest(PlanKind.RERUN, tuple(days), tasks=("dedup", "evict"), alone=True, promote=promote)
        (plan,) = find_or_make_plans(place.store, place.topology, asked)
        work_off(place, plan)
    return plan


def library(project: Project, day: Date, plan: Plan | None = None) -> set[tuple[Date, str]]:
    """Return (first day, picture) of what a day's library holds as a plan sees it, default what counts."""
    with project.place() as place:
        (found,) = Partitions(place.store, place.topology, plan).of_task("evict", day)
        rows = pq.read_table(place.lake.full(f"{found.folder}/library.parquet"), columns=["first_day", "picture"])
    return {(one["first_day"], one["picture"]) for one in rows.to_pylist()}


def there(project: Project) -> set[tuple[Date, str]]:
    """Return (day, picture) of every old picture that has its bytes."""
    return {(one.day, one.picture) for one in places(project) if one.kind == "download" and one.data and one.day in OLD}


def of_old_days(pictures: set[tuple[Date, str]]) -> set[tuple[Date, str]]:
    return {one for one in pictures if one[0] in OLD}


@pytest.mark.slow
def test_a_rerun_that_may_still_be_promoted_keeps_what_its_newest_library_holds(project: Project) -> None:
    plan = redo(project, DAYS, promote=False)
    mine = of_old_days(library(project, LAST, plan))
    assert mine - library(project, LAST), "the rerun would change nothing"
    reclaim(project, LAST)
    assert mine <= there(project)
    with project.place() as place:
        found = place.store.get_plan(plan.planid)
        assert found is not None
        promote_plan(place.store, found)
    assert of_old_days(library(project, LAST)) <= there(project)


@pytest.mark.slow
def test_days_done_again_one_by_one_keep_what_the_days_after_them_have_yet_to_take_in(project: Project) -> None:
    for day in DAYS[:4]:
        redo(project, [day], promote=True)
    reclaim(project, LAST)
    assert library(project, DAYS[3]) - library(project, LAST)
    for day in DAYS[4:]:
        redo(project, [day], promote=True)
    assert of_old_days(library(project, LAST)) <= there(project)


@pytest.mark.slow
def test_pictures_that_arrive_for_an_old_day_while_the_task_runs_are_left_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then_a_rerun_begins(store: SqlStore, last: Date) -> set[Date]:
        busy = days_at_work(store, last)
        with project.place() as place:
            plan = plan_day(place, OLD[0], kind=PlanKind.RERUN, tasks=("download",), source=None)
            work_off(place, plan, tasks=("download",))
        return busy

    before = {one.file for one in places(project)}
    monkeypatch.setattr(task, "days_at_work", then_a_rerun_begins)
    reclaim(project, LAST)
    arrived = [one for one in places(project) if one.kind == "download" and one.file not in before]
    assert len(arrived) == 5
    assert all(one.data is not None for one in arrived)
    assert any(one.data is None for one in places(project))


@pytest.mark.slow
def test_the_newest_day_that_is_decided_about_again_by_a_policy_that_keeps_more_finds_all_bytes(
    project: Project,
) -> None:
    reclaim(project, LAST, grace_days=1)
    before = of_old_days(library(project, LAST))
    redo(project, [LAST], promote=True)
    after = of_old_days(library(project, LAST))
    assert before < after <= there(project)
    with pytest.raises(ConfigError, match=r"grace_days"):
        reclaim(project, LAST, grace_days=0)
