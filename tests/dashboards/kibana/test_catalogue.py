"""The dashboards as files: those under git are what the code makes, and an older Kibana gets them as saved objects."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dashboards.kibana.build import file_text, stale, write
from dashboards.kibana.catalogue import BOARDS, build_all
from dashboards.kibana.esql import Names, board_id, pipe, quoted, stage, stage_label
from dashboards.kibana.legacy import export_lines
from dashboards.kibana.models.base import body_of
from tests.dashboards.kibana.books import TOPOLOGY

ALL = build_all(Names("funnelgate", TOPOLOGY))
COMMITTED = Path(__file__).parents[3] / "dashboards" / "kibana" / "built"


def test_the_files_under_git_are_those_of_the_code():
    assert stale(ALL, COMMITTED) == [], "funnelgate dashboards build --out dashboards/kibana/built"


def test_a_file_is_exactly_the_body_of_its_put(tmp_path):
    for path, built in zip(write(ALL, tmp_path), ALL, strict=True):
        assert path.name == f"{built.id}.json"
        assert json.loads(path.read_text(encoding="utf-8")) == body_of(built.dashboard)


def test_a_folder_that_is_not_up_to_date_is_told_file_by_file(tmp_path):
    write(ALL, tmp_path)
    assert stale(ALL, tmp_path) == []
    (tmp_path / "funnelgate-funnel.json").write_text("{}")
    (tmp_path / "funnelgate-gate.json").unlink()
    (tmp_path / "old.json").write_text("{}")
    assert stale(ALL, tmp_path) == [
        "funnelgate-gate.json: is missing",
        "funnelgate-funnel.json: differs",
        "old.json: no dashboard has this id",
    ]


def test_building_twice_gives_the_same_bytes():
    assert [file_text(one) for one in build_all(Names("funnelgate", TOPOLOGY))] == [file_text(one) for one in ALL]


@pytest.mark.parametrize("prefix", ["funnelgate", "a", "shop.test", "a_b-c.d9"])
def test_every_id_is_one_that_kibana_takes(prefix):
    assert all(re.fullmatch(r"[a-z0-9_-]{1,250}", board_id(prefix, short)) for short in BOARDS)


def test_every_dashboard_leads_to_every_other_by_its_own_title():
    for built in ALL:
        links = built.dashboard.panels[0].config.links  # type: ignore[union-attr]
        assert [(one.destination, f"funnelgate: {one.label}") for one in links] == [
            (other.id, other.dashboard.title) for other in ALL
        ]


def test_stages_are_numbered_in_the_order_of_work():
    labels = [stage_label(Names("x", TOPOLOGY), task) for task in TOPOLOGY.order]
    assert labels == sorted(labels)
    assert stage(Names("x", TOPOLOGY)).startswith('EVAL stage = CASE(task == "collect", "01 collect", ')


@pytest.mark.parametrize("text", ['say "hi"', "back\\slash", "größe", "a\nb"])
def test_a_name_can_never_leave_its_quotes(text):
    literal = quoted(text)
    assert json.loads(literal) == text
    assert re.fullmatch(r'"(?:[^"\\\n]|\\.)*"', literal)


def test_a_query_has_one_limit():
    assert pipe("FROM a", "LIMIT 5").count("LIMIT") == 1
    assert pipe("FROM a").endswith("\n| LIMIT 10000")


def test_the_export_for_an_older_kibana_refers_only_to_what_it_holds():
    """Its shape alone: no Kibana of that age was there to take it."""
    objects = [json.loads(line) for line in export_lines(ALL)]
    held = {(one["type"], one["id"]) for one in objects}
    assert len(held) == len(objects)
    dashboards = [one for one in objects if one["type"] == "dashboard"]
    assert [one["id"] for one in dashboards] == [built.id for built in ALL]
    for one, built in zip(dashboards, ALL, strict=True):
        assert one["typeMigrationVersion"] == "10.2.0"
        assert {(reference["type"], reference["id"]) for reference in one["references"]} <= held
        names = {reference["name"] for reference in one["references"]}
        panels = json.loads(one["attributes"]["panelsJSON"])
        assert [panel["panelIndex"] for panel in panels] == [panel.id for panel in built.dashboard.every_panel()]
        lenses = [panel for panel in panels if panel["type"] == "lens"]
        assert names == {f"{panel['panelIndex']}:indexpattern-datasource-layer-layer" for panel in lenses}
        for panel in lenses:
            state = panel["embeddableConfig"]["attributes"]["state"]
            layer = state["datasourceStates"]["textBased"]["layers"]["layer"]
            known = {column["columnId"] for column in layer["columns"]}
            assert layer["query"]["esql"].startswith("FROM ")
            drawn = state["visualization"].get("layers", [state["visualization"]])[0]
            used = {value for name, value in drawn.items() if name.endswith("Accessor")} | {
                *drawn.get("accessors", ()),
                *(column["columnId"] for column in drawn.get("columns", ())),
            }
            assert used == known
