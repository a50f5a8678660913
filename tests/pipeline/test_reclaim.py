"""The task reclaim in a project: what is stored keeps its bytes to the last one, the rest of old days gives them up."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from datetime import date as Date
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow.parquet as pq
import pytest

from pipeline.lake import Lake
from pipeline.partitions import Partitions
from pipeline.release.pins import Pin, pin
from pipeline.release.pointer import releases
from pipeline.serve.candidate import open_release, picture_reader
from pipeline.storage import reclaim as storage
from pipeline.storage.needed import kept_tables
from pipeline.tasks import reclaim as task
from reporting.errors import ConfigError
from reporting.plans import PlanKind
from reporting.record import State, TaskRecord
from reporting.stores.base import RecordQuery
from tests.pipeline.comparison import faults
from tests.pipeline.conftest import Ended
from tests.pipeline.old_days import DAYS, SETTINGS, content, lake_of, places, reclaim, released, stored
from tests.pipeline.project import REPOSITORY, Project, plan_day, run_here, store_of, work_off

pytestmark = pytest.mark.slow  # whole days through every task

Main = Callable[..., Ended]
LAST = DAYS[5]
OLD = DAYS[:3]
"""Days that are old on the last one."""


@pytest.fixture
def project(kept_days: Project, copy_of: Callable[[Project], Project]) -> Project:
    """Six days of which nothing has given up its bytes, to change."""
    return copy_of(kept_days)


def record_of(project: Project, day: Date) -> TaskRecord:
    """Return the newest record of reclaim on a day."""
    with store_of(project) as store:
        records = store.records(RecordQuery(tasks=("reclaim",), date_from=day, date_to=day))
    return max(records, key=lambda one: one.finished_at)


def needed(project: Project, *releases: int) -> set[tuple[Date, str]]:
    """Return what must stay on the last day: its library, that of the day before, and some releases."""
    return set.union(stored(project, LAST), stored(project, DAYS[4]), *(released(project, one) for one in releases))


def test_every_needed_picture_is_whole_and_everything_else_of_old_days_is_gone(project: Project) -> None:
    before = {(one.kind, one.file, one.picture): one.data for one in places(project)}
    reclaim(project, LAST)
    must = needed(project, 6)
    seen = {True: 0, False: 0}
    for one in places(project):
        stays = one.day not in OLD or (one.day, one.picture) in must
        seen[stays] += 1
        assert one.data == (before[one.kind, one.file, one.picture] if stays else None), one[:4]
        if one.kind == "download" and one.data is not None:
            assert hashlib.sha256(one.data).hexdigest() == one.picture
    assert min(seen.values()) > 10


def test_the_disk_is_freed_and_the_books_say_how_much(project: Project) -> None:
    held = {"download": "pictures.bin", "crop": "crops.bin", "categorise": "items*.parquet", "embed": "items*.parquet"}
    lake = project.folder / "lake"
    files = [path for task, name in held.items() for day in OLD for path in (lake / task / str(day)).rglob(name)]

    def on_the_disk() -> int:
        return sum(path.stat().st_blocks * 512 for path in files)

    lengths = {path: path.stat().st_size for path in files if path.suffix == ".bin"}
    before = on_the_disk()
    reclaim(project, LAST)
    record = record_of(project, LAST)
    assert record.metrics["bytes_freed"] == before - on_the_disk() > 5 * 30_000
    assert record.metrics["bytes_kept"] == on_the_disk()
    assert record.metrics["days"] == len({one.day for one in places(project) if one.data is None}) > 1
    assert {path: path.stat().st_size for path in lengths} == lengths


def test_the_books_are_the_pictures_of_the_packs_that_were_rewritten_and_each_that_went_is_a_row(
    project: Project, main_in: Main
) -> None:
    reclaim(project, LAST)
    record = record_of(project, LAST)
    mine = [one for one in places(project) if one.kind == "download" and one.day in OLD]
    gone = [one.picture for one in mine if one.data is None]
    touched = {one.file for one in mine if one.data is None}
    assert record.dropped == {"let_go": len(gone)}
    assert (record.input, record.output) == (
        sum(one.file in touched for one in mine),
        sum(one.file in touched and one.data is not None for one in mine),
    )
    assert faults(project) == []
    told = json.loads(main_in(project.folder, "items", "--task", "reclaim", "--date", str(LAST), "--json").out)
    assert sorted(one["item"] for one in told) == sorted(gone)


def test_a_second_time_nothing_is_touched_and_a_later_day_takes_only_what_has_become_old(project: Project) -> None:
    reclaim(project, DAYS[4])
    assert record_of(project, DAYS[4]).dropped["let_go"] > 0
    after = content(project)
    reclaim(project, DAYS[4])
    assert content(project) == after
    assert (record_of(project, DAYS[4]).input, record_of(project, DAYS[4]).metrics["bytes_freed"]) == (0, 0)
    reclaim(project, LAST)
    assert {path.split("/")[1] for path, sha in content(project).items() if after.get(path) != sha} <= {
        str(day) for day in OLD
    }
    left = {(one.day, one.picture) for one in places(project) if one.data is not None and one.day in OLD}
    assert left == {one for one in needed(project, 6) if one[0] in OLD}
    assert record_of(project, LAST).dropped["let_go"] > 0


def test_days_that_are_young_are_never_touched(project: Project) -> None:
    before = content(project)
    reclaim(project, LAST)
    young = {path: sha for path, sha in content(project).items() if Date.fromisoformat(path.split("/")[1]) not in OLD}
    assert young == {path: before[path] for path in young}
    assert any(path.startswith("download") for path in young)


def test_what_a_pinned_release_holds_stays_and_it_still_opens_with_all_its_pictures(project: Project) -> None:
    lake = lake_of(project)
    pin(lake.folder(), Pin(number=2, by="ana", why="the season's reference", at=datetime(2026, 11, 7, tzinfo=UTC)))
    reclaim(project, LAST)
    assert released(project, 2) - needed(project, 6), "the pin would change nothing"
    for number in (2, 6):
        with project.place() as place:
            read = picture_reader(open_release(lake, Partitions(place.store, place.topology, None), str(number)))
        for _, picture in released(project, number):
            data = read(picture)
            assert data is not None
            assert hashlib.sha256(data).hexdigest() == picture
    there = {(one.day, one.picture) for one in places(project) if one.data is not None and one.day in OLD}
    assert there == {one for one in needed(project, 2, 6) if one[0] in OLD}


def test_a_pinned_release_that_has_lost_a_file_keeps_its_pictures_and_one_that_a_sweep_has_taken_does_not(
    project: Project,
) -> None:
    root = lake_of(project).folder()
    pin(root, Pin(number=2, by="ana", why="the season's reference", at=datetime(2026, 11, 7, tzinfo=UTC)))
    manifests = {one.number: one for one in releases(root)}
    for number in (2, 5):
        tables = {entry.items_path for one in manifests.values() for entry in one.categories.values()}
        (root / min(manifests[number].files().keys() - manifests[6].files().keys() - tables)).unlink()
    kept = {(one["first_day"], one["picture"]) for rows in kept_tables(lake_of(project), 2) for one in rows.to_pylist()}
    assert released(project, 5) - released(project, 6) - released(project, 2)
    assert kept == released(project, 2) | released(project, 6)


def test_the_dry_run_says_what_then_goes_and_writes_nothing(project: Project, main_in: Main) -> None:
    project.configure(reclaim=SETTINGS)
    before = content(project)
    ended = main_in(project.folder, "evict", "storage", "--json")
    assert (ended.code, content(project)) == (0, before)
    told = json.loads(ended.out)
    jsonschema.validate(told, json.loads((REPOSITORY / "docs/schemas/evict-storage.json").read_text()))
    all_before = list(places(project))
    reclaim(project, LAST)
    holes = {(one.kind, one.file, at) for at, one in enumerate(places(project)) if one.data is None}
    gone = dict.fromkeys(("download", "crop"), 0)
    for at, one in enumerate(all_before):
        if (one.kind, one.file, at) in holes and one.kind in gone:
            gone[one.kind] += len(one.data or b"")
    by_kind = {one["kind"]: one for one in told["kinds"]}
    assert by_kind["pictures"]["bytes_that_would_go"] == gone["download"] > 0
    assert by_kind["crops"]["bytes_that_would_go"] == gone["crop"] > 0
    assert by_kind["vectors"]["bytes_that_would_go"] > 0
    assert all(one["bytes_now"] == one["bytes_needed"] + one["bytes_that_would_go"] for one in told["kinds"])
    assert [one["date"] for one in told["days"] if one["is_old"]] == [str(day) for day in OLD]
    assert len(told["largest"]) == 5
    assert told["largest"][0]["bytes_that_would_go"] == max(one["bytes_that_would_go"] for one in told["largest"])
    again = json.loads(main_in(project.folder, "evict", "storage", "--json").out)
    assert sum(one["bytes_that_would_go"] for one in again["kinds"]) == 0
    text = main_in(project.folder, "evict", "storage").out
    assert "nothing was written" in text


def test_a_plan_that_never_counts_lets_nothing_go(project: Project) -> None:
    project.configure(reclaim=SETTINGS)
    before = content(project)
    run_here(project, LAST, kind=PlanKind.SHADOW, tasks=("reclaim",), source=None)
    assert content(project) == before


def test_a_day_that_is_being_done_again_keeps_its_bytes_until_that_has_ended(project: Project) -> None:
    with project.place() as place:
        plan_day(place, DAYS[0], kind=PlanKind.RERUN, tasks=("detect",), source=None)  # made, and not worked on
    reclaim(project, LAST)
    assert all(one.data is not None for one in places(project) if one.day == DAYS[0])
    assert any(one.data is None for one in places(project) if one.day == DAYS[1])


def test_keep_days_that_are_too_few_for_the_window_are_refused_with_both_values(
    project: Project, main_in: Main
) -> None:
    project.configure(reclaim=SETTINGS | {"keep_days": 2})
    with pytest.raises(ConfigError, match=r"keep_days is 2.*evict\.settings\.window_days 2 and grace_days 1 need 3"):
        run_here(project, LAST, kind=PlanKind.RERUN, tasks=("reclaim",), source=None)
    assert main_in(project.folder, "evict", "storage").code == 2
    project.configure(reclaim=SETTINGS | {"grace_days": 3})
    assert "must be more than grace_days" in main_in(project.folder, "evict", "storage").err


def test_a_damaged_pack_fails_the_task_and_keeps_no_other_from_being_done(project: Project) -> None:
    damaged = max((one.file for one in places(project) if (one.kind, one.day) == ("download", DAYS[0])), key=str)
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:20_000])
    reclaim(project, LAST)
    record = record_of(project, LAST)
    assert (record.state, record.error and record.error.error_class) == (State.FAILED, "DataError")
    assert "1 files are damaged, all others are done" in (record.error.message if record.error else "")
    assert damaged.read_bytes() == whole[:20_000]
    damaged.write_bytes(whole)
    days = {one.day for one in places(project) if one.kind == "download" and one.data is None}
    assert days == {DAYS[1]}


def test_an_attempt_that_dies_among_the_files_is_tried_again_and_books_what_a_quiet_one_books(
    project: Project, kept_days: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = Project(Path(shutil.copytree(kept_days.folder, tmp_path / "quiet")))
    reclaim(quiet, LAST)
    real, calls = storage.reclaim_file, iter(range(10_000))

    def dying(*args: Any) -> Any:
        found = real(*args)
        if next(calls) == 7:
            raise RuntimeError("the machine went away")
        return found

    monkeypatch.setattr(task, "reclaim_file", dying)
    reclaim(project, LAST)
    one, other = record_of(project, LAST), record_of(quiet, LAST)
    assert (one.attempt, other.attempt) == (2, 1)
    assert (one.input, one.output, one.dropped, one.metrics) == (
        other.input,
        other.output,
        other.dropped,
        other.metrics,
    )
    assert (one.digest_in, one.digest_out) == (other.digest_in, other.digest_out)
    holes = [[place[1:3] for place in places(which) if place.data is None] for which in (project, quiet)]
    assert holes[0] == holes[1]


def test_a_lake_reached_by_url_keeps_all_of_its_bytes_and_says_so(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    project.configure(reclaim=SETTINGS)
    with project.place() as place:
        plan = plan_day(place, LAST, kind=PlanKind.RERUN, tasks=("reclaim",), source=None)
        far = replace(place, lake=Lake("memory://far"))
        with caplog.at_level("WARNING"):
            work_off(far, plan)
    assert "memory://far: a lake reached by URL keeps all of its bytes" in caplog.text
    record = record_of(project, LAST)
    assert (record.state, record.input, record.metrics["bytes_freed"]) == (State.SUCCEEDED, 0, 0)
    assert all(one.data is not None for one in places(project))


def test_only_the_kinds_that_the_settings_name_are_let_go(project: Project) -> None:
    reclaim(project, LAST, of=["crops"])
    assert {one.kind for one in places(project) if one.data is None} == {"crop"}
    assert record_of(project, LAST).input == 0  # no pack of pictures was touched
    assert record_of(project, LAST).metrics["bytes_freed"] > 0
    (table,) = (project.folder / "lake/reclaim" / str(LAST) / "all/all").glob("rerun-*/*/files.parquet")
    assert {one["kind"] for one in pq.read_table(table).to_pylist()} == {"crops"}
