"""One fault in a whole pipeline is one incident, at the task and the leaves where it was put in."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks import engine
from checks.history import History
from checks.incidents import IncidentState
from checks.lifecycle import step
from checks.spec import load_checks
from reporting.plans import Leaf
from tests.checks.world import DAY, TOPOLOGY, World, noon

RULES = """
version: 1
checks:
  - {id: books, kind: conservation, tasks: "*"}
  - {id: edges, kind: reconcile, edges: "*"}
  - {id: same, kind: digest, edges: "*"}
  - {id: all, kind: complete, tasks: "*"}
  - {id: versions, kind: version, tasks: "*", fields: [code], within: plan}
  - {id: yield, kind: reconcile, path: {from: collect, to: index, ratio: [0.5, 10]}}
  - {id: nothing, kind: ratio, value: dropped.no_object / input, tasks: [detect], between: [0, 0.2]}
"""
DRIFT = """
  - id: volume
    kind: drift
    measure: produced
    tasks: "*"
    group_by: [category, subinstance]
    ignore_small: {rel: 0.03, abs: 20}
    levels: {warn: 0, page: 0.1}
"""
WORLD = World(rows=200)
PACKAGE = Leaf("download", DAY, subinstance="0002")

FAULTS = {
    "a lost record": (WORLD.lose(PACKAGE), [("all", "download", "subinstance=0002")]),
    "a lost package": (WORLD.ruin(PACKAGE), [("all", "download", "subinstance=0002")]),
    "a lost leaf": (
        WORLD.ruin(Leaf("embed", DAY, "shoes", "0002")),
        [("all", "embed", "category=shoes, subinstance=0002")],
    ),
    "a silent loss of 3 % of a category": (
        WORLD.shrink("embed", {"category": "shoes"}, 0.03),
        [("edges", "embed", "category=shoes")],
    ),
    "a silent loss of half a package": (
        WORLD.shrink("crop", {"subinstance": "0001"}, 0.5),
        [("edges", "crop", "subinstance=0001")],
    ),
    "other pictures, as many": (
        WORLD.swap_ids("quality", {"subinstance": "0001"}),
        [("same", "quality", "subinstance=0001")],
    ),
    "two faults in different leaves": (
        WORLD.shrink("quality", {"subinstance": "0001"}, 0.1).shrink("crop", {"subinstance": "0002"}, 0.1),
        [("edges", "crop", "subinstance=0002"), ("edges", "quality", "subinstance=0001")],
    ),
    "a lost package and a silent loss in another": (
        WORLD.ruin(PACKAGE).shrink("embed", {"category": "shoes", "subinstance": "0001"}, 0.05),
        [("all", "download", "subinstance=0002"), ("edges", "embed", "category=shoes, subinstance=0001")],
    ),
    "none": (WORLD, []),
}


def loaded(folder: Path, rules: str):
    path = folder / "checks.yaml"
    path.write_text(rules)
    return load_checks(path, TOPOLOGY)


def opened(folder: Path, world: World, rules: str = RULES, history: History | None = None):
    """Judge a day of a world, and return what that makes of no incident at all."""
    checks = loaded(folder, rules)
    view = world.view(DAY, history=() if history is None else history)
    results = engine.judge(checks.file, view, checks.config_hash)
    by_id = {check.id: check for check in checks.file.checks}
    return step([], results, TOPOLOGY, noon(DAY), by_id).incidents


def places(incidents):
    return sorted((one.check, one.key.task, one.result.sentence.partition(": ")[2]) for one in incidents)


@pytest.mark.parametrize("fault", ["a lost package", "a silent loss of 3 % of a category", "none"])
def test_a_fault_is_one_incident_where_it_was_put_in(tmp_path, fault):
    world, wanted = FAULTS[fault]
    assert places(opened(tmp_path, world)) == wanted


@pytest.fixture(scope="module")
def eight_weeks(tmp_path_factory):
    """What drift wants to know of the days before."""
    checks = loaded(tmp_path_factory.mktemp("rules"), RULES + DRIFT)
    needs = [need for check in checks.file.checks for need in check.needs(TOPOLOGY)]
    return WORLD.history(needs, DAY, noon(DAY))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_so_it_is_where_drift_is_judged_too(tmp_path, fault, eight_weeks):
    world, wanted = FAULTS[fault]
    assert places(opened(tmp_path, world, RULES + DRIFT, eight_weeks)) == wanted


@pytest.mark.slow
def test_a_smaller_day_from_the_start_is_one_incident_of_drift_at_its_first_task(tmp_path, eight_weeks):
    (found,) = opened(tmp_path, WORLD.shrink("collect", {}, 0.4), RULES + DRIFT, eight_weeks)
    assert (found.check, found.key.task) == ("volume", "collect")
    assert {"download", "quality", "detect", "embed", "index"} <= {part.task for part in found.impact}


def test_the_repair_of_a_lost_package_supersedes_its_incident_and_names_the_plan(tmp_path):
    checks = loaded(tmp_path, RULES)
    rules = {check.id: check for check in checks.file.checks}
    broken = WORLD.ruin(PACKAGE)
    mended = broken.rerun("repair", ("download",), subinstances=("0002",))
    before = step([], engine.judge(checks.file, broken.view(DAY), "h"), TOPOLOGY, noon(DAY), rules)
    results = engine.judge(checks.file, mended.view(DAY), "h")
    after = step(before.incidents, results, TOPOLOGY, noon(DAY), rules)
    (found,) = after.incidents
    assert (found.state, found.note) == (IncidentState.SUPERSEDED, "superseded by repair")
    assert [draft.event.value for draft in after.notices] == ["resolve"]
