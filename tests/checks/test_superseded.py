"""The re-run that an incident names mends it, whatever kind of check found it, and the incident says which plan did."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, get_args

import pytest

from checks.engine import judge
from checks.incidents import Incident, IncidentState
from checks.lifecycle import step
from checks.result import Result, Status
from checks.spec import AnyCheck, LoadedChecks
from reporting.plans import Leaf
from reporting.testing import DAY
from tests.checks.rule_sets import load_text
from tests.checks.world import TOPOLOGY, World, noon, planid_of

SHOES = {"category": "shoes"}
SHOES_2 = Leaf("embed", DAY, "shoes", "0002")
HALF = World().shrink("embed", SHOES, 0.5)


class Case(NamedTuple):
    """A check as it stands in the file, a fault that it finds, and the options of the re-run that it names."""

    rule: str
    world: World
    options: str


CASES = {
    "conservation": Case(
        "kind: conservation", World().unbook(Leaf("crop", DAY, "all", "0002"), 5), "--tasks crop --subinstances 0002"
    ),
    "reconcile": Case("kind: reconcile", HALF, "--tasks embed --categories shoes"),
    "digest": Case(
        "kind: digest", World().swap_ids("quality", {"subinstance": "0001"}), "--tasks quality --subinstances 0001"
    ),
    "complete": Case("kind: complete", World().lose(SHOES_2), "--tasks embed --categories shoes --subinstances 0002"),
    "version": Case(
        "kind: version, fields: [model], within: day",
        World().swap_version("embed", SHOES | {"subinstance": "0002"}, "model", "embedder@8"),
        "--tasks embed --categories shoes --subinstances 0002",
    ),
    "fresh": Case(
        "kind: fresh, levels: {warn: 7h, page: 8h}",  # a repair in the forenoon is in time
        World().lose(Leaf("merge", DAY, "shoes")),
        "--tasks merge --categories shoes",
    ),
    "ratio": Case(
        "kind: ratio, value: failed / input, between: [0, 0.1], tasks: [embed]",
        World().fail("embed", SHOES, 0.5),
        "--tasks embed",  # a bound is no forecast of a leaf: no place is named
    ),
    "drift": Case(
        "kind: drift, measure: input, history: 42, tasks: [embed], group_by: [category]",
        HALF,
        "--tasks embed --categories shoes",
    ),
    "expr": Case(
        "kind: expr, expr: failed_total / input < 0.1, on: embed", World().fail("embed", SHOES, 0.5), "--tasks embed"
    ),
}


def kinds() -> set[str]:
    models = get_args(get_args(AnyCheck)[0])
    return {model.model_fields["kind"].annotation.__args__[0] for model in models}


def results_of(loaded: LoadedChecks, world: World) -> list[Result]:
    needs = [need for check in loaded.file.checks for need in check.needs(TOPOLOGY)]
    return judge(loaded.file, world.view(DAY, history=needs), loaded.config_hash)


def stepped(loaded: LoadedChecks, open_: Sequence[Incident], results: Sequence[Result]) -> list[Incident]:
    rules = {check.id: check for check in loaded.file.checks}
    return step(open_, results, TOPOLOGY, noon(DAY), rules).incidents


def rerun(world: World, command: str, planid: str = "repair") -> World:
    """Do what a command says."""
    words = shlex.split(command)
    options: dict[str, Any] = {name: tuple(value.split(",")) for name, value in pairwise(words) if name[:2] == "--"}
    assert (options["--kind"], options["--date"]) == (("rerun",), (DAY.isoformat(),))
    return world.rerun(
        planid,
        options["--tasks"],
        promoted="--promote" in words,
        categories=options.get("--categories"),
        subinstances=options.get("--subinstances"),
    )


def test_there_is_a_case_for_every_kind():
    assert {*CASES, "plan_diff"} == kinds()


@pytest.mark.parametrize("kind", CASES)
def test_the_re_run_that_an_incident_names_supersedes_it(kind):
    case = CASES[kind]
    loaded = load_text(f"version: 1\nchecks:\n  - {{id: it, {case.rule}}}\n")
    (opened,) = stepped(loaded, [], results_of(loaded, case.world))
    assert (opened.state, opened.planids) == (IncidentState.FIRING, (planid_of(DAY),))
    command = opened.result.repair
    assert command == f"funnelgate run --kind rerun --date {DAY} {case.options} --promote"
    (ended,) = stepped(loaded, [opened], results_of(loaded, rerun(case.world, command)))
    assert (ended.state, ended.note) == (IncidentState.SUPERSEDED, "superseded by repair")


def test_a_re_run_that_differs_is_done_again_without_a_promotion_and_superseded_by_what_is_promoted():
    loaded = load_text("version: 1\nchecks:\n  - {id: it, kind: plan_diff, tasks: [embed], measures: [produced]}\n")
    differs = HALF.rerun("r1", ["embed"], categories=("shoes",), promoted=False)
    (opened,) = stepped(loaded, [], results_of(loaded, differs))
    assert (opened.state, opened.planids) == (IncidentState.FIRING, ("r1",))
    command = opened.result.repair
    assert command == f"funnelgate run --kind rerun --date {DAY} --tasks embed --categories shoes"
    assert results_of(loaded, rerun(differs, command, "r2"))[0].key.planid == "r2"
    (ended,) = stepped(loaded, [opened], results_of(loaded, rerun(differs, f"{command} --promote", "r2")))
    assert (ended.state, ended.note) == (IncidentState.SUPERSEDED, "superseded by r2")


def test_a_re_run_that_differs_and_is_promoted_all_the_same_is_no_incident_any_more():
    loaded = load_text("version: 1\nchecks:\n  - {id: it, kind: plan_diff, tasks: [embed], measures: [produced]}\n")
    before, after = (
        results_of(loaded, HALF.rerun("r1", ["embed"], categories=("shoes",), promoted=promoted))
        for promoted in (False, True)
    )
    (ended,) = stepped(loaded, stepped(loaded, [], before), after)
    assert (ended.state, after[0].status) == (IncidentState.RESOLVED, Status.PASS)
