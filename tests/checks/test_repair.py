"""The command that mends a break: the real command line understands it, and redoes what is broken and little else."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command

import funnelgate
from checks.engine import judge
from checks.repair import repair_command
from checks.result import Cause, Place, Result, Status
from checks.view import View
from pipeline.cli_options import names
from reporting.plans import Cover, Leaf, cover_of
from reporting.testing import DAY, MOMENT
from tests.checks.rule_sets import load_text
from tests.checks.world import CATEGORIES, TOPOLOGY, World


def result(task: str, causes: list[Cause] | None = None, **place: Any) -> Result:
    return Result(
        id="edges",
        kind="reconcile",
        instance=task,
        key=Place(task=task, date=DAY, **place),
        status=Status.FAIL,
        reason="broken",
        explain=tuple(causes or ()),
        as_of=MOMENT,
        config_hash="0" * 16,
    )


def cause(share: float = 1.0, **where: tuple[str, ...]) -> Cause:
    return Cause(where=where, missing=100 * share, share=share)


def parsed(command: str) -> dict[str, Any]:
    """What the real command line makes of it."""
    program, name, *arguments = shlex.split(command)
    assert program == "funnelgate"
    return dict(commands()[name].make_context(name, arguments).params)


@cache
def commands() -> dict[str, Any]:
    """The whole command line; making it takes a quarter of a second."""
    found: Any = get_command(funnelgate.app)
    return dict(found.commands)


def covers(command: str) -> tuple[Cover, ...]:
    """What the plan that it makes will do again; as the pipeline reads its options."""
    options = parsed(command)
    tasks, categories, subinstances = [names(options[name]) for name in ("tasks", "categories", "subinstances")]
    return cover_of(TOPOLOGY, tasks, categories or None, subinstances or None)


def redone(command: str, leaf: Leaf) -> bool:
    return any(cover.covers(leaf) for cover in covers(command))


def test_a_lost_package_is_done_again_alone_and_counts():
    command = repair_command(result("crop", [cause(subinstance=("0002",))]), TOPOLOGY)
    assert command == ("funnelgate run --kind rerun --date 2026-11-01 --tasks crop --subinstances 0002 --promote")
    options = parsed(command)
    assert (options["kind"], options["date"], options["promote"]) == ("rerun", "2026-11-01", True)
    assert redone(command, Leaf("crop", DAY, "all", "0002"))
    assert not redone(command, Leaf("crop", DAY, "all", "0001"))
    assert redone(command, Leaf("embed", DAY, "shoes", "0002"))
    assert not redone(command, Leaf("detect", DAY, "all", "0002"))


def test_a_category_of_a_package_is_one_leaf_where_the_work_splits_by_both():
    command = repair_command(result("embed", [cause(category=("shoes",), subinstance=("0003",))]), TOPOLOGY)
    again = [
        (category, package)
        for category in ("bags", "hats", "shoes")
        for package in ("0001", "0002", "0003")
        if redone(command, Leaf("embed", DAY, category, package))
    ]
    assert again == [("shoes", "0003")]


def test_a_fan_out_is_done_again_for_all_its_categories():
    command = repair_command(result("categorise", [cause(category=("shoes",), subinstance=("0003",))]), TOPOLOGY)
    assert parsed(command)["categories"] is None
    assert parsed(command)["subinstances"] == "0003"


def test_several_causes_are_all_mended():
    causes = [cause(0.7, subinstance=("0001", "0002")), cause(0.2, subinstance=("0003",), category=("shoes",))]
    assert parsed(repair_command(result("embed", causes), TOPOLOGY))["subinstances"] == "0001,0002,0003"
    assert parsed(repair_command(result("embed", causes), TOPOLOGY))["categories"] is None


def test_the_group_that_was_judged_is_where_it_is_mended():
    command = repair_command(result("embed", group={"subinstance": "0002"}), TOPOLOGY)
    assert parsed(command)["subinstances"] == "0002"


@pytest.mark.parametrize("causes", [[], [cause(0.3, subinstance=("0001",))]])
def test_a_break_that_sits_nowhere_is_mended_everywhere(causes):
    assert repair_command(result("crop", causes), TOPOLOGY) == (
        "funnelgate run --kind rerun --date 2026-11-01 --tasks crop --promote"
    )


@pytest.mark.parametrize("value", ["a,b", "-rf", "all"])
def test_a_value_that_no_option_can_say_restricts_nothing(value):
    options = parsed(repair_command(result("crop", [cause(subinstance=(value,))]), TOPOLOGY))
    assert options["subinstances"] is None


def test_a_task_that_the_topology_does_not_have_cannot_be_mended():
    assert repair_command(result("gone"), TOPOLOGY) == ""


def engine_says(rule: str, view: View) -> list[Result]:
    """What a check of the file says of a view, but the passes."""
    loaded = load_text(f"version: 1\nchecks:\n  - {{id: it, {rule}}}\n")
    return [one for one in judge(loaded.file, view, "h") if one.status in (Status.FAIL, Status.WARN)]


def test_what_only_came_late_has_nothing_to_be_done_again_and_what_never_came_is_done_again_alone():
    late = World().delay("merge", {"category": "bags"}, timedelta(hours=4))
    (found,) = engine_says("kind: fresh, tasks: [merge]", late.view(digests=False))
    assert (found.status, found.explain[0].where, found.repair) == (Status.FAIL, {"category": ("bags",)}, "")
    (found,) = engine_says("kind: fresh, tasks: [merge]", late.lose(Leaf("merge", DAY, "shoes")).view(digests=False))
    assert found.details["late"] == ["merge bags"]
    assert found.repair == "funnelgate run --kind rerun --date 2026-11-01 --tasks merge --categories shoes --promote"
    every = late
    for category in CATEGORIES:
        every = every.lose(Leaf("merge", DAY, category))
    (found,) = engine_says("kind: fresh, tasks: [merge]", every.view(digests=False))
    assert found.repair == "funnelgate run --kind rerun --date 2026-11-01 --tasks merge --promote"


def test_a_leaf_that_was_booked_and_not_expected_has_nothing_to_be_done_again():
    view = World().view(digests=False)
    leaf = Leaf("embed", DAY, "shoes", "0002")
    expected = {planid: leaves - {leaf} for planid, leaves in view.expected.items()}
    (found,) = engine_says("kind: complete, tasks: [embed]", replace(view, expected=expected))
    assert (found.status, found.repair) == (Status.WARN, "")


@pytest.mark.parametrize("kind", ["complete", "fresh"])
def test_a_day_that_nobody_has_planned_is_run(kind):
    view = replace(World().view(digests=False), plans=[], records=[], expected={})
    commands = {found.repair for found in engine_says(f"kind: {kind}, tasks: [collect, merge]", view)}
    assert commands == {"funnelgate run --date 2026-11-01"}
    assert (parsed(*commands)["kind"], parsed(*commands)["date"]) == ("daily", "2026-11-01")


values = st.text("ab-, .$'é货", min_size=1, max_size=5).filter(lambda text: text.strip(". ") == text)
"""Every key part is as these are: see `reporting.key`."""

wheres = st.dictionaries(
    st.sampled_from(["category", "subinstance"]), st.lists(values, min_size=1, max_size=3, unique=True).map(tuple)
)


@settings(max_examples=60)
@given(st.sampled_from([*TOPOLOGY.tasks]), st.lists(st.tuples(wheres, st.floats(0.01, 1)), max_size=3))
def test_whatever_is_named_the_command_is_understood_and_redoes_every_leaf_named(task, named):
    causes = [cause(share, **where) for where, share in named]
    command = repair_command(result(task, causes), TOPOLOGY)
    assert parsed(command)["tasks"] == task
    grain = TOPOLOGY.task(task).grain
    for where, _ in named:
        leaf = {dimension: where.get(dimension, ("anything",))[0] for dimension in grain}
        if all(dimension in where for dimension in grain):
            assert redone(command, Leaf(task, DAY, leaf.get("category", "all"), leaf.get("subinstance", "all")))
