"""`funnelgate checks plan|run|explain|schema`: what people and programs read, and the exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from reporting.plans import Leaf
from reporting.stores import open_store
from tests.checks.rule_sets import EVERY_KIND
from tests.checks.schemas import follow
from tests.checks.world import TOPOLOGY, World
from tests.pipeline.conftest import Ended, main_in

__all__ = ["main_in"]

DAY = Date(2024, 6, 5)
"""Long over, whatever clock this machine has."""
EMPTY_DAY = Date(2024, 7, 1)
RUINED = Leaf("crop", DAY, "all", "0002")
# Without drift, which would want a month of history; without plan_diff, which has nothing to compare.
RULES = "".join(
    line for line in EVERY_KIND.splitlines(keepends=True) if "drift" not in line and "ignore_small: {rel" not in line
)
Main = Callable[..., Ended]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Projects with a balanced day and with a ruined one. Read only: change a copy."""
    found = {}
    for name, world in (("balanced", World()), ("ruined", World().ruin(RUINED))):
        folder = found[name] = tmp_path_factory.mktemp(name)
        write(folder / "pipeline.yaml", TOPOLOGY.model_dump(mode="json", by_alias=True, exclude_none=True))
        write(folder / "funnelgate.yaml", {"pipeline": "pipeline.yaml", "checks": {"rules": "checks.yaml"}})
        (folder / "checks.yaml").write_text(RULES, encoding="utf-8")
        (folder / "state").mkdir()
        with open_store(f"sqlite:///{folder}/state/funnelgate.db") as store:
            world.put(store, [DAY - timedelta(days=back) for back in range(3)])
    return found


