"""What Kibana fills in is no difference; everything else is."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dashboards.kibana.catalogue import build_all
from dashboards.kibana.esql import Names
from dashboards.kibana.models.base import body_of
from dashboards.kibana.normal import differences
from tests.dashboards.kibana.books import TOPOLOGY
from tests.dashboards.kibana.fake_kibana import filled

BODIES = {built.id: body_of(built.dashboard) for built in build_all(Names("funnelgate", TOPOLOGY))}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in leaves(inner, (*path, name))]
    if isinstance(value, list):
        return [found for number, inner in enumerate(value) for found in leaves(inner, (*path, number))]
    return [path]


@pytest.mark.parametrize("name", BODIES)
def test_what_comes_back_filled_in_and_in_another_order_is_the_same(name):
    stored = filled(BODIES[name])
    stored["panels"] = list(reversed(stored["panels"]))
    assert stored != BODIES[name]
    assert differences(BODIES[name], stored) == []


def test_every_single_value_that_changes_is_found():
    body = BODIES["funnelgate-funnel"]
    missed = []
    for path in leaves(body):
        stored = filled(body)
        place = stored
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = "changed"
        if not differences(body, stored):
            missed.append(path)
    assert missed == []


def test_a_panel_that_is_gone_added_or_moved_to_a_section_is_found():
    body = BODIES["funnelgate-funnel"]
    gone = filled(body)
    moved = copy.deepcopy(gone)
    panel = gone["panels"].pop(3)
    assert [(one.panel, one.wanted) for one in differences(body, gone)] == [(panel["id"], "a panel")]
    moved["panels"].remove(panel)
    moved["panels"].append({"id": "s", "title": "s", "collapsed": False, "grid": {"y": 99}, "panels": [panel]})
    assert {one.panel for one in differences(body, moved)} == {panel["id"], "s"}


def test_a_longer_list_and_a_truth_that_became_a_number_are_found():
    body = {"title": "t", "panels": [{"id": "a", "config": {"rows": [1], "visible": True}}]}
    found = differences(body, {"title": "t", "panels": [{"id": "a", "config": {"rows": [1, 2], "visible": 1}}]})
    assert [str(one) for one in found] == ["a: config.rows (length): 1, 2", "a: config.visible: True, 1"]


def test_whole_numbers_come_back_as_they_like():
    assert differences({"panels": [{"id": "a", "x": 1.0}]}, {"panels": [{"id": "a", "x": 1}]}) == []
