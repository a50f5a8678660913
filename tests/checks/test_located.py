"""Faults put into a day of the small pipeline: named where they are, and the command named with them mends them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from checks.engine import judge
from checks.result import Result, Status
from checks.spec import LoadedChecks, load_checks
from reporting.plans import Leaf
from tests.checks.world import DAY, TOPOLOGY, World

Where = dict[str, tuple[str, ...]]


@pytest.fixture
def edges(tmp_path: Path) -> LoadedChecks:
    """The edges must balance, and nothing else is asked."""
    path = tmp_path / "checks.yaml"
    path.write_text('version: 1\nchecks:\n  - {id: edges, kind: reconcile, edges: "*"}\n')
    return load_checks(path, TOPOLOGY)


FAULTS: dict[str, tuple[Callable[[World], World], str, Where, str]] = {
    "a lost package": (
        lambda world: world.ruin(Leaf("crop", DAY, "all", "0002")),
        "detect->crop",
        {"subinstance": ("0002",)},
        "100 % of 141 missing objects: subinstance=0002",
    ),
    "a lost leaf": (
        lambda world: world.lose(Leaf("embed", DAY, "shoes", "0002")),
        "categorise->embed",
        {"category": ("shoes",), "subinstance": ("0002",)},
        "100 % of 70 missing objects: category=shoes, subinstance=0002",
    ),
    "a silent drop of one category": (
        lambda world: world.shrink("embed", {"category": "shoes"}, 0.03),
        "categorise->embed",
        {"category": ("shoes",)},
        "100 % of 8 missing objects: category=shoes",
    ),
    "a package that was half read": (
        lambda world: world.shrink("quality", {"subinstance": "0003"}, 0.5),
        "download->quality",
        {"subinstance": ("0003",)},
        "100 % of 69 missing pictures: subinstance=0003",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_where_it_is_and_its_command_mends_it(edges, fault):
    broken, instance, where, words = FAULTS[fault]
    world = broken(World())
    found = {result.instance: result for result in failing(edges, world)}[instance]
    assert [cause.where for cause in found.explain] == [where]
    assert found.sentence == words
    options = shlex.split(found.repair)
    chosen = {name: tuple(value.split(",")) for name, value in pairwise(options) if name[:2] == "--"}
    mended = world.rerun(
        "repair",
        chosen["--tasks"],
        categories=chosen.get("--categories"),
        subinstances=chosen.get("--subinstances"),
    )
    assert instance not in {result.instance for result in failing(edges, mended)}


def failing(edges: LoadedChecks, world: World) -> list[Result]:
    results = judge(edges.file, world.view(DAY), edges.config_hash)
    return [result for result in results if result.status is Status.FAIL]


def test_a_break_in_every_leaf_is_named_nowhere_and_mended_everywhere(edges):
    (found,) = failing(edges, World().shrink("embed", {}, 0.1))
    assert found.explain == ()
    assert found.sentence == "47 missing objects, spread over 9 leaves"
    assert found.repair == "funnelgate run --kind rerun --date 2026-11-01 --tasks embed --promote"
