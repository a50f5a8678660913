"""A change that no shard survives: refused while old shards are in the window, released when all are built anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date as Date
from pathlib import Path

import pytest

from pipeline import instances
from pipeline.index.opened import open_file
from pipeline.index.quantizer import codec_of
from pipeline.place import Place
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.promote import abandon_plan
from pipeline.release.diff import diff_releases
from pipeline.release.pointer import release_of
from pipeline.serve.generation import Generation
from pipeline.stale import find_stale
from reporting.plans import PlanKind
from tests.pipeline.another_model import add_another_model
from tests.pipeline.arrivals import DAYS
from tests.pipeline.comparison import faults
from tests.pipeline.project import DAY_1, DAY_2, Project, draw, new_project, row, run_here, work_off
from tests.pipeline.searchable import encoded

pytestmark = pytest.mark.slow
Copy = Callable[[Project], Project]


def rebuild(place: Place, days: tuple[Date, ...], task: str, *categories: str) -> list[str]:
    """Do days again in one plan that counts when it is complete; return what failed. What failed is abandoned."""
    request = PlanRequest(kind=PlanKind.RERUN, dates=days, promote=True, tasks=(task,), categories=categories)
    (plan,) = find_or_make_plans(place.store, place.topology, request)
    work_off(place, plan)
    with place.store.read() as connection:
        failed = [f"{key.task} {key.category}: {error}" for key, error in instances.failures(connection, [plan.planid])]
    if failed:
        abandon_plan(place.store, plan)
    return failed


def found_in(place: Place, number: int, category: str, generation: int) -> tuple[str, float]:
    """Return the space and the distance at which picture `number` is found in a category of a release."""
    manifest = release_of(place.lake.folder(), generation)
    (hits,) = Generation(place.lake, manifest.categories, manifest.front).search([encoded(draw(number))], 1, category)
    return manifest.categories[category].space_id, hits[0].distance


def test_the_embedder_of_one_category_is_changed_alone(
    three_days: Project, copy_of: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = add_another_model(tmp_path / "models", monkeypatch)
    project = copy_of(three_days)
    project.configure(embed={"models": {"red": name}})
    with project.place() as place:
        root = place.lake.folder()
        (refused,) = rebuild(place, DAYS[-1:], "embed", "red")
        assert refused.startswith("merge red: ContractViolation: ")
        for day in DAYS[:-1]:
            assert f"shard red/{day}: " in refused
        assert "space_id" in refused
        assert rebuild(place, DAYS, "embed", "red") == []
        assert find_stale(place.store, place.topology) == []
        before, after = release_of(root, 3), release_of(root, 4)
        diff = diff_releases(before, after)
        # Both libraries are there: each answers in its own space with its own model.
        old, new = (found_in(place, 0, "red", number) for number in (3, 4))
    assert diff.models_changed == ("red",)
    assert diff.days_changed == DAYS
    for category in ("green", "other"):
        assert after.categories[category] == before.categories[category]
    assert after.categories["red"].model == f"{name}@1"
    assert old[0] != new[0]
    assert [round(distance, 5) for _, distance in (old, new)] == [0.0, 0.0]
    assert faults(project) == ["4 instances are failed"]  # merge, evaluate, release and reclaim of what was given up


def test_another_codec_is_refused_beside_the_old_one_and_builds_the_whole_window(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    for day, numbers in {DAY_1: range(30), DAY_2: range(30, 33)}.items():
        project.manifest(day, [row(project.drawn(number), f"s{number}") for number in numbers])
    run_here(project, DAY_1, DAY_2)
    project.configure(train={"codec": "sq8", "min_rows": 33})
    with project.place() as place:
        (refused,) = rebuild(place, (DAY_2,), "train")
    assert refused.startswith("merge red: ContractViolation: ")
    for clause in ("fingerprint is", "codec is flat, expected sq8"):
        assert f"shard red/{DAY_1}: {clause}" in refused
    # It was trained on the whole window all the same, so it serves for all of it.
    with project.place() as place:
        root = place.lake.folder()
        assert rebuild(place, (DAY_1, DAY_2), "train") == []
        assert find_stale(place.store, place.topology) == []
        before, after = release_of(root, 2), release_of(root, 3)
        was, entry = before.categories["red"], after.categories["red"]
        index = open_file(root / entry.index_path)
        _, distance = found_in(place, 31, "red", 3)
    assert (entry.codec, codec_of(index.index), index.rows) == ("sq8", "sq8", 33)
    assert index.ivf.code_size == index.dim  # a byte a dimension
    assert (entry.rows, entry.space_id) == (was.rows, was.space_id)
    assert {day: one.rows for day, one in entry.days.items()} == {DAY_1: 30, DAY_2: 3}
    assert all(one.shard_sha256 != was.days[day].shard_sha256 for day, one in entry.days.items())
    assert 0 <= distance < 0.01
