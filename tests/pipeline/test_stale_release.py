"""A release with stale ancestors is refused, saying which; what may be stale is a setting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.plans import PlanRequest
from pipeline.release.pointer import current
from pipeline.stale import find_stale, rebuild_commands, stale_ancestors
from pipeline.tasks.candidate import candidate_on
from reporting.plans import PlanKind
from reporting.record import State
from reporting.stores.base import RecordQuery
from tests.pipeline.another_model import add_another_model
from tests.pipeline.arrivals import DAYS
from tests.pipeline.project import DAY_1, DAY_3, Project, run_here

Copy = Callable[[Project], Project]


def release_again(project: Project) -> Any:
    """Release the last day once more; return the record."""
    (plan,) = run_here(project, DAY_3, kind=PlanKind.RERUN, source=None, tasks=("merge",), promote=True)
    with project.place() as place:
        (record,) = place.store.records(RecordQuery(tasks=("release",), planids=(plan.planid,)))
    return record


def served(project: Project) -> int:
    found = current(project.folder / "lake")
    assert found is not None
    return found.number


def test_a_release_with_stale_ancestors_is_refused_and_they_are_named(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    project.configure(hash={"min_detail": 7.0})
    refused = release_again(project)
    assert refused.state is State.FAILED
    assert refused.error.error_class == "GateRefused"
    for day in DAYS:
        assert f"hash of {day}: settings changed" in refused.error.message
    assert "built from" not in refused.error.message  # the causes are named, not all that comes of them
    assert served(project) == 3
    project.configure(release={"tolerate": ["settings"]})
    assert release_again(project).state is State.SUCCEEDED
    assert served(project) == 4


def test_only_what_the_index_was_built_from_counts(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    with project.place() as place:
        assert (
            stale_ancestors(
                place.store, place.topology, candidate_on(place.store, place.lake, place.topology, DAY_3).merged
            )
            == []
        )
    project.configure(evaluate={"probes": 5}, release={"tolerate": ["code"]}, merge={"nprobe": 3})
    with project.place() as place:
        ancestors = {
            day: stale_ancestors(
                place.store,
                place.topology,
                candidate_on(place.store, place.lake, place.topology, day).merged,
            )
            for day in (DAY_1, DAY_3)
        }
    # merge itself is one of them; judging and publishing are not, and a later day is nothing to an earlier one.
    assert [(one.task, one.date, one.leaves) for day in ancestors for one in ancestors[day]] == [
        ("merge", DAY_1, 3),
        ("merge", DAY_3, 3),
    ]


def test_another_model_for_one_category_makes_that_category_stale_and_no_other(
    three_days: Project, copy_of: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = add_another_model(tmp_path / "models", monkeypatch)
    project = copy_of(three_days)
    project.configure(embed={"models": {"red": name}})
    with project.place() as place:
        found = find_stale(place.store, place.topology)
    tasks = {(one.task, one.leaves) for one in found if one.date == DAY_3}
    assert {task for task, _ in tasks} == {"embed", "train", "index", "merge", "evaluate", "release"}
    assert {leaves for task, leaves in tasks if task in ("train", "index", "merge")} == {1}
    assert all("--categories red" in command for command in rebuild_commands(found))


def test_the_rebuild_command_of_what_is_not_split_by_category_names_none(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    project.configure(hash={"min_detail": 7.0})
    with project.place() as place:
        commands = rebuild_commands(find_stale(place.store, place.topology))
    assert len(commands) == 3
    assert not any("--categories" in command for command in commands)


def test_a_request_for_tasks_alone_covers_nothing_behind_them(three_days: Project, copy_of: Copy) -> None:
    from pipeline.plans import find_or_make_plans

    project = copy_of(three_days)
    with project.place() as place:
        request = PlanRequest(PlanKind.RERUN, (DAY_1,), tasks=("train", "index"), categories=("red",), alone=True)
        (plan,) = find_or_make_plans(place.store, place.topology, request)
    assert plan.cover is not None
    assert [(part.task, part.categories) for part in plan.cover] == [("train", ("red",)), ("index", ("red",))]
