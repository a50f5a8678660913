"""The task evict in a running pipeline: products outlive the window, pictures do not, and every step is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date as Date
from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline import instances
from pipeline.partitions import Partitions
from pipeline.release.pointer import current
from reporting.stores.base import RecordQuery
from tests.pipeline.conftest import Ended
from tests.pipeline.project import DAY_1, Project, draw, new_project, plan_day, row, run_here, work_off

Main = Callable[..., Ended]
DAYS = tuple(DAY_1 + timedelta(days=number) for number in range(5))
GROUP_OF = {0: "lamp", 1: "lamp", 2: "vase", 3: "cup", 4: "cup", 5: "jar"}


@pytest.fixture(scope="module")
def five_days(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Window of two days, one picture kept of a product; each day brings what `arrive` says."""
    project = new_project(tmp_path_factory.mktemp("evict") / "days")
    project.configure(evict={"window_days": 2, "min_per_group": 1})
    arrive(project, DAYS[0], 0, 1, 2)  # two of the lamp, the only vase
    arrive(project, DAYS[1], 3)
    arrive(project, DAYS[2], 4)  # day 1 leaves the window: a lamp is marked
    arrive(project, DAYS[3], 5)  # the lamp goes; day 2 leaves: the older cup is marked
    arrive(project, DAYS[4], 2)  # the vase comes back after it had only its tail row
    run_here(project, *DAYS)
    return project


def arrive(project: Project, day: Date, *numbers: int) -> None:
    rows = [row(project.drawn(number), f"s{number}", group=GROUP_OF[number]) for number in numbers]
    project.manifest(day, rows)


def library(project: Project, day: Date) -> dict[str, Date]:
    """Return group/sku -> last_seen of what evict left on a day."""
    with project.place() as place:
        (part,) = Partitions(place.store, place.topology, None).of_task("evict", day)
        rows = place.lake.read_table(f"{part.folder}/library.parquet").to_pylist()
    return {f"{one['group']}/{one['offers'][0]['sku']}": one["last_seen"] for one in rows}


def reasons(project: Project, day: Date) -> dict[str, list[str]]:
    with project.place() as place:
        (part,) = Partitions(place.store, place.topology, None).of_task("evict", day)
        rows = place.lake.read_table(f"{part.folder}/eviction.parquet").to_pylist()
    found: dict[str, list[str]] = {}
    for one in rows:
        found.setdefault(one["reason"], []).append(one["group"])
    return {reason: sorted(groups, key=str) for reason, groups in sorted(found.items())}


def held_groups(project: Project) -> list[str]:
    """Return the product of every row of the current release."""
    with project.place() as place:
        manifest = current(place.lake.folder())
        assert manifest is not None
        assert manifest.date == DAYS[4]
        return [
            one["group"]
            for entry in manifest.categories.values()
            for one in place.lake.read_table(entry.items_path, ["group"]).to_pylist()
        ]


def test_two_phases_thin_out_what_is_old_and_the_last_of_a_product_stays(five_days: Project) -> None:
    assert len(library(five_days, DAYS[1])) == 4  # all of the window
    assert reasons(five_days, DAYS[2])["marked"] == ["lamp"]
    assert sorted(reasons(five_days, DAYS[2])["representative"]) == ["lamp", "vase"]
    assert len(library(five_days, DAYS[2])) == 5
    gone = reasons(five_days, DAYS[3])
    assert gone["superseded"] == ["lamp"]
    assert gone["marked"] == ["cup"]
    left = library(five_days, DAYS[4])
    assert sorted(name.split("/")[0] for name in left) == ["cup", "jar", "lamp", "vase"]


def test_a_picture_of_the_tail_that_comes_back_is_a_duplicate_of_itself_and_young_again(five_days: Project) -> None:
    assert library(five_days, DAYS[3])["vase/s2"] == DAYS[0]
    assert library(five_days, DAYS[4])["vase/s2"] == DAYS[4]
    assert "vase" not in reasons(five_days, DAYS[4]).get("representative", [])


def test_the_release_holds_the_library_and_nothing_else(five_days: Project) -> None:
    assert sorted(held_groups(five_days)) == ["cup", "jar", "lamp", "vase"]


def test_the_books_close_and_name_every_reason(five_days: Project) -> None:
    with five_days.place() as place:
        (record,) = place.store.records(RecordQuery(tasks=("evict",), date_from=DAYS[3], date_to=DAYS[3]))
        (dedup,) = place.store.records(RecordQuery(tasks=("dedup",), date_from=DAYS[3], date_to=DAYS[3]))
    assert (record.input, record.output, record.dropped) == (6, 5, {"superseded": 1})
    assert record.input == dedup.metrics["live"]
    assert record.metrics == {
        "window": 2,
        "tail": 2,
        "marked": 1,
        "groups": 4,
        "groups_at_risk": 2,
        "tail_fill_max": 0,
        "with_clicks": 0,
        "with_quality": 0,
    }


def test_plan_verify_and_explain_tell_the_same(five_days: Project, main_in: Main, tmp_path: Path) -> None:
    page = tmp_path / "evict.html"
    planned = main_in(five_days.folder, "evict", "plan", "--json", "--page", str(page))
    told = json.loads(planned.out)
    assert told["rows"] == told["keep"] + sum(told["drop"].values())
    assert told["groups"] == 4
    assert "http" not in page.read_text(encoding="utf-8").replace("http-equiv", "")
    verified = main_in(five_days.folder, "evict", "verify", "--json")
    assert (verified.code, json.loads(verified.out)["violations"]) == (0, [])
    picture = lamp_that_went(five_days)
    why = json.loads(main_in(five_days.folder, "evict", "explain", picture[:12], "--json").out)
    assert [one["reason"] for one in why] == ["superseded", "marked", "window"]


