"""The tail in a running pipeline: the same releases as without it, rebuilds inside it, and what a sweep leaves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date as Date
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.live_files import live_paths
from pipeline.partitions import Partitions
from pipeline.place import Place
from pipeline.rebuild_day import rebuild_day
from pipeline.release.diff import day_ids, diff_releases
from pipeline.release.manifest import CategoryIndex, ReleaseManifest
from pipeline.release.pointer import current, release_of
from pipeline.release.retention import sweep
from pipeline.serve.shelf import Shelf
from pipeline.shards import parts_of
from pipeline.stale import find_stale, stale_ancestors
from pipeline.tasks import tail
from pipeline.tasks.tail import read_tail
from pipeline.verify_release import verify_release
from reporting.plans import PlanKind
from reporting.stores.base import RecordQuery
from tests.pipeline.comparison import faults
from tests.pipeline.project import DAY_1, Project, new_project, plan_day, row, run_here, work_off
from tests.pipeline.test_live_files import LATER, shard_days
from tests.pipeline.test_rebuild_day import here, rows_by_day, spoil_embed

pytestmark = pytest.mark.slow
DAYS = tuple(DAY_1 + timedelta(days=number) for number in range(6))
NEXT = DAYS[-1] + timedelta(days=1)
WINDOW = 2
Copy = Callable[[Project], Project]


def ready(folder: Path, *, with_tail: bool) -> Project:
    project = new_project(folder)
    if not with_tail:
        path = project.folder / "pipeline.yaml"
        graph = yaml.safe_load(path.read_text())
        del graph["tasks"]["tail"]
        graph["edges"] = [edge for edge in graph["edges"] if "tail" not in (edge["from"], edge["to"])]
        path.write_text(yaml.safe_dump(graph, sort_keys=False))
    window = {"window_days": WINDOW}
    project.configure(evict=window, merge=window, **({"tail": window | {"compact_days": 2}} if with_tail else {}))
    for number, day in enumerate([*DAYS, NEXT]):
        project.manifest(day, [offer(project, 10 * number + one) for one in range(4)] + SPECIAL.get(number, []))
    project.drawn(0)
    return project


def offer(project: Project, number: int) -> dict[str, str]:
    return row(project.drawn(number), f"s{number}", group=f"g{number}")


GONE = row("pictures/1.png", "s1", group="g1", listed="false")
BACK = row("pictures/1.png", "s1", group="g1")
SPECIAL = {3: [GONE], 4: [BACK]}
"""The second picture of the first day goes off the shelf when it is in the tail, and comes back as a new one."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Project]:
    """The same days, with a tail and without."""
    folder = tmp_path_factory.mktemp("tail")
    with_tail, without = ready(folder / "with", with_tail=True), ready(folder / "without", with_tail=False)
    for project in (with_tail, without):
        run_here(project, *DAYS)
    return with_tail, without


@pytest.fixture
def project(pair: tuple[Project, Project], copy_of: Copy) -> Project:
    return copy_of(pair[0])


def released(project: Project) -> list[ReleaseManifest]:
    root = project.folder / "lake"
    newest = current(root)
    assert newest is not None
    return [release_of(root, number) for number in range(1, newest.number + 1)]


def content(project: Project, entry: CategoryIndex) -> tuple[Any, ...]:
    """Return what an index holds; of its item table all but where in a pack a picture lies."""
    items = pq.ParquetFile(project.folder / "lake" / entry.items_path).read().drop_columns(["pack", "offset"])
    days = {day: (one.rows, one.rows_sha256) for day, one in entry.days.items()}
    return entry.index_sha256, entry.index_bytes, entry.rows, days, items.to_pylist()


def shards(entry: CategoryIndex) -> list[str]:
    return list(dict.fromkeys(one.shard_path for _, one in sorted(entry.days.items())))


