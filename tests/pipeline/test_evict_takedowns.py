"""Takedowns between the days: what is said at once, what leaves the next index, and what clicks have to do with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from pipeline.evict.policy import EvictPolicy, ValueWeights
from pipeline.evict_look import evicted_day
from pipeline.partitions import Partitions
from pipeline.release.pointer import current
from reporting.plans import PlanKind
from reporting.stores.base import RecordQuery
from tests.pipeline.conftest import Ended
from tests.pipeline.project import DAY_1, Project, new_project, row, run_here

pytestmark = pytest.mark.slow  # whole days through every task

Main = Callable[..., Ended]
DAYS = tuple(DAY_1 + timedelta(days=number) for number in range(4))
GROUP_OF = {0: "lamp", 1: "lamp", 2: "vase", 3: "cup", 4: "jar", 5: "pot"}


@pytest.fixture(scope="module")
def four_days(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Window of two days, one picture kept of a product; of the two lamps of day 1 that with clicks stays."""
    project = new_project(tmp_path_factory.mktemp("takedowns") / "days")
    value = {"freshness": 1, "clicks": 1, "quality": 0, "uniqueness": 0}
    policy = {"window_days": 2, "min_per_group": 1, "value": value, "signals": "signals/{date}.csv"}
    project.configure(evict=policy)
    for day, numbers in zip(DAYS, ((0, 1, 2), (3,), (4,), (5,)), strict=True):
        rows = [row(project.drawn(number), f"s{number}", group=GROUP_OF[number]) for number in numbers]
        project.manifest(day, rows)
    run_here(project, DAYS[0])
    (project.folder / "signals").mkdir()
    clicked = lamps(project)[1]  # the one that goes without clicks
    text = f"merchant,sku,clicks\nacme,{clicked},100\nacme,s2,3\nother,s2,8\n"
    (project.folder / f"signals/{DAYS[1]}.csv").write_text(text, encoding="utf-8")
    run_here(project, *DAYS[1:])
    return project


def lamps(project: Project) -> list[str]:
    """Return the skus of the two lamps; where nothing else tells them apart the first stays, by sha256."""
    rows = sorted(rows_of(project, "dedup", "live", 0), key=lambda one: str(one["picture"]))
    return [one["offers"][0]["sku"] for one in rows if one["group"] == "lamp"]


def rows_of(project: Project, task: str, name: str, day: int) -> list[dict[str, Any]]:
    with project.place() as place:
        parts = Partitions(place.store, place.topology, None).of_task(task, DAYS[day])
        tables = [place.lake.read_table(f"{part.folder}/{name}.parquet") for part in parts]
    return [one for table in tables for one in table.to_pylist()]


def served(project: Project) -> dict[int, str]:
    """Return id and product of every row of the current release."""
    with project.place() as place:
        manifest = current(place.lake.folder())
        assert manifest is not None
        return {
            one["id"]: one["group"]
            for entry in manifest.categories.values()
            for one in place.lake.read_table(entry.items_path, ["id", "group"]).to_pylist()
        }


def take_down(main_in: Main, project: Project, kind: str, value: str) -> None:
    ended = main_in(project.folder, "release", "takedown", kind, value, "--by", "ana", "--why", "asked to")
    assert ended.code == 0, ended.err


def verified(main_in: Main, project: Project, code: int) -> dict[str, Any]:
    ended = main_in(project.folder, "evict", "verify", "--json")
    assert ended.code == code, ended.out + ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def test_the_picture_with_clicks_represents_its_product_though_it_would_lose_the_tie(four_days: Project) -> None:
    clicked = lamps(four_days)[1]
    left = rows_of(four_days, "evict", "library", 3)
    assert [one["offers"][0]["sku"] for one in left if one["group"] == "lamp"] == [clicked]


def test_the_books_name_the_file_that_decided_and_how_much_it_knew(four_days: Project, main_in: Main) -> None:
    with four_days.place() as place:
        before, after = (
            place.store.records(RecordQuery(tasks=("evict",), date_from=day, date_to=day))[0]
            for day in (DAYS[0], DAYS[1])
        )
    assert ("signals" in before.versions, before.metrics["with_clicks"]) == (False, 0)
    assert after.versions["signals"].startswith(f"{DAYS[1]} ")
    assert (after.metrics["with_clicks"], after.metrics["with_quality"]) == (2, 0)
    told = json.loads(main_in(four_days.folder, "evict", "plan", "--json").out)
    assert (told["signals"]["date"], told["signals"]["with_clicks"]) == (str(DAYS[1]), 2)
    assert f"{DAYS[1]}.csv (sha256 " in main_in(four_days.folder, "evict", "plan").out


def test_a_wrong_file_stops_evict_with_its_row_and_column(
    four_days: Project, copy_of: Callable[[Project], Project], main_in: Main
) -> None:
    project = copy_of(four_days)
    (project.folder / f"signals/{DAYS[3]}.csv").write_text("merchant,sku,clicks\nacme,s0,-4\n", encoding="utf-8")
    ended = main_in(project.folder, "evict", "plan")
    assert (ended.code, f"{DAYS[3]}.csv, row 1: clicks is -4.0; expected a number from 0" in ended.err) == (2, True)


