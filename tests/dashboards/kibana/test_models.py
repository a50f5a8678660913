"""The models take what Kibana takes of what is used here, and refuse everything else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from dashboards.kibana.catalogue import build_all
from dashboards.kibana.esql import Names
from dashboards.kibana.models.base import body_of
from dashboards.kibana.models.dashboard import Dashboard
from tests.dashboards.kibana.books import TOPOLOGY
from tests.dashboards.kibana.kibana_schema import refusals

BOARDS = {built.id: body_of(built.dashboard) for built in build_all(Names("funnelgate", TOPOLOGY))}

GRID = {"x": 0, "y": 0, "w": 24, "h": 10}
ESQL = {"type": "esql", "query": "FROM a | LIMIT 1"}
XY: dict[str, Any] = {"type": "xy", "layers": [{"type": "line", "data_source": ESQL, "y": [{"column": "a"}]}]}
BARS: dict[str, Any] = {"type": "xy", "layers": [{"type": "bar", "data_source": ESQL, "y": [{"column": "a"}]}]}
TABLE: dict[str, Any] = {"type": "data_table", "data_source": ESQL, "rows": [{"column": "a"}]}
METRIC: dict[str, Any] = {"type": "metric", "data_source": ESQL, "metrics": [{"type": "primary", "column": "a"}]}
HEAT: dict[str, Any] = {"type": "heatmap", "data_source": ESQL, "x": {"column": "a"}, "metric": {"column": "b"}}


def board(config: dict[str, Any], **panel: Any) -> dict[str, Any]:
    return {"title": "t", "panels": [{"type": "vis", "id": "a", "grid": GRID, "config": config, **panel}]}


def taken(body: dict[str, Any]) -> bool:
    try:
        Dashboard.model_validate_json(json.dumps(body))
    except ValidationError:
        return False
    return True


def objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of an object in a body."""
    if isinstance(value, dict):
        yield path
        for name, inner in value.items():
            yield from objects(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from objects(inner, (*path, number))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_is_taken_by_its_models_and_by_the_second_schema(name):
    body = BOARDS[name]
    assert refusals(body) == []
    assert body_of(Dashboard.model_validate_json(json.dumps(body))) == body


def _shapes() -> dict[str, tuple[dict[str, Any], tuple[Any, ...]]]:
    """One example of each shape of object in all boards, by its path without numbers and its keys."""
    found: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {}
    for body in BOARDS.values():
        for path in objects(body):
            kind = at(body, path).get("type", "")
            shape = ".".join(str(part) for part in path if not isinstance(part, int))
            parent = at(body, path[:2]).get("config", {}).get("type", "") if len(path) > 1 else ""
            found.setdefault(f"{shape or 'dashboard'} {parent} {kind}", (body, path))
    return found


SHAPES = _shapes()


@pytest.mark.parametrize("shape", SHAPES)
def test_an_unknown_key_is_refused_at_every_level(shape):
    body, path = SHAPES[shape]
    spoiled = copy.deepcopy(body)
    at(spoiled, path)["unknown"] = 1
    assert not taken(spoiled)
    assert refusals(spoiled)


@pytest.mark.parametrize("shape", SHAPES)
def test_null_is_refused_by_kibana_and_never_sent(shape):
    body, path = SHAPES[shape]
    assert None not in at(body, path).values()


BASES = {"xy": XY, "bars": BARS, "table": TABLE, "metric": METRIC, "heat": HEAT}


@pytest.mark.parametrize("name", BASES)
def test_the_least_of_each_chart_is_taken(name):
    assert taken(board(BASES[name]))
    assert refusals(board(BASES[name])) == []


def _layer(**changes: Any) -> dict[str, Any]:
    return {**XY, "layers": [{**XY["layers"][0], **changes}]}


def _steps(*steps: dict[str, Any]) -> dict[str, Any]:
    colour = {"type": "dynamic", "range": "absolute", "steps": list(steps)}
    return {**TABLE, "rows": [{"column": "a", "apply_color_to": "badge", "color": colour}]}


REFUSED: dict[str, dict[str, Any]] = {
    "a panel over the edge": board(XY, grid={**GRID, "w": 49}),
    "a panel without width": board(XY, grid={"x": 0, "y": 0, "h": 1}),
    "a panel of half a column": board(XY, grid={**GRID, "x": 0.5}),
    "an unknown kind of panel": board(XY, type="lens"),
    "an unknown kind of chart": board({**XY, "type": "pie"}),
    "an unknown kind of layer": board(_layer(type="step")),
    "an axis of the preview": board({**XY, "axis": {"y": {"anchor": "start"}}}),
    "a series of the preview": board(_layer(y=[{"column": "a", "axis_id": "y"}])),
    "reference lines beside ES|QL": board(
        {**XY, "layers": [*XY["layers"], {"type": "reference_lines", "data_source": ESQL, "thresholds": []}]}
    ),
    "no series": board(_layer(y=[])),
    "a breakdown of two series": board(_layer(y=[{"column": "a"}, {"column": "b"}], breakdown_by={"column": "c"})),
    "a data view as source": board(_layer(data_source={"type": "data_view_spec", "index_pattern": "a-*"})),
    "an empty query": board(_layer(data_source={"type": "esql", "query": ""})),
    "a legend above with a size": board({**XY, "legend": {"position": "top", "size": "m"}}),
    "a list beside": board({**XY, "legend": {"position": "right", "layout": {"type": "list"}}}),
    "a legend inside that is on the right": board({**XY, "legend": {"placement": "inside", "position": "right"}}),
    "a legend in a corner outside": board({**XY, "legend": {"position": "top_left"}}),
    "columns of a legend outside": board({**XY, "legend": {"position": "right", "columns": 2}}),
    "a full x axis": board({**XY, "axis": {"x": {"domain": {"type": "full"}}}}),
    "a custom axis without bounds": board({**XY, "axis": {"y": {"domain": {"type": "custom", "min": 0}}}}),
    "bars of a line": board({**XY, "styling": {"bars": {"minimum_height": 1}}}),
    "fitting of bars": board({**BARS, "styling": {"fitting": {"type": "zero"}}}),
    "areas that are filled as in 9.6": board({**XY, "styling": {"areas": {"fill": "solid"}}}),
    "the long name of a unit": board(
        _layer(y=[{"column": "a", "format": {"type": "duration", "from": "seconds", "to": "auto"}}])
    ),
    "a second number without a first": board({**METRIC, "metrics": [{"type": "secondary", "column": "a"}]}),
    "two first numbers": board({**METRIC, "metrics": [METRIC["metrics"][0]] * 2}),
    "a table without columns": board({"type": "data_table", "data_source": ESQL}),
    "a table sorted by a column it lacks": board(
        {**TABLE, "styling": {"sort_by": {"column_type": "row", "index": 1, "direction": "asc"}}}
    ),
    "pages of 25": board({**TABLE, "styling": {"paging": 25}}),
    "a colour that goes nowhere": board(
        {
            **TABLE,
            "rows": [
                {"column": "a", "color": {"type": "dynamic", "range": "absolute", "steps": [{"lt": 1, "color": "red"}]}}
            ],
        }
    ),
    "a step without bounds": board(_steps({"color": "red"})),
    "steps with a gap": board(_steps({"lt": 1, "color": "red"}, {"gte": 2, "color": "blue"})),
    "a first step with no end": board(_steps({"gte": 0, "color": "red"}, {"gte": 2, "color": "blue"})),
    "a step with two ends": board(_steps({"lt": 1, "lte": 2, "color": "red"})),
    "a heat map's axis without scale": board({**HEAT, "axis": {"x": {"title": {"visible": False}}}}),
    "a dashboard without a title": {"panels": board(XY)["panels"]},
    "a dashboard with its id": {**board(XY), "id": "a"},
    "a time range with a third key": {**board(XY), "time_range": {"from": "a", "to": "b", "zone": "UTC"}},
    "a section in a section": {
        "title": "t",
        "panels": [
            {
                "title": "s",
                "id": "s",
                "collapsed": False,
                "grid": {"y": 0},
                "panels": [{"title": "s2", "id": "s2", "collapsed": False, "grid": {"y": 0}, "panels": []}],
            }
        ],
    },
    "a control over a field of a data view": {
        **board(XY),
        "pinned_panels": [
            {"type": "options_list_control", "id": "c", "config": {"data_view_id": "x", "field_name": "task"}}
        ],
    },
    "a text without settings": {
        "title": "t",
        "panels": [{"type": "markdown", "id": "m", "grid": GRID, "config": {"content": "x"}}],
    },
}

ONLY_OURS = {
    "a panel without width",
    "a panel of half a column",
    "a breakdown of two series",
    "bars of a line",
    "fitting of bars",
    "a table without columns",
    "a table sorted by a column it lacks",
    "a colour that goes nowhere",
    "a step without bounds",
    "steps with a gap",
    "a first step with no end",
    "a step with two ends",
}
"""What Kibana fills in, checks outside its schema, or takes and loses: the second schema does not know of it."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_kibana_does_not_take_or_loses_is_refused(name):
    assert not taken(REFUSED[name])
    assert bool(refusals(REFUSED[name])) == (name not in ONLY_OURS)


def test_a_section_of_panels_is_taken():
    section = {"title": "s", "id": "s", "collapsed": True, "grid": {"y": 10}, "panels": board(XY)["panels"]}
    body = {**board(TABLE), "panels": [*board(TABLE)["panels"], section]}
    assert taken(body)
    assert refusals(body) == []
