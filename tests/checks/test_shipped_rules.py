"""The rules that come with funnelgate fit older copies of its task graph too; those of one's own must fit exactly."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import checks
import pipeline
from checks.kinds.drift import Drift
from checks.spec import load_checks
from reporting.errors import ConfigError
from reporting.topology import Topology
from tests.checks.schemas import follow
from tests.pipeline.conftest import Ended, main_in

__all__ = ["main_in"]

RULES = Path(checks.__file__).parent / "rules" / "default.yaml"
GRAPH = (Path(pipeline.__file__).parent / "default.yaml").read_text(encoding="utf-8")
SINCE_EVICT = ("recheck", "evict", "tail", "reclaim")
"""Tasks that graphs from before the window was kept do not have."""
Main = Callable[..., Ended]


def older(*without: str, metrics: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the default graph without some tasks, and without some metrics of its task `evict`."""
    graph: dict[str, Any] = yaml.safe_load(GRAPH)
    for task in without:
        del graph["tasks"][task]
    graph["edges"] = [edge for edge in graph["edges"] if not {edge["from"], edge["to"]} & {*without}]
    for spec in graph["tasks"].values():
        if spec.get("continues") in without:
            del spec["continues"]
    if metrics:
        spec = graph["tasks"]["evict"]
        spec["metrics"] = [name for name in spec["metrics"] if name not in metrics]
    return graph


def volume(graph: dict[str, Any], **keys: Any) -> set[str]:
    """Return the tasks that a drift check over everything judges."""
    rule = Drift.model_validate({"id": "v", "kind": "drift", "measure": "produced", **keys})
    topology = Topology.model_validate(graph)
    expanded = {one.task for one in rule.expand(topology)}
    assert {need.task for need in rule.needs(topology)} == expanded
    return expanded


def test_a_drift_over_everything_leaves_out_what_continues_itself_unless_it_is_named():
    graph = older()
    itself = {name for name, spec in graph["tasks"].items() if spec.get("continues") == name}
    assert itself == {"tail"}
    assert volume(graph) == graph["tasks"].keys() - itself
    assert volume(graph, **{"except": ["merge"]}) == graph["tasks"].keys() - itself - {"merge"}
    assert volume(graph, tasks=["tail", "merge"]) == {"tail", "merge"}
    del graph["tasks"]["tail"]["continues"]
    assert volume(graph) == graph["tasks"].keys()


def test_a_drift_that_leaves_nothing_to_judge_is_refused():
    graph = {"tasks": {"tail": {"unit_in": "row", "unit_out": "row", "continues": "tail"}}}
    with pytest.raises(ConfigError, match="nothing is left to check"):
        volume(graph)
    assert volume(graph, tasks=["tail"]) == {"tail"}


@pytest.mark.parametrize(
    ("graph", "left_out"),
    [
        (older(), ()),
        (older("tail"), ()),
        (older("reclaim"), ()),
        (older("tail", "reclaim"), ()),
        (older(*SINCE_EVICT), ("tail-near-budget",)),
        (older(metrics=("tail_fill_max",)), ("tail-near-budget",)),
    ],
)
def test_an_older_graph_is_judged_by_every_rule_but_those_on_what_it_lacks(graph, left_out):
    topology = Topology.model_validate(graph)
    loaded = load_checks(RULES, topology, shipped=True)
    assert tuple(one.check for one in loaded.left_out) == left_out
    every = [entry["id"] for entry in yaml.safe_load(RULES.read_text(encoding="utf-8"))["checks"]]
    assert [check.id for check in loaded.file.checks] == [name for name in every if name not in left_out]
    judged = {one.task for one in loaded.instances(topology)}
    assert judged == topology.tasks.keys()


def test_a_rule_of_one_s_own_about_a_task_that_is_not_there_is_refused_even_where_it_was_copied(tmp_path):
    copied = Path(shutil.copy(RULES, tmp_path / "checks.yaml"))
    topology = Topology.model_validate(older(*SINCE_EVICT))
    with pytest.raises(ConfigError, match=r"checks\.yaml:\d+: .*unknown task 'evict'"):
        load_checks(copied, topology)


def test_a_list_of_tasks_that_names_an_unknown_one_is_refused_of_shipped_rules_too():
    with pytest.raises(ConfigError, match="unknown task 'train'") as caught:
        load_checks(RULES, Topology.model_validate(older("train")), shipped=True)
    assert "lists-drift" not in str(caught.value)


def test_the_plan_names_what_is_left_out_and_asking_for_it_says_why(main_in: Main, tmp_path: Path):
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(older(*SINCE_EVICT), sort_keys=False))
    (tmp_path / "funnelgate.yaml").write_text("pipeline: pipeline.yaml\n")
    ended = main_in(tmp_path, "checks", "plan")
    assert ended.code == 0
    (told,) = (line for line in ended.out.splitlines() if line.startswith("left out: "))
    assert "tail-near-budget" in told
    assert "default.yaml:" in told
    assert "unknown task 'evict'" in told
    found = yaml.safe_load(main_in(tmp_path, "checks", "plan", "--json").out)
    follow("checks-plan", found)
    assert [one["check"] for one in found["left_out"]] == ["tail-near-budget"]
    refused = main_in(tmp_path, "checks", "plan", "--check", "tail-near-budget")
    assert refused.code == 2
    assert "check tail-near-budget is left out" in refused.err
    chosen = yaml.safe_load(main_in(tmp_path, "checks", "plan", "--check", "volume", "--json").out)
    assert chosen["left_out"] == []


def test_a_file_of_one_s_own_is_refused_by_the_command(main_in: Main, tmp_path: Path):
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(older(*SINCE_EVICT), sort_keys=False))
    shutil.copy(RULES, tmp_path / "mine.yaml")
    (tmp_path / "funnelgate.yaml").write_text("pipeline: pipeline.yaml\nchecks: {rules: mine.yaml}\n")
    ended = main_in(tmp_path, "checks", "plan")
    assert ended.code == 2
    assert "unknown task 'evict'" in ended.err
