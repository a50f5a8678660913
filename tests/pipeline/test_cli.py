"""What programs read from the commands, and what people do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from sqlalchemy import delete

from pipeline.cli_options import names
from pipeline.project import default_topology
from reporting import tables as t
from reporting.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from reporting.plans import PlanKind
from reporting.topology import Topology
from tests.pipeline.arrivals import DAYS, FUNNEL, OFFERS
from tests.pipeline.conftest import Ended
from tests.pipeline.project import (
    DAY_1,
    DAY_2,
    DAY_3,
    Project,
    new_project,
    plan_day,
    row,
    run_here,
    store_of,
    work_off,
)

Main = Callable[..., Ended]
Copy = Callable[[Project], Project]


def documents(kind: str, **properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with these required keys; further keys are allowed (the issue, "Shown by")."""
    found = {"type": "object", "required": sorted(properties), "properties": properties}
    return {"type": "array", "items": found} if kind == "list" else found


TEXT, COUNT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "number", "minimum": 0}
DAY = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
COUNTS = {"type": "object", "additionalProperties": COUNT}
TASK: dict[str, Mapping[str, Any]] = {
    "input": COUNT,
    "output": COUNT,
    "produced": COUNT,
    "kept_ratio": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    "dropped": COUNTS,
    "failed": COUNTS,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "balance": documents(
        "list",
        date=DAY,
        planid=TEXT,
        input=COUNT,
        output=COUNT,
        dropped=COUNT,
        failed=COUNT,
        unexplained={"const": 0},
    ),
    "funnel": documents("list", task=TEXT, **TASK),
    "search": documents(
        "one",
        generation={"type": "integer", "minimum": 1},
        results=documents(
            "list",
            rank={"type": "integer", "minimum": 1},
            item={"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
            group=TEXT,
            offers={**documents("list", sku=TEXT, merchant=TEXT), "minItems": 1},
            category=TEXT,
            distance={"type": "number", "minimum": 0, "maximum": 2},
        ),
    ),
    "run": documents(
        "one",
        planid=TEXT,
        state={"enum": ["open", "complete", "promoted", "abandoned"]},
        tasks={"type": "object", "additionalProperties": documents("one", **TASK)},
        seconds=NUMBER,
    ),
}


def parsed(ended: Ended, schema: str | None = None, code: int = EXIT_OK) -> Any:
    """Return the JSON a command printed: nothing else may stand on standard output."""
    assert ended.code == code, ended.err + ended.out
    document = json.loads(ended.out)
    if schema is not None:
        jsonschema.validate(document, SCHEMAS[schema])
    return document


def test_balance_is_a_list_of_books_with_nothing_unexplained(three_days: Project, main_in: Main) -> None:
    rows = parsed(main_in(three_days.folder, "balance", "--json"), "balance")
    assert [row["date"] for row in rows] == [str(day) for day in DAYS]
    for day, one in zip(DAYS, rows, strict=True):
        dropped = sum(sum(reasons.values()) for _, reasons in FUNNEL[day].values())
        assert (one["dropped"], one["failed"]) == (dropped, 0)
        assert one["input"] == one["output"] + one["dropped"]


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_funnel_is_a_list_of_tasks_in_the_order_of_the_graph(three_days: Project, main_in: Main, day: Any) -> None:
    rows = parsed(main_in(three_days.folder, "funnel", "--date", str(day), "--json"), "funnel")
    assert [row["task"] for row in rows] == list(Topology.load(three_days.folder / "pipeline.yaml").order)
    assert {row["task"]: (row["input"], row["dropped"]) for row in rows if row["task"] in FUNNEL[day]} == FUNNEL[day]


def test_search_answers_with_items_and_all_their_offers(three_days: Project, main_in: Main) -> None:
    found = parsed(main_in(three_days.folder, "search", "pictures/0.png", "-k", "5", "--json"), "search")
    hits = found["results"]
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5]
    assert [hit["distance"] for hit in hits] == sorted(hit["distance"] for hit in hits)
    assert len({hit["item"] for hit in hits}) == 5
    assert {(offer["merchant"], offer["sku"]) for offer in hits[0]["offers"]} == OFFERS["0.png"]
    assert hits[0]["distance"] == 0