def test_every_release_is_byte_for_byte_the_one_without_a_tail_and_is_read_from_fewer_shards(
    pair: tuple[Project, Project],
) -> None:
    mine, plain = (released(project) for project in pair)
    assert len(mine) == len(plain) == len(DAYS)
    for one, other in zip(mine, plain, strict=True):
        assert {name: content(pair[0], entry) for name, entry in one.categories.items()} == {
            name: content(pair[1], entry) for name, entry in other.categories.items()
        }
    assert [len(shards(one.categories["red"])) for one in plain] == [1, 2, 3, 4, 5, 6]
    assert [len(shards(one.categories["red"])) for one in mine] == [1, 2, 3, 4, 3, 4]
    assert [faults(project) for project in pair] == [[], []]
    with pair[0].place() as place:
        assert find_stale(place.store, place.topology) == []
        tails = place.store.records(RecordQuery(tasks=("tail",), categories=("red",)))
    booked = [(one.input, one.output, dict(one.dropped)) for one in sorted(tails, key=lambda one: one.key.date)]
    # Made on the third day of the first, on the fifth of two more (the one off the shelf goes), handed on in between.
    assert booked == [(0, 0, {}), (0, 0, {}), (4, 4, {}), (4, 4, {}), (12, 11, {"let_go": 1}), (11, 11, {})]


def test_a_compaction_is_no_change_of_a_release(pair: tuple[Project, Project]) -> None:
    root = pair[0].folder / "lake"
    before, after = released(pair[0])[3:5]
    diff = diff_releases(before, after, partial(day_ids, root))
    assert before.categories["red"].days[DAYS[1]].shard_path != after.categories["red"].days[DAYS[1]].shard_path
    assert diff.days_changed == (DAYS[4],)  # that day's own rows, and none of those that went into the tail
    assert [verify_release(root, one.number).violations for one in (before, after)] == [(), ()]


def test_a_release_is_read_from_its_tail_where_its_index_is_gone(pair: tuple[Project, Project]) -> None:
    newest = released(pair[0])[-1].categories["red"]
    with pair[0].place() as place:
        gone = newest.model_copy(update={"index_path": "objects/no/index"})
        shelf = Shelf(place.lake, "red", gone)
        assert shelf.index.rows == newest.rows
        assert shelf.size_bytes > 0
        parts = parts_of(place.lake, "red", newest)[1]
    assert [part.manifest.since for part in parts] == [DAYS[0], None, None, None]


def test_a_bad_day_inside_the_tail_is_built_again_without_the_days_between(project: Project) -> None:
    root = project.folder / "lake"
    with project.place() as place:
        spoil_embed(place, DAYS[0], "red", by=0.0005)
        report = rebuild_day(place, DAYS[0], categories=("red",), work=here)
        assert (report.failures, report.exit_code, report.only_that_day) == ((), 0, True)
        assert report.diff is not None
        assert report.diff.days_changed == (DAYS[0],)
        (record,) = place.store.records(RecordQuery(tasks=("tail",), planids=(report.planids[1],)))
        # All of the day's rows in the tail are replaced; the one that came back is not of that day any more.
        assert (record.dropped, record.metrics["compacted"]) == ({"rebuilt": 3, "let_go": 1}, 1)
        merged = Partitions(place.store, place.topology, None).of_task("merge", DAYS[-1])
        assert stale_ancestors(place.store, place.topology, merged) == []
        assert {one.task for one in find_stale(place.store, place.topology)} == {"tail", "merge", "evaluate", "release"}
    was, now = (release_of(root, number) for number in (report.before, report.after))  # type: ignore[arg-type]
    rows_then, rows_now = rows_by_day(root, was, "red"), rows_by_day(root, now, "red")
    assert {day for day in rows_then if rows_then[day] != rows_now[day]} == {DAYS[0]}
    assert rows_then[DAYS[0]].keys() == rows_now[DAYS[0]].keys()
    assert verify_release(root, now.number).violations == ()
    assert faults(project) == []


def test_until_the_tail_is_made_again_a_rebuilt_day_makes_the_release_stale(project: Project) -> None:
    with project.place() as place:
        plan = plan_day(place, DAYS[0], kind=PlanKind.RERUN, source=None, tasks=("index",), promote=True, alone=True)
        work_off(place, plan)
        merged = Partitions(place.store, place.topology, None).of_task("merge", DAYS[-1])
        found = stale_ancestors(place.store, place.topology, merged)
    assert {(one.task, one.date) for one in found} == {("tail", DAYS[-1])}
    assert "index of 2026-11-01" in found[0].why


