"""An old day done again after it gave up bytes: what is stored is made anew, the rest is let go, and it adds up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date as Date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.images.crop import decode_crop
from pipeline.images.decode import DecodeLimits
from pipeline.models.catalog import open_embedder
from pipeline.partitions import Partitions
from reporting.plans import PlanKind
from reporting.record import State, TaskRecord
from reporting.stores.base import RecordQuery
from tests.pipeline.another_model import add_another_model
from tests.pipeline.comparison import faults
from tests.pipeline.conftest import Ended
from tests.pipeline.old_days import DAYS, places, reclaim
from tests.pipeline.project import Project, run_here, store_of

pytestmark = pytest.mark.slow

LAST, FIRST = DAYS[5], DAYS[0]
BEFORE = {
    "quality": "download",
    "hash": "quality",
    "detect": "listing",
    "crop": "detect",
    "embed": "categorise",
    "train": "embed",
    "index": "embed",
}
"""Task to the one whose rows it takes in."""


@pytest.fixture(scope="module")
def thinned(kept_days: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Six days, of which the old ones have given up their bytes. Read only."""
    project = Project(Path(shutil.copytree(kept_days.folder, tmp_path_factory.mktemp("let-go") / "days")))
    reclaim(project, LAST)
    return project


@pytest.fixture(scope="module")
def shared(thinned: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of them for plans that never count."""
    return Project(Path(shutil.copytree(thinned.folder, tmp_path_factory.mktemp("shared") / "days")))


@pytest.fixture
def project(thinned: Project, copy_of: Callable[[Project], Project]) -> Project:
    """A copy of them, to change."""
    return copy_of(thinned)


def again(project: Project, task: str, day: Date = FIRST, **request: Any) -> list[TaskRecord]:
    """Do one task of an old day again, and return its records."""
    asked = {"kind": PlanKind.RERUN, "tasks": (task,), "alone": True, "promote": True, "source": None} | request
    (plan,) = run_here(project, day, **asked)
    with store_of(project) as store:
        return list(store.records(RecordQuery(tasks=(task,), planids=(plan.planid,))))


def rows_of(project: Project, task: str, day: Date = FIRST) -> list[dict[str, Any]]:
    """Return the rows that the effective plan's leaves of a task handed on."""
    with project.place() as place:
        found = Partitions(place.store, place.topology, None).of_task(task, day)
        return [
            one
            for part in found
            for path in sorted(Path(place.lake.full(part.folder)).glob("items*.parquet"))
            for one in pq.read_table(path).to_pylist()
        ]


def gone_pictures(project: Project, kind: str, day: Date = FIRST) -> set[str]:
    return {one.picture for one in places(project) if (one.kind, one.day) == (kind, day) and one.data is None}


@pytest.mark.parametrize("task", BEFORE)
def test_each_task_books_what_has_no_bytes_as_let_go_and_the_rest_as_ever(shared: Project, task: str) -> None:
    kind = {"embed": "crop", "train": "embed", "index": "embed"}.get(task, "download")
    taken = rows_of(shared, BEFORE[task])
    gone = [one for one in taken if one["picture"] in gone_pictures(shared, kind)]
    assert 0 < len(gone) < len(taken)
    records = again(shared, task, promote=False)  # so that the next one reads the day as it was
    assert {one.state for one in records} == {State.SUCCEEDED}
    assert sum(one.input for one in records) == len(taken)
    assert sum(one.dropped.get("let_go", 0) for one in records) == len(gone)
    assert sum(one.output for one in records) == len(taken) - len(gone)
    assert {reason for one in records for reason in one.dropped} == {"let_go"}


def test_a_whole_rebuild_of_an_old_day_adds_up_and_holds_what_is_stored(project: Project) -> None:
    was = {one["id"] for one in rows_of(project, "index") if one["picture"] not in gone_pictures(project, "embed")}
    again(project, "quality", alone=False)
    assert faults(project) == []
    assert {one["id"] for one in rows_of(project, "index")} == was


def test_another_model_encodes_exactly_what_is_stored_anew_from_the_kept_crops(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = add_another_model(tmp_path / "models", monkeypatch)
    crops = {one.picture: one.data for one in places(project) if (one.kind, one.day) == ("crop", FIRST) and one.data}
    project.configure(embed={"model": name})
    records = again(project, "embed")
    rows = rows_of(project, "embed")
    assert {one["picture"] for one in rows} == set(crops)
    assert sum(one.dropped.get("let_go", 0) for one in records) == len(gone_pictures(project, "crop"))
    limits = DecodeLimits()
    expected = open_embedder(name).embed([decode_crop(crops[one["picture"]] or b"", limits) for one in rows])
    np.testing.assert_allclose(np.array([one["vector"] for one in rows], np.float32), expected, atol=1e-6)


def test_an_object_whose_crop_was_let_go_is_booked_in_the_last_category_and_placed_nowhere(project: Project) -> None:
    project.configure(categorise={"by": "predicted"})
    taken = rows_of(project, "crop")
    gone = {one["object"] for one in taken if one["picture"] in gone_pictures(project, "crop")}
    records = {one.key.category: one for one in again(project, "categorise")}
    assert records["other"].dropped == {"let_go": len(gone)}
    assert sum(one.input for one in records.values()) == len(taken)
    assert {one["object"] for one in rows_of(project, "categorise")} == {one["object"] for one in taken} - gone


def test_a_quantizer_learns_from_the_vectors_that_are_left(project: Project) -> None:
    there = [one for one in places(project) if one.kind == "embed" and one.data is not None]
    project.configure(train={"revision": 2})
    (record,) = [one for one in again(project, "train", day=DAYS[1]) if one.input]
    assert record.metrics["training_rows"] == len(there)


def test_a_picture_that_is_fetched_again_is_there_again_until_the_day_is_looked_at_next(project: Project) -> None:
    again(project, "download")
    fresh = [one for one in places(project) if one.kind == "download" and "/rerun-" in str(one.file)]
    assert fresh
    assert all(one.data is not None for one in fresh)
    reclaim(project, LAST)
    left = {one.picture for one in places(project) if one.file == fresh[0].file and one.data is not None}
    old = {one.picture for one in places(project) if one.day == FIRST and one.kind == "crop" and one.data is not None}
    assert left == old


def test_a_page_of_an_old_day_says_that_its_pictures_are_gone(
    project: Project, main_in: Callable[..., Ended], tmp_path: Path
) -> None:
    page = tmp_path / "plan.html"
    ended = main_in(project.folder, "evict", "plan", "--date", str(FIRST), "--page", str(page), "--json")
    assert (ended.code, page.exists()) == (0, True)
    assert json.loads(ended.out)["date"] == str(FIRST)


def test_an_old_day_is_judged_again_by_the_pictures_that_are_left(shared: Project) -> None:
    (old,) = again(shared, "evaluate", day=DAYS[3], promote=False)
    with store_of(shared) as store:
        (first, *_) = store.records(RecordQuery(tasks=("evaluate",), date_from=DAYS[3], date_to=DAYS[3]))
    assert (old.state, old.error) == (State.SUCCEEDED, None)
    assert 0 < old.input < first.input