def test_search_can_be_limited_to_a_category_and_names_the_known_ones(three_days: Project, main_in: Main) -> None:
    search = ("search", "pictures/0.png", "-k", "50", "--json")
    found = parsed(main_in(three_days.folder, *search, "--category", "green"), "search")
    assert {hit["category"] for hit in found["results"]} == {"green"}
    ended = main_in(three_days.folder, *search, "--category", "grene")
    assert ended.code == EXIT_USAGE
    assert "category 'grene' is not in this release; did you mean green?" in ended.err


def test_search_prints_for_people_and_writes_a_page_that_needs_nothing_else(
    three_days: Project, main_in: Main, tmp_path: Path
) -> None:
    page = tmp_path / "sheets" / "page.html"
    ended = main_in(three_days.folder, "search", "pictures/0.png", "-k", "3", "--sheet", str(page))
    assert ended.code == EXIT_OK
    assert "acme/s0, bolt/b0, dune/d0" in ended.out
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 4  # the query and three hits
    assert "http" not in text.replace("http-equiv", "")


def test_a_second_run_does_nothing_and_says_so(three_days: Project, main_in: Main) -> None:
    before = (three_days.folder / "lake/CURRENT").read_bytes()
    arguments = ("run", "--source", f"{DAY_1}.csv", "--date", str(DAY_1))
    found = parsed(main_in(three_days.folder, *arguments, "--json"), "run")
    assert (found["planid"], found["state"]) == ("daily-20261101", "complete")
    assert found["note"] == "nothing to do: plan daily-20261101 is complete"
    assert {task: found["tasks"][task]["dropped"] for task in FUNNEL[DAY_1]} == {
        task: drops for task, (_, drops) in FUNNEL[DAY_1].items()
    }
    ended = main_in(three_days.folder, *arguments)
    assert ended.code == EXIT_OK
    assert "nothing to do (use --kind rerun to do it again)" in " ".join(ended.out.split())
    assert (three_days.folder / "lake/CURRENT").read_bytes() == before