def lamp_that_went(project: Project) -> str:
    with project.place() as place:
        (part,) = Partitions(place.store, place.topology, None).of_task("evict", DAYS[3])
        rows = place.lake.read_table(f"{part.folder}/eviction.parquet").to_pylist()
    return next(str(one["picture"]) for one in rows if one["reason"] == "superseded")


def test_a_release_from_which_a_product_was_taken_by_hand_breaks_g1(
    five_days: Project, copy_of: Callable[[Project], Project], main_in: Main
) -> None:
    project = copy_of(five_days)
    with project.place() as place:
        manifest = current(place.lake.folder())
        assert manifest is not None
        ((_, entry),) = [one for one in manifest.categories.items() if one[1].rows]
        path = Path(place.lake.full(entry.items_path))
        table = place.lake.read_table(entry.items_path)
    path.chmod(0o644)
    pq.write_table(table.filter(pc.not_equal(table["group"], "lamp")), path)
    ended = main_in(project.folder, "evict", "verify", "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["G1"]) == (1, False)
    assert any("lamp" in one["what"] + one["message"] for one in told["violations"])


def test_apply_without_yes_shows_the_plan_and_writes_nothing(five_days: Project, main_in: Main) -> None:
    def written() -> list[Path]:  # SQLite's own files beside the store come and go
        return sorted(path for path in (five_days.folder / "lake").rglob("*") if path.is_file())

    before = written()
    shown = main_in(five_days.folder, "evict", "apply")
    assert (shown.code, "nothing was done" in shown.out) == (0, True)
    assert written() == before


@pytest.mark.slow
def test_a_takedown_is_applied_at_once_and_released(
    five_days: Project, copy_of: Callable[[Project], Project], main_in: Main
) -> None:
    project = copy_of(five_days)
    taken = main_in(project.folder, "release", "takedown", "group", "jar", "--by", "ana", "--why", "the brand asked")
    assert taken.code == 0, taken.err
    told = json.loads(main_in(project.folder, "evict", "plan", "--json").out)
    assert told["drop"]["takedown"] == 1
    done = main_in(project.folder, "evict", "apply", "--reason", "takedown of jar", "--yes", "--json")
    assert done.code == 0, done.err
    assert sorted(held_groups(project)) == ["cup", "lamp", "vase"]
    assert main_in(project.folder, "evict", "verify").code == 0


@pytest.mark.slow
def test_a_new_policy_is_applied_and_released_and_no_day_of_the_window_is_stale_for_it(
    five_days: Project, copy_of: Callable[[Project], Project], main_in: Main
) -> None:
    project = copy_of(five_days)
    project.configure(evict={"window_days": 1})
    planned = json.loads(main_in(project.folder, "evict", "plan", "--json").out)
    assert planned["keep_by"]["window"] < len(library(project, DAYS[4]))
    done = main_in(project.folder, "evict", "apply", "--reason", "a smaller window", "--yes", "--json")
    assert done.code == 0, done.out + done.err
    assert sorted(held_groups(project)) == ["cup", "jar", "lamp", "vase"]
    assert main_in(project.folder, "evict", "verify").code == 0


@pytest.mark.slow
def test_look_alikes_without_a_product_are_one_where_the_policy_says_so(tmp_path: Path) -> None:
    project = new_project(tmp_path / "alike")
    project.configure(evict={"window_days": 1, "min_per_group": 1, "near_duplicate": 0.99}, dedup={"max_distance": 0})
    same = draw(1)
    other = same.copy()
    other.paste((250, 10, 10), (0, 0, 30, 30))  # no duplicate by its hash, alike by its vector
    rows = [row(project.picture(f"{name}.png", one), name) for name, one in (("a", same), ("b", other))]
    project.manifest(DAYS[0], [*rows, row(project.drawn(7), "c")])
    for day in DAYS[1:3]:
        project.manifest(day, [row(project.drawn(day.day + 20), f"s{day.day}")])
    run_here(project, *DAYS[:3])
    with project.place() as place:
        (part,) = Partitions(place.store, place.topology, None).of_task("evict", DAYS[2])
        rows_of = place.lake.read_table(f"{part.folder}/eviction.parquet").to_pylist()
    assert sum(one["reason"] == "superseded" for one in rows_of) == 1  # of a and b, never c


@pytest.mark.slow
def test_a_tail_without_room_for_one_of_each_product_fails_and_nothing_is_evicted_or_released(tmp_path: Path) -> None:
    project = new_project(tmp_path / "full")
    project.configure(evict={"window_days": 1, "min_per_group": 1, "tail_budget": {"*": 2}})
    arrive(project, DAYS[0], 0, 2, 5)
    arrive(project, DAYS[1], 3)
    run_here(project, DAYS[0])
    with project.place() as place:
        plan = plan_day(place, DAYS[1])
        work_off(place, plan)
        with place.store.read() as connection:
            ((key, error),) = instances.failures(connection, [plan.planid])
        served = current(place.lake.folder())
    assert key.task == "evict"
    assert error.startswith("TailFull: ")
    assert "red" in error
    assert served is not None
    assert served.date == DAYS[0]
