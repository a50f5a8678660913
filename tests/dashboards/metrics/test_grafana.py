"""The example dashboard for Grafana: what it asks for is what `/metrics` gives, and its panels lie side by side."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import dashboards
from tests.dashboards.metrics.told import scraped

FILE = Path(dashboards.__file__).parent / "grafana" / "funnelgate.json"
BOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS = [one for one in BOARD["panels"] if one["type"] != "row"]
TARGETS = [(one["title"], target) for one in PANELS for target in one["targets"]]
SCRAPED_WITH = {"instance", "job"}  # labels that Prometheus itself adds

_SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
_BY = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_WORD = re.compile(r"[A-Za-z_]\w*")
_FUNCTIONS = {"sum", "by", "topk", "time"}


@pytest.fixture(scope="module")
def given(world_file) -> dict[str, dict[str, set[str]]]:
    """Each metric that a scrape gives, with the values of its labels."""
    found: dict[str, dict[str, set[str]]] = {}
    for name, labels in scraped(world_file):
        values = found.setdefault(name, {})
        for label, value in labels:
            values.setdefault(label, set()).add(value)
    return found


def words(expression: str) -> set[str]:
    """Return the names in an expression outside of braces, brackets and quotes."""
    bare = _BY.sub(" by ", re.sub(r"\{[^}]*\}", " ", expression))
    return set(_WORD.findall(bare))


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=[f"{title} {one['refId']}" for title, one in TARGETS])
def test_each_expression_asks_for_metrics_and_labels_that_a_scrape_gives(given, title, target):
    expression = target["expr"]
    metrics = words(expression) - _FUNCTIONS
    assert metrics, expression
    assert metrics <= given.keys(), expression
    assert metrics == {name for name, _ in _SELECTOR.findall(expression)}, "a selector without a server shows them all"
    for name, inside in _SELECTOR.findall(expression):
        matchers = _MATCHER.findall(inside)
        assert _MATCHER.sub("", inside).replace(",", "").strip() == "", inside
        assert {label for label, _, _ in matchers} <= given[name].keys() | SCRAPED_WITH
        assert ("instance", "=", "$instance") in matchers
    labels = set().union(*(given[name].keys() for name in metrics))
    left = {label.strip() for inside in _BY.findall(expression) for label in inside.split(",")}
    assert left <= labels
    assert set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"])) <= (left or labels)


@pytest.mark.parametrize("expression", [
    'funnelgate_nothing{instance="$instance"}', 'sum by (nobody) (funnelgate_task_leaves{instance="$instance"})',
    'funnelgate_task_leaves{instance="$instance", nobody="x"}', 'funnelgate_task_leaves',
])  # fmt: skip
def test_an_expression_that_asks_in_vain_is_seen(given, expression):
    with pytest.raises(AssertionError):
        test_each_expression_asks_for_metrics_and_labels_that_a_scrape_gives(
            given, "", {"expr": expression, "legendFormat": ""}
        )


def test_every_figure_that_people_ask_for_is_on_it(given):
    shown = set().union(*(words(target["expr"]) for _, target in TARGETS))
    by_day_only = {name for name in given if name.startswith("funnelgate_day_")}
    assert given.keys() - by_day_only - shown <= {
        "funnelgate_task_input_items", "funnelgate_task_output_items", "funnelgate_task_produced_items",
        "funnelgate_task_work_seconds",
    }  # fmt: skip


def test_panels_lie_within_the_grid_and_on_no_other():
    for one in BOARD["panels"]:
        place = one["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24, one["title"]
        assert place["h"] > 0, one["title"]
    for one, other in combinations(BOARD["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = (a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
                 or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"])  # fmt: skip
        assert apart, f"{one['title']} lies on {other['title']}"


def test_it_can_be_imported_anywhere():
    assert BOARD["schemaVersion"] >= 39  # of Grafana 11
    assert BOARD["id"] is None
    assert len({one["id"] for one in BOARD["panels"]}) == len(BOARD["panels"])
    names = [one["name"] for one in BOARD["templating"]["list"]]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD))) - {"__all"}
    assert used == set(names)
    sources = {json.dumps(one["datasource"]) for one in [*PANELS, *(target for _, target in TARGETS)]}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    assert "http" not in FILE.read_text(encoding="utf-8"), "no address of anybody's"


def test_the_variables_ask_for_labels_that_a_scrape_gives(given):
    for one in BOARD["templating"]["list"]:
        if one["type"] != "query":
            continue
        found = re.fullmatch(r"label_values\((\w+)(?:\{[^}]*\})?, (\w+)\)", one["query"]["query"])
        assert found is not None
        assert found[2] in given[found[1]].keys() | SCRAPED_WITH