def test_run_works_a_day_off_with_worker_processes(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project", workers=1)
    project.manifest(DAY_1, [row(project.drawn(n), f"s{n}", category="") for n in range(3)])
    done = project.call("run", "--source", f"{DAY_1}.csv", "--date", str(DAY_1), "--json")
    found = parsed(Ended(done.returncode, done.stdout, done.stderr), "run")
    assert (found["state"], found["failures"], found["blocked_by"]) == ("complete", [], [])
    assert found["tasks"]["merge"]["output"] == 3
    assert "instances done" in done.stderr  # progress, away from what programs read


def test_run_limited_to_tasks_leaves_the_rest_for_later(tmp_path: Path, main_in: Main) -> None:
    project = new_project(tmp_path / "project")
    project.manifest(DAY_1, [row(project.drawn(n), f"s{n}") for n in range(2)])
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        work_off(place, plan, tasks=("collect", "download"))
    shown = parsed(main_in(project.folder, "plan", "show", plan.planid, "--json"))
    assert shown["state"] == "open"
    assert {task for task, states in shown["instances"].items() if "done" in states} == {"collect", "download"}
    run_here(project, DAY_1)
    assert parsed(main_in(project.folder, "plan", "show", plan.planid, "--json"))["state"] == "complete"


def test_plan_list_and_show_tell_what_was_done(three_days: Project, main_in: Main) -> None:
    plans = parsed(main_in(three_days.folder, "plan", "list", "--json"))
    assert [(plan["planid"], plan["kind"], plan["state"]) for plan in plans] == [
        (f"daily-{day:%Y%m%d}", "daily", "complete") for day in DAYS
    ]
    assert "daily-20261102" in main_in(three_days.folder, "plan", "list").out
    shown = parsed(main_in(three_days.folder, "plan", "show", "daily-20261102", "--json"))
    assert shown["instances"]["embed"] == {"done": 6}  # 2 packages x 3 categories
    text = main_in(three_days.folder, "plan", "show", "daily-20261102").out
    assert f"source of {DAY_2}: {three_days.folder}/{DAY_2}.csv" in text
    assert text.index("collect ") < text.index("merge ")


@pytest.mark.parametrize("command", [["plan", "show"], ["plan", "promote"], ["plan", "abandon"], ["funnel", "--plan"]])
def test_an_unknown_plan_is_refused_with_the_nearest(three_days: Project, main_in: Main, command: list[str]) -> None:
    ended = main_in(three_days.folder, *command, "daily-20261103x")
    assert ended.code == EXIT_USAGE
    assert "there is no plan 'daily-20261103x'; did you mean daily-20261103" in ended.err


def test_promote_makes_a_repair_count_and_the_days_after_it_stale(
    three_days: Project, copy_of: Copy, main_in: Main
) -> None:
    project = copy_of(three_days)
    assert "nothing is stale" in main_in(project.folder, "plan", "stale").out
    assert parsed(main_in(project.folder, "plan", "stale", "--json")) == []
    (repair,) = run_here(project, DAY_2, kind=PlanKind.RERUN, source=None, tasks=("dedup",))
    assert main_in(project.folder, "plan", "promote", repair.planid).code == EXIT_OK
    rows = parsed(main_in(project.folder, "plan", "stale", "--json"))
    assert {row["date"] for row in rows} == {str(DAY_3)}
    assert {"dedup", "merge", "release"} <= {row["task"] for row in rows}
    text = main_in(project.folder, "plan", "stale").out
    assert f"rebuild: funnelgate run --date {DAY_3} --kind rerun --promote --tasks dedup," in text
    again = main_in(project.folder, "plan", "abandon", repair.planid)
    assert again.code == EXIT_USAGE
    assert f"{repair.planid} is promoted; only an open plan can be abandoned" in again.err


def test_balance_of_all_plans_shows_the_repair_that_does_not_count(
    three_days: Project, copy_of: Copy, main_in: Main
) -> None:
    project = copy_of(three_days)
    (repair,) = run_here(project, DAY_3, kind=PlanKind.RERUN, source=None, tasks=("merge",))
    counted = parsed(main_in(project.folder, "balance", "--json"), "balance")
    assert repair.planid not in {row["planid"] for row in counted}
    every = parsed(main_in(project.folder, "balance", "--all-plans", "--json"), "balance")
    assert repair.planid in {row["planid"] for row in every}


def test_a_hole_in_the_books_ends_balance_with_1_and_is_explained(
    three_days: Project, copy_of: Copy, main_in: Main
) -> None:
    project = copy_of(three_days)
    with store_of(project) as store, store.begin() as work:
        c = t.record.c
        work.connection.execute(delete(t.record).where(c.task == "hash", c.subinstance == "0001", c.date == DAY_1))
    ended = main_in(project.folder, "balance", "--json", "--explain")
    assert ended.code == EXIT_FAILED
    assert json.loads(ended.out)[0]["unexplained"] > 0
    assert "quality -> hash 0001" in ended.err


def test_init_writes_a_project_that_loads_and_overwrites_nothing(tmp_path: Path, main_in: Main) -> None:
    ended = main_in(tmp_path, "init", "mine")
    assert ended.code == EXIT_OK
    assert "next: cd mine && funnelgate run --source MANIFEST --date DAY" in ended.out
    assert (tmp_path / "mine/pipeline.yaml").read_text() == default_topology()
    assert yaml.safe_load((tmp_path / "mine/funnelgate.yaml").read_text())["pipeline"] == "pipeline.yaml"
    assert main_in(tmp_path / "mine", "plan", "list").code == EXIT_OK
    (tmp_path / "mine/funnelgate.yaml").write_text("run: {workers: 9}\n")
    again = main_in(tmp_path, "init", "mine")
    assert again.code == EXIT_USAGE
    assert "is already there; remove it first" in again.err
    assert (tmp_path / "mine/funnelgate.yaml").read_text() == "run: {workers: 9}\n"


def test_names_are_split_at_commas() -> None:
    assert names(None) == names("") == ()
    assert names("a, b,,c ") == ("a", "b", "c")