def test_uniqueness_reaches_the_decision_as_brute_force_over_the_day_s_vectors_finds_it(four_days: Project) -> None:
    policy = EvictPolicy(value=ValueWeights(freshness=0, clicks=0, quality=0, uniqueness=1))
    with four_days.place() as place:
        found = evicted_day(place, DAYS[3], policy)
    value = dict(zip(found.names.pictures.to_pylist(), found.stored.value.tolist(), strict=True))
    rows = rows_of(four_days, "embed", "items", 0)  # one list: too few for more
    assert {one["group"] for one in rows} == {"lamp", "vase"}
    for one in rows:
        others = [np.dot(one["vector"], other["vector"]) for other in rows if other["group"] != one["group"]]
        assert value[one["picture"]] == pytest.approx(1 - max(others), abs=1e-6)
        assert value[one["picture"]] > 1e-3


@pytest.mark.parametrize("kind", ["item", "picture", "group", "offer"])
def test_after_a_takedown_only_g5_is_broken_and_says_what_to_do(
    four_days: Project, copy_of: Callable[[Project], Project], main_in: Main, kind: str
) -> None:
    assert verified(main_in, four_days, 0)["violations"] == []
    project = copy_of(four_days)
    number = next(number for number, group in served(project).items() if group == "vase")
    (vase,) = (one for one in rows_of(project, "evict", "library", 3) if one["group"] == "vase")
    names = {"item": str(number), "picture": vase["picture"], "group": "vase", "offer": "acme/s2"}
    take_down(main_in, project, kind, names[kind])
    told = verified(main_in, project, 1)
    assert [name for name in ("G1", "G2", "G3", "G4", "G5", "G6") if not told[name]] == ["G5"]
    (violation,) = told["violations"]
    assert violation["what"] == (str(number) if kind == "item" else vase["picture"])
    assert "`funnelgate evict apply --reason TEXT --yes`" in violation["message"]


def test_what_is_only_delisted_by_hand_is_no_takedown_that_an_index_must_not_hold(
    four_days: Project, copy_of: Callable[[Project], Project], main_in: Main
) -> None:
    project = copy_of(four_days)
    (vase,) = (one for one in rows_of(project, "evict", "library", 3) if one["group"] == "vase")
    asked = ("release", "takedown", "picture", vase["picture"], "--by", "ana", "--why", "sold", "--reason", "delisted")
    assert main_in(project.folder, *asked).code == 0
    assert verified(main_in, project, 0)["violations"] == []


def test_a_file_of_clicks_that_is_gone_breaks_no_guarantee_of_the_day_that_it_decided(
    four_days: Project, copy_of: Callable[[Project], Project], main_in: Main
) -> None:
    project = copy_of(four_days)
    file = project.folder / f"signals/{DAYS[3]}.csv"
    file.write_text(f"merchant,sku,clicks\nacme,{lamps(project)[0]},1000\n", encoding="utf-8")
    done = main_in(project.folder, "evict", "apply", "--reason", "new clicks", "--yes", "--json")
    assert done.code == 0, done.out + done.err
    assert verified(main_in, project, 0)["violations"] == []
    file.unlink()  # by the older file the lamp marked the day before would go now
    assert verified(main_in, project, 0)["violations"] == []


def test_an_object_taken_down_between_evict_and_merge_is_not_missed_by_any_guarantee(
    four_days: Project, copy_of: Callable[[Project], Project], main_in: Main
) -> None:
    project = copy_of(four_days)
    number = next(number for number, group in served(project).items() if group == "jar")  # of the window, and indexed
    take_down(main_in, project, "item", str(number))
    run_here(project, DAYS[3], kind=PlanKind.RERUN, source=None, tasks=("merge",), promote=True, reason="merge again")
    assert number not in served(project)
    assert verified(main_in, project, 0)["violations"] == []


def test_an_object_that_is_taken_down_by_its_id_is_in_no_later_index_and_a_rollback_still_hides_it(
    four_days: Project, copy_of: Callable[[Project], Project], main_in: Main
) -> None:
    project = copy_of(four_days)
    number = next(number for number, group in served(project).items() if group == "pot")
    take_down(main_in, project, "item", str(number))
    done = main_in(project.folder, "evict", "apply", "--reason", "one object", "--yes", "--json")
    assert done.code == 0, done.out + done.err
    assert number not in served(project)
    with project.place() as place:
        records = place.store.records(RecordQuery(tasks=("merge",), date_from=DAYS[3], date_to=DAYS[3]))
    assert sum(record.dropped.get("takedown", 0) for record in records) == 1
    assert verified(main_in, project, 0)["violations"] == []
    back = main_in(project.folder, "release", "rollback", "4", "--by", "ana", "--why", "to see what it hides", "--json")
    assert back.code == 0, back.err
    assert number in served(project)
    assert not verified(main_in, project, 1)["G5"]
    assert number not in answered(main_in, project)
    take_up = ("release", "takedown", "item", str(number), "--by", "ana", "--why", "a mistake", "--lift")
    assert main_in(project.folder, *take_up).code == 0
    assert number in answered(main_in, project)


def answered(main_in: Main, project: Project) -> set[int]:
    """Return the items that a search for the pot answers with."""
    ended = main_in(project.folder, "search", str(project.folder / "pictures/5.png"), "--json")
    assert ended.code == 0, ended.err
    return {number for one in json.loads(ended.out)["results"] for number in one["items"]}