def test_a_sweep_takes_the_shards_that_the_tail_holds_and_the_days_go_on(project: Project) -> None:
    with project.place() as place:
        root = place.lake.folder()
        before = shard_days(root)
        sweep(root, now=LATER, keep=1, also=live_paths(place.store, place.lake), act=True)
        tail = red_tail(place, DAYS[-1])
        assert {str(day) for day in DAYS} <= before
        assert tail.path is not None
        assert shard_days(root) == {str(day) for day in DAYS[2:]}  # of the third day the tail's own folder
        assert sorted(path.name for path in (root / tail.path).parent.iterdir()) == [Path(tail.path).name]
        work_off(place, plan_day(place, NEXT))
        made = current(root)
        assert made is not None
        assert made.date == NEXT
        assert red_tail(place, NEXT).until == DAYS[-2]
        assert verify_release(root, made.number).violations == ()
        mended = rebuild_day(place, DAYS[1], categories=("red",), work=here)  # whose own shard was swept
        assert (mended.failures, mended.exit_code) == ((), 0)
    assert faults(project) == []


def test_a_tail_of_an_older_day_that_is_done_again_after_a_sweep_says_which_days_to_index_first(
    project: Project,
) -> None:
    with project.place() as place:
        before = merged_red(place, DAYS[3])
        sweep(place.lake.folder(), now=LATER, keep=1, also=live_paths(place.store, place.lake), act=True)

        def again(day: Date, task: str) -> list[str]:
            plan = plan_day(place, day, kind=PlanKind.RERUN, source=None, tasks=(task,), promote=True)
            return [error for _, error in here(place, [plan]).failures]

        (refused,) = again(DAYS[3], "tail")  # the tail before is gone, and what it was made from
        assert f"/red/{DAYS[0]}/" in refused
        assert "the shard is gone" in refused
        for day in DAYS[:3]:  # the third is in the tails of today, but in its own shard to that day's merge
            assert again(day, "index") == []
        assert again(DAYS[3], "tail") == []
        assert merged_red(place, DAYS[3]) == before


def test_a_category_that_was_left_out_for_longer_than_one_looks_back_goes_on_with_its_tail(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "_DAYS_BACK", 1)
    path = project.folder / "pipeline.yaml"
    graph = yaml.safe_load(path.read_text())
    later = [NEXT + timedelta(days=number) for number in range(3)]
    for number, day in enumerate(later):
        project.manifest(day, [offer(project, 80 + number)])
        graph["categories"] = ["blue"] if number < 2 else ["red", "blue"]
        path.write_text(yaml.safe_dump(graph, sort_keys=False))
        run_here(project, day)
    with project.place() as place:
        (record,) = place.store.records(
            RecordQuery(tasks=("tail",), categories=("red",), date_from=later[-1], date_to=later[-1])
        )
    assert ("tail", DAYS[-1]) in {(one.task, one.date) for one in record.consumed}
    assert faults(project) == []


def merged_red(place: Place, day: Date) -> Any:
    """Return what a day's index of the category is, but for the shards that it came from."""
    parts = Partitions(place.store, place.topology, None).of_task("merge", day)
    folder = next(part.folder for part in parts if part.leaf.category == "red")
    said = json.loads(place.lake.read_bytes(f"{folder}/merge.json"))
    return said["sha256"], said["items_sha256"], {day: one["rows_sha256"] for day, one in said["days"].items()}


def red_tail(place: Place, day: Date) -> Any:
    parts = Partitions(place.store, place.topology, None).of_task("tail", day)
    return read_tail(place.lake, next(part.folder for part in parts if part.leaf.category == "red"))


def test_a_project_from_before_there_was_a_tail_goes_on_with_one(pair: tuple[Project, Project], copy_of: Copy) -> None:
    project = copy_of(pair[1])
    shutil.copy(pair[0].folder / "pipeline.yaml", project.folder / "pipeline.yaml")
    run_here(project, NEXT)
    newest = released(project)[-1]
    assert newest.date == NEXT
    assert len(shards(newest.categories["red"])) == 1 + WINDOW
    assert verify_release(project.folder / "lake", newest.number).violations == ()
    assert faults(project) == []
