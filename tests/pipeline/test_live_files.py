"""What `release gc` takes of the pipeline's own work: what no kept release, no window and no open plan needs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from datetime import date as Date
from pathlib import Path

import pytest

from pipeline.live_files import live_paths
from pipeline.models.registered import use_registry
from pipeline.partitions import Partitions
from pipeline.place import Place
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.promote import abandon_plan
from pipeline.release.objects import ObjectStore
from pipeline.release.pointer import current, release_of
from pipeline.release.registry import publish_resource
from pipeline.release.resource_files import materialise, stored_paths
from pipeline.release.resources import Resource
from pipeline.release.retention import sweep
from pipeline.tasks import with_registered_versions
from pipeline.verify_release import verify_release
from reporting.plans import PlanKind, PlanState
from tests.pipeline.project import DAY_1, DAY_2, DAY_3, Project, draw, new_project, plan_day, row, run_here, work_off
from tests.pipeline.releasing import NOW, WAIVED, model

Copy = Callable[[Project], Project]
DAY_4 = Date(2026, 11, 4)
LATER = dt.datetime.now(dt.UTC) + dt.timedelta(days=30)


def collect(place: Place) -> None:
    root = place.lake.folder()
    sweep(root, now=LATER, keep=1, also=live_paths(place.store, place.lake), act=True)


def shard_days(root: Path) -> set[str]:
    return {path.parent.parent.name for path in root.glob("shards/**/shard.json")}


@pytest.mark.slow
def test_with_a_window_of_two_days_the_first_goes_and_the_fourth_day_is_released_all_the_same(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    project.forget_by_age()
    project.configure(dedup={"window_days": 2}, merge={"window_days": 2})
    for number, day in enumerate((DAY_1, DAY_2, DAY_3, DAY_4)):
        pictures = [project.picture(f"{day}-{one}.png", draw(10 * number + one)) for one in range(4)]
        project.manifest(day, [row(path, f"s{number}-{place}") for place, path in enumerate(pictures)])
    run_here(project, DAY_1, DAY_2, DAY_3)
    with project.place() as place:
        root = place.lake.folder()
        tables = [release_of(root, number).categories["red"].items_path for number in (1, 2, 3)]
        assert shard_days(root) == {str(day) for day in (DAY_1, DAY_2, DAY_3)}
        # A re-run of the second day may still come to its merge: it reads the first.
        (again,) = find_or_make_plans(place.store, place.topology, _rerun(DAY_2))
        collect(place)
        assert shard_days(root) == {str(day) for day in (DAY_1, DAY_2, DAY_3)}
        abandon_plan(place.store, again)
        collect(place)
        assert shard_days(root) == {str(day) for day in (DAY_2, DAY_3)}
        assert [(root / path).is_file() for path in tables] == [False, False, True]
        work_off(place, plan_day(place, DAY_4))
        made = current(root)
        assert made is not None
        assert made.date == DAY_4
        assert list(made.categories["red"].days) == [DAY_3, DAY_4]
        assert verify_release(root, made.number).violations == ()


def _rerun(day: Date) -> PlanRequest:
    return PlanRequest(kind=PlanKind.RERUN, dates=(day,), promote=True, tasks=("merge",))


def test_a_shard_that_a_promoted_re_run_superseded_goes_and_the_one_that_counts_stays(
    three_days: Project, copy_of: Copy
) -> None:
    project = copy_of(three_days)
    with project.place() as place:
        root = place.lake.folder()
        counts = {day.shard_path for day in release_of(root, 3).categories["red"].days.values()}
        superseded = _other_shard_of(place, "red", DAY_2)
        assert superseded not in live_paths(place.store, place.lake)
        assert counts <= live_paths(place.store, place.lake)


def _other_shard_of(place: Place, category: str, day: Date) -> str:
    """Let the shard of a leaf that another plan has superseded be another one; return its path."""
    parts = Partitions(place.store, place.topology, None).of_task("index", day)
    (part,) = [one for one in parts if one.leaf.category == category]
    (plan,) = find_or_make_plans(
        place.store, place.topology, PlanRequest(kind=PlanKind.RERUN, dates=(day,), promote=True, tasks=("index",))
    )
    work_off(place, plan)
    ended = place.store.get_plan(plan.planid)
    assert ended is not None
    assert ended.state is PlanState.PROMOTED
    path = Path(place.lake.full(f"{part.folder}/shard.json"))
    said = json.loads(path.read_text()) | {"sha256": "d" * 64}
    path.unlink()
    path.write_text(json.dumps(said))
    return f"shards/{said['space_id']}/{category}/{day}/{'d' * 16}"


def test_what_of_the_registry_an_open_plan_has_frozen_stays_until_the_plan_is_given_up(
    three_days: Project, copy_of: Copy
) -> None:
    project = copy_of(three_days)
    root = project.folder / "lake"
    project.configure(embed={"model": "lite0", "models": {"green": "lite1"}})
    made = {(name, text): model(root, text, name=name) for name in ("lite0", "lite1") for text in "a"}
    use_registry(root)
    try:
        with project.place() as place:
            frozen = with_registered_versions(place.topology)
            assert frozen.task("embed").settings["model"] == "lite0@1"
            (plan,) = find_or_make_plans(
                place.store,
                frozen,
                PlanRequest(kind=PlanKind.RERUN, dates=(DAY_1,), tasks=("merge",)),
            )
            for text in "bc":
                model(root, text, name="lite0"), model(root, text, name="lite1")
            for one in made.values():
                materialise(root, one, root)
            collect(place)
            wanted = {path for one in made.values() for path in stored_paths(one)}
            assert all((root / path).exists() for path in wanted)
            abandon_plan(place.store, plan)
            collect(place)
            assert not any((root / path).exists() for path in wanted)
            assert ObjectStore(root).holds(model(root, "c", name="lite0").files[0].sha256)
    finally:
        use_registry(None)


def test_the_model_that_a_frozen_gallery_was_made_with_stays_with_it(three_days: Project, copy_of: Copy) -> None:
    project = copy_of(three_days)
    root = project.folder / "lake"
    (project.folder / "file").write_text("x")

    def publish(business: str, name: str, **facts: str) -> Resource:
        (project.folder / "file").write_text(f"{business} {name} {facts}")
        return publish_resource(root, business, name, project.folder / "file", at=NOW, waiver=WAIVED, facts=facts)

    embedder, other = publish("model", "lite2", space_id="s"), publish("model", "lite2", space_id="t")
    gallery = publish("gallery", "mine", embedder="lite2@9", space_id="s")
    project.configure(categorise={"gallery": gallery.label})
    with project.place() as place:
        find_or_make_plans(place.store, place.topology, _rerun(DAY_1))
        live = live_paths(place.store, place.lake)
    assert stored_paths(gallery) | stored_paths(embedder) <= live
    assert not stored_paths(other) & live
