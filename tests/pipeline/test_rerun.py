"""Days done again: what a repair covers, what it makes stale, and that it overlays nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date as Date

import pytest

from pipeline.lake import Lake
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.serve.answer import Answer, answer
from pipeline.stale import Stale, find_stale, rebuild_commands
from reporting.effective import effective_records
from reporting.plans import Plan, PlanKind, PlanState
from reporting.stores.base import RecordQuery
from tests.pipeline.arrivals import CATEGORIES, DAYS
from tests.pipeline.comparison import faults, merged_rows, released_date
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, run_here, work_off

Copy = Callable[[Project], Project]


def found(project: Project, picture: str, k: int = 1) -> Answer:
    return answer(Lake(str(project.folder / "lake")), project.folder / "pictures" / picture, k)


def rerun(project: Project, *days: Date, promote: bool = True, **scope: tuple[str, ...]) -> list[Plan]:
    return run_here(project, *days, kind=PlanKind.RERUN, promote=promote, source=None, **scope)


def stale(project: Project) -> list[Stale]:
    with project.place() as place:
        return find_stale(place.store, place.topology)


def test_a_finished_run_is_not_stale(three_days: Project) -> None:
    assert stale(three_days) == []


def test_a_changed_setting_makes_its_task_and_all_downstream_stale(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    project.configure(hash={"min_detail": 7.0})
    changed = stale(project)
    with project.place() as place:
        graph = place.topology.closure(("hash",))
    assert {one.date for one in changed} == set(DAYS)
    for day in DAYS:
        assert sorted({one.task for one in changed if one.date == day}) == sorted(graph)
    assert {one.why.partition(" (")[0] for one in changed if one.task == "hash"} == {"settings changed"}
    assert all(one.why.startswith("built from") for one in changed if one.task == "listing")
    commands = rebuild_commands(changed)
    assert [command.split("--date ")[1][:10] for command in commands] == [str(day) for day in DAYS]


@pytest.mark.slow
def test_a_rerun_of_the_first_day_makes_the_later_days_stale_until_they_are_rebuilt(
    three_days: Project, copy_of: Copy
) -> None:
    project = copy_of(three_days)
    (repair,) = rerun(project, DAY_1, tasks=("hash",))
    assert repair.state is PlanState.PROMOTED
    changed = stale(project)
    assert {one.date for one in changed} == {DAY_2, DAY_3}
    assert f"input evict of {DAY_1} is now that of plan {repair.planid}" in {one.why for one in changed}
    for command in rebuild_commands(changed):
        words = command.split()
        day = Date.fromisoformat(words[words.index("--date") + 1])
        rerun(project, day, tasks=tuple(words[words.index("--tasks") + 1].split(",")))
    assert stale(project) == []
    assert faults(project) == []
    assert list(merged_rows(project).values())[-1] == list(merged_rows(three_days).values())[-1]


def test_a_promoted_repair_of_one_package_overlays_it_and_its_downstream_only(
    three_days: Project, copy_of: Copy
) -> None:
    project = copy_of(three_days)
    (repair,) = rerun(project, DAY_3, tasks=("hash",), subinstances=("0001",))
    with project.place() as place:
        chosen = {
            (record.key.task, record.key.category, record.key.subinstance): record.key.planid
            for record in effective_records(place.store, DAY_3, DAY_3)
        }
        mine = {key for key, planid in chosen.items() if planid == repair.planid}
        assert mine == {key for key in chosen if key[0] not in ("collect", "download", "quality")}
        others = {planid for key, planid in chosen.items() if key not in mine}
    assert others == {"daily-20261103"}
    assert faults(project) == []


def test_a_rerun_that_was_not_promoted_counts_for_nothing(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    (repair,) = rerun(project, DAY_2, promote=False, tasks=("merge",))
    assert repair.state is PlanState.COMPLETE
    with project.place() as place:
        assert {record.key.planid for record in effective_records(place.store, DAY_2, DAY_2)} == {"daily-20261102"}
    assert stale(project) == []


def test_an_older_day_does_not_replace_a_newer_release(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    (repair,) = rerun(project, DAY_1, tasks=("merge",))
    with project.place() as place:
        (record,) = place.store.records(RecordQuery(tasks=("release",), planids=(repair.planid,)))
    assert (record.output, record.dropped) == (0, {"superseded": 3})
    assert released_date(project) == str(DAY_3)


def test_a_newer_day_published_while_an_older_one_is_written_stays_and_the_older_one_is_superseded(
    three_days: Project, copy_of: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_of(three_days)
    monkeypatch.setattr("pipeline.tasks.release.current", lambda _: None)  # as it was when the task began
    (repair,) = rerun(project, DAY_1, tasks=("merge",))
    with project.place() as place:
        (record,) = place.store.records(RecordQuery(tasks=("release",), planids=(repair.planid,)))
    assert (record.output, record.dropped) == (0, {"superseded": 3})
    assert released_date(project) == str(DAY_3)


def test_a_rerun_of_the_released_day_is_released_under_the_next_number(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    before = found(project, "0.png")
    rerun(project, DAY_3, tasks=("merge",))
    after = found(project, "0.png")
    assert after.generation == before.generation + 1
    assert after.results == before.results


@pytest.mark.slow
def test_a_rerun_of_all_days_in_one_plan_gives_the_same_again(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    with project.place() as place:
        request = PlanRequest(kind=PlanKind.RERUN, dates=DAYS, promote=True)
        (plan,) = find_or_make_plans(place.store, place.topology, request)
        work_off(place, plan)
    assert faults(project) == []
    assert stale(project) == []
    before, after = merged_rows(three_days), merged_rows(project)
    for day, category in ((day, name or "other") for day in DAYS for name in CATEGORIES):
        assert after[f"{day} {category} {plan.planid}"] == before[f"{day} {category} daily-{day:%Y%m%d}"]