@pytest.fixture
def project(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copy one of the projects."""

    def copied(name: str) -> Path:
        return Path(shutil.copytree(folders[name], tmp_path / name))

    return copied


def write(path: Path, data: Any) -> None:
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


def document(ended: Ended, schema: str) -> Any:
    found = json.loads(ended.out)
    follow(schema, found)
    return found


def test_plan_lists_what_the_file_expands_to_without_any_record(main_in: Main, project):
    folder = project("balanced")
    ended = main_in(folder, "checks", "plan")
    assert ended.code == 0
    assert "detect->crop" in ended.out
    found = document(main_in(folder, "checks", "plan", "--check", "edges", "--json"), "checks-plan")
    assert [one["instance"] for one in found["instances"]] == [
        f"{edge.source}->{edge.target}" for edge in TOPOLOGY.edges if edge.law != "after"
    ]
    assert {one["check"] for one in found["instances"]} == {"edges"}


def test_a_balanced_day_ends_with_0_and_follows_its_schema(main_in: Main, project):
    ended = main_in(project("balanced"), "checks", "run", "--date", str(DAY), "--json")
    found = document(ended, "checks-run")
    assert (ended.code, found["status"], found["date"]) == (0, "pass", str(DAY))
    assert {check["status"] for check in found["checks"] if check["counts"]} == {"pass"}


def test_a_ruined_day_ends_with_1_and_tells_the_place_the_repair_and_the_incident(main_in: Main, project):
    folder = project("ruined")
    ended = main_in(folder, "checks", "run")  # the latest day
    assert ended.code == 1
    assert "crop: 1 of 3 leaves have no record" in ended.out
    assert f"funnelgate run --kind rerun --date {DAY} --tasks crop --subinstances 0002 --promote" in ended.out
    (incident,) = json.loads(main_in(folder, "incidents", "list", "--json").out)
    assert f"incident {incident['episode']}: firing" in ended.out
    assert incident["key"]["task"] == "crop"


def test_a_day_without_records_is_not_evaluated_and_ends_with_3(main_in: Main, project):
    folder = project("balanced")
    arguments = ("checks", "run", "--date", str(EMPTY_DAY), "--check", "books", "--json")
    ended = main_in(folder, *arguments)
    assert (ended.code, json.loads(ended.out)["status"]) == (3, "not_evaluated")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "--check", "boks"), "unknown check 'boks'; did you mean books"),
        (("run", "--date", "yesterday"), "'yesterday' is no day"),
        (("run", "--as-of", "noon"), "'noon' is no moment"),
        (("run", "--rules", "absent.yaml"), "absent.yaml: no such file"),
        (("run", "--junit", "checks.yaml/junit.xml"), "--junit checks.yaml/junit.xml: cannot be written"),
        (("explain", "there", "--instance", "crpo"), "no instance 'crpo'; did you mean crop"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_what_is_right(arguments, says, main_in: Main, project):
    ended = main_in(project("balanced"), "checks", *arguments)
    assert ended.code == 2
    assert says in ended.err


def test_a_store_that_cannot_be_reached_ends_with_4(main_in: Main, project, monkeypatch):
    monkeypatch.setenv("FUNNELGATE_STORE__URL", "sqlite:////proc/none/funnelgate.db")
    assert main_in(project("balanced"), "checks", "run").code == 4


@pytest.mark.parametrize("option", [("--no-act",), ("--as-of", f"{DAY + timedelta(days=1)}T12:00:00")])
def test_who_only_looks_opens_no_incident(option, main_in: Main, project):
    folder = project("ruined")
    assert main_in(folder, "checks", "run", "--date", str(DAY), *option).code == 1
    assert json.loads(main_in(folder, "incidents", "list", "--all", "--json").out) == []


@pytest.mark.slow
def test_a_past_moment_is_judged_as_it_was(main_in: Main, project):
    folder = project("balanced")
    early = f"{DAY + timedelta(days=1)}T01:00:00"
    ended = main_in(folder, "checks", "run", "--date", str(DAY), "--as-of", early, "--check", "there", "--json")
    found = json.loads(ended.out)
    assert found["as_of"].startswith(early)
    waiting = {check["instance"] for check in found["checks"] if check["status"] == "not_evaluated"}
    assert {"embed", "index", "merge"} <= waiting
    assert not waiting & {"collect", "download"}


@pytest.mark.slow
def test_the_reports_are_written_where_they_are_wanted(main_in: Main, project):
    folder = project("ruined")
    files = ("--junit", "out/junit.xml", "--markdown", "out/run.md", "--openmetrics", "out/run.prom")
    assert main_in(folder, "checks", "run", "--date", str(DAY), *files).code == 1
    texts = [(folder / "out" / name).read_text(encoding="utf-8") for name in ("junit.xml", "run.md", "run.prom")]
    assert texts[0].startswith("<?xml")
    assert texts[1].startswith(f"## Checks of {DAY}: fail")
    assert texts[2].endswith("# EOF\n")


def test_explain_tells_numbers_place_and_owner_and_writes_nothing(main_in: Main, project):
    folder = project("ruined")
    ended = main_in(folder, "checks", "explain", "edges", "--instance", "detect->crop", "--date", str(DAY))
    assert ended.code == 1
    for told in ("fail  edges (reconcile)  detect->crop", "subinstance=0002", "to mend it   funnelgate run"):
        assert told in ended.out, ended.out
    assert json.loads(main_in(folder, "incidents", "list", "--all", "--json").out) == []
    as_json = main_in(folder, "checks", "explain", "edges", "--date", str(DAY), "--json")
    assert {check["id"] for check in document(as_json, "checks-run")["checks"]} == {"edges"}


def test_explain_of_what_has_passed_says_so(main_in: Main, project):
    ended = main_in(project("balanced"), "checks", "explain", "books")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, f"{DAY}: 20 of 20 instances have passed")


def test_schema_prints_the_schema_of_the_file(main_in: Main, project):
    folder = project("balanced")
    found = json.loads(main_in(folder, "checks", "schema").out)
    Draft202012Validator.check_schema(found)
    assert "checks" in found["required"]


@pytest.mark.slow
def test_a_sink_of_the_settings_hears_of_the_incident_once(main_in: Main, project):
    folder = project("ruined")
    sinks = [{"kind": "log", "name": "book", "path": "told.jsonl"}]
    write(folder / "funnelgate.yaml", {"pipeline": "pipeline.yaml", "checks": {"rules": "checks.yaml", "sinks": sinks}})
    first, second = (main_in(folder, "checks", "run", "--date", str(DAY)) for _ in range(2))
    assert "notices: 1 sent, 0 to be tried again, 0 put aside" in first.err
    assert second.err == ""
    (told,) = (folder / "told.jsonl").read_text(encoding="utf-8").splitlines()
    assert "crop" in told


def test_the_rules_that_come_with_funnelgate_are_refused_by_another_graph_with_a_hint(main_in: Main, project):
    folder = project("balanced")
    tasks = {name: {"unit_in": "word", "unit_out": "word"} for name in ("filter", "count")}
    write(folder / "pipeline.yaml", {"tasks": tasks, "edges": [{"from": "filter", "to": "count"}]})
    write(folder / "funnelgate.yaml", {"pipeline": "pipeline.yaml"})
    ended = main_in(folder, "checks", "plan")
    assert ended.code == 2
    assert "default.yaml:" in ended.err
    assert "checks.rules in funnelgate.yaml" in ended.err


@pytest.mark.slow
def test_incidents_and_localisation_follow_their_schemas(main_in: Main, project):
    folder = project("ruined")
    main_in(folder, "checks", "run", "--date", str(DAY))
    (incident,) = document(main_in(folder, "incidents", "list", "--json"), "incidents")
    assert incident["impact"]
    (folder / "leaves.csv").write_text("sub,taken,handed\n0001,9,9\n0002,5,9\n", encoding="utf-8")
    columns = ("leaves.csv", "--actual", "taken", "--expected", "handed")
    found = document(main_in(folder, "checks", "localise", *columns, "--json"), "checks-localise")
    assert found["causes"] == [{"where": {"sub": ["0002"]}, "missing": 4, "share": 1}]
