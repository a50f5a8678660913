"""Every panel's rows, from a real ES|QL engine, are the numbers of the books: a repair counts once, a shadow never.

The oracles are `reporting`'s own functions over the SQL store, and plain sums over its records.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import date as Date
from typing import Any

import pytest
from typer.testing import CliRunner

import funnelgate
from dashboards.kibana.catalogue import build_all
from dashboards.kibana.check import check
from dashboards.kibana.engine import engine
from dashboards.kibana.esql import Names
from dashboards.kibana.models.base import body_of
from dashboards.kibana.models.dashboard import Dashboard
from reporting.elastic.client import url_of
from reporting.funnel import FunnelRow, funnel
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from tests.dashboards.kibana import books
from tests.dashboards.kibana.conftest import Shown
from tests.dashboards.kibana.oracle import LAST, counting, day, pick, share, stage, sums_of

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]

CHOICES: tuple[dict[str, list[str]] | None, ...] = (
    None,
    {"task": ["quality", "embed"]},
    {"category": ["hats"]},
    {"subinstance": ["0001"], "task": ["quality", "hash"]},
    {"planid": ["repair"]},
)


def test_every_query_is_good_and_gives_the_columns_that_its_panel_names(shown: Shown):
    boards = build_all(shown.names)
    now = books.moment(LAST, 23)
    report = check(boards, shown.names, engine(shown.client, now=now))
    assert report.problems == []
    assert report.not_run == []
    assert (report.dashboards, report.queries_run) == (10, 85)


def test_the_check_command_counts_what_it_ran_and_finds_no_problem(shown: Shown, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUNNELGATE_ELASTIC__PREFIX", shown.names.prefix)
    url = url_of(shown.client)
    result = CliRunner().invoke(funnelgate.app, ["dashboards", "check", "--elasticsearch", url, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert (found["dashboards"], found["panels"], found["queries_run"], found["problems"]) == (10, 72, 85, [])


def test_a_query_with_a_wrong_field_or_column_is_found(shown: Shown):
    [built] = [one for one in build_all(shown.names) if one.id.endswith("funnel")]
    text = json.dumps(body_of(built.dashboard)).replace("SUM(dropped_total)", "SUM(lost)")
    text = text.replace('"column": "reason"', '"column": "why"')
    spoiled = built._replace(dashboard=Dashboard.model_validate_json(text))
    problems = "\n".join(check([spoiled], shown.names, engine(shown.client)).problems)
    assert "Unknown column [lost]" in problems
    assert "names the column 'why', but its query gives items, stage, reason" in problems


@pytest.mark.parametrize("where", CHOICES)
def test_the_funnel_is_that_of_the_effective_records(shown: Shown, store: SqlStore, where):
    oracle: list[FunnelRow] = funnel(books.TOPOLOGY, counting(store, where))
    rows = shown.rows("funnel", "stages", where)
    assert [
        (row["stage"], row["taken"], row["kept"], row["kept_ratio"], row["handed_on"], row["leaves"]) for row in rows
    ] == [(stage(o.task), o.input, o.output, o.kept_ratio, o.produced, o.leaves) for o in oracle]
    assert [(row["dropped"], row["failed"]) for row in rows] == [
        (sum(o.dropped.values()), sum(o.failed.values())) for o in oracle
    ]
    assert pick(shown.rows("funnel", "kept", where), "stage", "kept") == {(stage(o.task), o.output) for o in oracle}
    reasons = {(stage(o.task), reason, count) for o in oracle for reason, count in o.dropped.items()}
    assert pick(shown.rows("funnel", "reasons", where), "stage", "reason", "items") == reasons
    errors = {(stage(o.task), name, count) for o in oracle for name, count in o.failed.items()}
    assert pick(shown.rows("funnel", "error-table", where), "stage", "error_name", "items") == errors


def test_the_funnel_would_be_another_without_the_effective_plans(store: SqlStore):
    """Else the tests above would prove nothing."""
    every = funnel(books.TOPOLOGY, store.records(RecordQuery()))
    assert every != funnel(books.TOPOLOGY, counting(store))
    assert any(record.key.planid == "repair" for record in counting(store))
    assert any(record.failed for record in counting(store))


@pytest.mark.parametrize("where", CHOICES)
def test_the_totals_are_those_of_the_effective_records(shown: Shown, store: SqlStore, where):
    found = counting(store, where)
    [row] = shown.rows("funnel", "leaves", where)
    assert row["leaves"] == len(found)
    assert (row["dropped"] or 0, row["failed"] or 0) == (
        sum(one.dropped_total for one in found),
        sum(one.failed_total for one in found),
    )
    assert row["open_leaves"] == sum(one.key.date == books.OPEN for one in found)


@pytest.mark.parametrize("where", CHOICES[:3])
def test_the_heat_map_has_the_kept_share_of_each_day(shown: Shown, store: SqlStore, where):
    sums = sums_of(counting(store, where), lambda record: (record.key.date, stage(record.key.task)))
    rows = shown.rows("days", "days", where)
    assert {(day(row["date"]), row["stage"], row["kept_ratio"]) for row in rows} == {
        (*key, share(kept, taken)) for key, (taken, kept) in sums.items()
    }
    split = [record for record in counting(store, where) if record.key.category != "all"]
    sums = sums_of(split, lambda record: (record.key.category, stage(record.key.task)))
    assert pick(shown.rows("days", "categories", where), "category", "stage", "kept_ratio") == {
        (*key, share(kept, taken)) for key, (taken, kept) in sums.items()
    }


def test_incidents_are_counted_by_their_state(shown: Shown):
    [row] = shown.rows("incidents", "open")
    assert row == {"open_count": 1, "paging": 1, "unseen": 1}
    assert [one["episode"] for one in shown.rows("incidents", "open-table")] == ["0firing"]
    assert [one["hours"] for one in shown.rows("incidents", "closed")] == [2.0]
    [checks] = shown.rows("incidents", "checks")
    assert (checks["evaluations"], checks["fails"], checks["warns"], checks["unknown"]) == (2, 2, 0, 0)
    [days] = shown.rows("incidents", "days")
    assert (day(days["date"]), days["severity"], days["incidents"]) == (books.BROKEN, "page", 2)


def test_the_gate_shows_each_verdict_and_the_figures_that_were_booked(shown: Shown, store: SqlStore):
    [row] = shown.rows("gate", "passed")
    assert (row["passed"], row["refused"]) == (2, 1)
    assert [(one["verdict_id"], one["outcome"]) for one in shown.rows("gate", "verdicts")] == [
        (verdict.verdict_id, verdict.outcome.value) for verdict in reversed(books.verdicts())
    ]
    booked = {r.key.date: r.metrics for r in counting(store) if r.key.task == "evaluate"}
    rows = shown.rows("gate", "figures")
    assert {day(row["date"]): (row["hit_at_1"], row["recall_at_10"]) for row in rows} == {
        date: (metrics["hit_at_1"], metrics["recall_at_10"]) for date, metrics in booked.items()
    }


def test_the_window_shows_the_metrics_of_its_tasks_and_why_items_left(shown: Shown, store: SqlStore):
    found = counting(store)
    for task, panel, metric, combine in (
        ("evict", "evict-window", "window", sum),
        ("recheck", "recheck-waiting-days", "waiting_days", max),
        ("merge", "merge-bytes", "bytes", sum),
        ("tail", "tail-days", "days", max),
        ("reclaim", "reclaim-bytes-kept", "bytes_freed", sum),
    ):
        values: dict[Date, list[float]] = defaultdict(list)
        for record in found:
            if record.key.task == task:
                values[record.key.date].append(record.metrics[metric])
        rows = {day(row["date"]): row[metric] for row in shown.rows("window", panel)}
        assert rows == {date: combine(several) for date, several in values.items()}
    reasons: Counter[tuple[Date, str]] = Counter()
    for record in found:
        if record.key.task in ("recheck", "evict", "tail", "merge", "release", "reclaim"):
            for reason, count in record.dropped.items():
                reasons[record.key.date, f"{record.key.task}: {reason}"] += count
    assert {(day(row["date"]), row["why"]): row["items"] for row in shown.rows("window", "reasons")} == reasons


def test_throughput_is_by_the_versions_that_each_record_that_counts_names(shown: Shown, store: SqlStore):
    codes = {plan.planid: plan.code_version for plan in store.plans()}
    items, leaves = Counter[Any](), Counter[Any]()
    seconds: dict[Any, float] = defaultdict(float)
    for record in counting(store):
        named = {"code": codes[record.key.planid], **record.versions}
        # the code of the plan stands first; a record's own stands where the alphabet puts it
        own = sorted(f"{name}={version}" for name, version in record.versions.items())
        words = own if "code" in record.versions else [f"code={named['code']}", *own]
        place = stage(record.key.task), ", ".join(words)
        items[place] += record.output
        seconds[place] += record.seconds
        leaves[place] += 1
    rows = shown.rows("throughput", "versions")
    assert {
        (row["stage"], row["version"]): (row["items"], row["busy_seconds"], row["leaves"], row["per_second"])
        for row in rows
    } == {key: (items[key], seconds[key], leaves[key], pytest.approx(items[key] / seconds[key])) for key in items}
    assert len(rows) == len(items)
    # A repair with the plan's code-2 says itself that it ran code-1; quality names no version at all.
    assert ("embed", 4) in Counter(name.split()[1] for name, _ in items).items()
    assert {version for name, version in items if name.endswith(" quality")} == {"code=code-1", "code=code-2"}
    drawn = shown.rows("throughput", "versions-chart")
    assert {(row["stage"], row["version"]): row["per_second"] for row in drawn} == {
        (row["stage"], row["version"]): row["per_second"] for row in rows
    }


def test_the_logs_are_those_of_the_leaf_that_is_chosen(shown: Shown):
    leaf = {"funnelgate.task": ["hash"], "funnelgate.subinstance": ["0001"]}
    assert [row["message"] for row in shown.rows("logs", "lines", leaf)] == ["line 2", "line 1", "line 0"]
    assert shown.rows("logs", "lines", {"funnelgate.task": ["detect"]}) == []
    [error] = shown.rows("logs", "errors")
    assert (error["error.type"], error["lines"]) == ("ValueError", 1)
    assert sum(row["lines"] for row in shown.rows("logs", "levels")) == 3


@pytest.mark.parametrize("board", ["funnel", "plans", "days", "freshness", "incidents", "gate", "window", "logs"])
def test_a_control_offers_every_value_of_its_field(shown: Shown, store: SqlStore, board):
    if board == "logs":
        assert shown.rows("logs", "control-log-level") == [{"log.level": "error"}, {"log.level": "info"}]
    elif board in ("funnel", "plans", "days"):
        tasks = {record.key.task for record in store.records(RecordQuery())}
        assert {row["task"] for row in shown.rows(board, "control-task")} == tasks
    elif board == "incidents":
        assert shown.rows(board, "control-task") == [{"task": "listing"}]
    else:
        assert shown.rows(board, "control-planid")


def test_an_index_that_is_not_there_yet_is_an_answer_and_not_a_failure(shown: Shown):
    names = Names("nothing-here", books.TOPOLOGY)
    report = check(build_all(names), names, engine(shown.client))
    assert any("nothing-here-verdicts" in one for one in report.not_run)
    assert report.problems
    assert all("no such index" in one or "Unknown index" in one for one in report.problems)
