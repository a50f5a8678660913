"""The static part of the check: what neither Kibana's schema nor a model can say of a dashboard by itself."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from dashboards.kibana.catalogue import BOARDS, Built, build_all
from dashboards.kibana.check import Answer, check
from dashboards.kibana.columns import control_field, parameters, sources
from dashboards.kibana.engine import engine
from dashboards.kibana.esql import LOGS, Names
from dashboards.kibana.fields import LOG_FIELDS, mapped
from dashboards.kibana.models.base import body_of
from dashboards.kibana.models.dashboard import Dashboard
from reporting.elastic.client import connect
from reporting.settings import ElasticSettings
from reporting.topology import Topology
from tests.dashboards.kibana.books import TOPOLOGY
from tests.dashboards.kibana.conftest import LOGS_TEMPLATE

NAMES = Names("funnelgate", TOPOLOGY)
ALL = build_all(NAMES)

SMALL = Topology.model_validate(
    {
        "timezone": "Europe/Berlin",
        "tasks": {
            "read": {"unit_in": "row", "unit_out": "row", "deadline": "04:30", "drop_reasons": ["torn"]},
            'write "it"'.replace('"', "'"): {"unit_in": "row", "unit_out": "row", "metrics": ["p50-ms"]},
        },
        "edges": [{"from": "read", "to": "write 'it'"}],
    }
)


def spoiled(change: Callable[[dict[str, Any]], object], which: int = 0) -> list[str]:
    """The problems of all dashboards after one of them was changed."""
    body = json.loads(json.dumps(body_of(ALL[which].dashboard)))
    change(body)
    boards = [*ALL[:which], Built(ALL[which].id, Dashboard.model_validate_json(json.dumps(body))), *ALL[which + 1 :]]
    return check(boards, NAMES).problems


def test_our_dashboards_have_no_problem():
    report = check(ALL, NAMES)
    assert report.problems == []
    assert (report.dashboards, report.queries_run) == (len(BOARDS), 0)


@pytest.mark.parametrize("prefix", ["shop", "shop.test_1-a"])
def test_they_have_none_for_another_prefix_and_a_graph_that_has_none_of_our_tasks(prefix):
    names = Names(prefix, SMALL)
    boards = build_all(names)
    assert check(boards, names).problems == []
    assert len({built.id for built in boards}) == len(BOARDS)
    text = "".join(json.dumps(body_of(built.dashboard)) for built in boards)
    assert "funnelgate-records" not in text
    assert "evict" not in text.replace("window and eviction", "").replace("recheck, evict, tail", "")


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "panels that overlap": (lambda b: b["panels"][1]["grid"].update(w=20), "'leaves' and 'dropped' overlap"),
    "a panel over the edge": (lambda b: b["panels"][4]["grid"].update(w=30), "ends at column 66; there are 48"),
    "a gap": (lambda b: b["panels"][-1]["grid"].update(y=90), "Kibana would move it up"),
    "an id twice": (lambda b: b["panels"][1].update(id="dropped"), "the id 'dropped' is used 2 times"),
    "a link to nowhere": (
        lambda b: b["panels"][0]["config"]["links"][0].update(destination="gone"),
        "links to 'gone', which is no dashboard",
    ),
    "a variable that no control has": (
        lambda b: _requery(b, lambda q: q.replace("| LIMIT", "| WHERE task == ?task\n| LIMIT")),
        "?task is no parameter",
    ),
    "an index that is not ours": (lambda b: _requery(b, lambda q: q.replace("-records-", "-recrods-")), "no index of"),
    "no time range": (lambda b: _requery(b, lambda q: q.replace("?_tend", '"2026-01-01"')), "time range"),
    "no limit": (lambda b: _requery(b, lambda q: q.rpartition("\n| LIMIT")[0]), "has no LIMIT"),
    "a control over a field that is not mapped": (
        lambda b: b["pinned_panels"][0]["config"].update(esql_query="FROM funnelgate-records-* | STATS BY package"),
        "'package' is filtered on, but is no field of funnelgate-records-*",
    ),
    "a control over a field that ES|QL cannot read": (
        lambda b: b["pinned_panels"][0]["config"].update(esql_query="FROM funnelgate-records-* | STATS BY versions"),
        "'versions' is filtered on",
    ),
    "a control whose query ends otherwise": (
        lambda b: b["pinned_panels"][0]["config"].update(esql_query="FROM funnelgate-records-* | STATS n = COUNT(*)"),
        "must end with `| STATS BY <field>`",
    ),
}


def _requery(body: dict[str, Any], change: Callable[[str], str]) -> None:
    source = body["panels"][1]["config"]["data_source"]
    source["query"] = change(source["query"])


@pytest.mark.parametrize("name", CHANGES)
def test_a_problem_is_found_and_named(name):
    change, told = CHANGES[name]
    found = spoiled(change)
    assert any(told in problem for problem in found), found
    assert all(problem.startswith(f"{ALL[0].id}: ") for problem in found)


def test_a_control_must_be_a_field_of_every_index_that_a_panel_reads():
    """A filter by task would take the plans away that throughput reads beside the records."""
    [where] = [number for number, built in enumerate(ALL) if built.id.endswith("throughput")]
    found = spoiled(
        lambda b: b["pinned_panels"][0]["config"].update(esql_query="FROM funnelgate-records-* | STATS BY task"), where
    )
    assert any("'task' is filtered on, but is no field of funnelgate-plans" in one for one in found)


def test_what_nobody_has_written_yet_is_told_as_not_run_but_records_must_be_there():
    def ask(query: str) -> Answer:
        return Answer(error=f"Unknown index [{','.join(sources(query))}]")

    report = check(ALL, NAMES, ask)
    told = {one.partition("no index ")[2] for one in report.not_run}
    assert {"funnelgate-logs-* yet", "funnelgate-verdicts yet", "funnelgate-evaluations-* yet"} <= told
    assert not any("records" in one for one in told)
    assert len(report.problems) == report.queries_run > 40
    assert all("records" in one for one in report.problems)


def test_a_cluster_without_esql_says_nothing_of_any_query():
    report = check(ALL, NAMES, lambda _: Answer(error="no handler found", has_engine=False))
    assert (report.problems, report.queries_run) == ([], 0)
    assert len(report.not_run) > 40
    assert all(one.endswith("this cluster has no ES|QL") for one in report.not_run)


def test_an_answer_that_is_cut_is_a_problem():
    report = check(ALL[:1], NAMES, lambda _: Answer(columns=("stage",), rows=10_000))
    assert any("cut at 10,000 rows" in one for one in report.problems)


def test_a_cluster_that_does_not_answer_is_a_problem_of_the_query():
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        closing(connect(ElasticSettings(url=f"http://127.0.0.1:{silent.getsockname()[1]}"))) as client,
    ):
        assert engine(client, seconds=0.1)("FROM a") == Answer(error="was not answered in time")


def test_a_query_that_several_panels_share_is_run_once():
    asked: list[str] = []

    def ask(query: str) -> Answer:
        asked.append(query)
        return Answer(error="no")

    report = check(ALL, NAMES, ask)
    assert len(asked) == len(set(asked)) < report.queries_run


def test_the_fields_of_the_logs_are_those_of_their_template():
    def paths(properties: dict[str, Any], path: str = "") -> set[str]:
        return {
            found
            for name, one in properties.items()
            for found in (paths(one["properties"], f"{path}{name}.") if "properties" in one else {path + name})
        }

    assert paths(json.loads(LOGS_TEMPLATE.read_text())["template"]["mappings"]["properties"]) >= LOG_FIELDS


def test_what_is_mapped_is_found_by_its_full_name():
    fields = mapped(NAMES)
    records = fields["funnelgate-records-*"]
    assert {"task", "error.error_class", "consumed.count", "metrics.hit_at_1"} <= set(records)
    assert not {"exact", "versions", "error", "metrics"} & set(records)
    assert "task" in fields["funnelgate-events-*"]
    assert "funnelgate.task" in fields[LOGS]


def test_a_query_is_taken_apart():
    text = 'FROM a-*, b METADATA _index | WHERE x == ?one AND ??two == "?no \\" ?not" | STATS BY c.d'
    assert sources(text) == ["a-*", "b"]
    assert parameters(text) == {"one", "two"}
    assert control_field(text) == "c.d"
    assert control_field("FROM a | STATS BY x | LIMIT 1") == ""
