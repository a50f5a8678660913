"""Throughput: items a second, by task, day and version of the code.

A record's own `versions` are of the type `flattened`, which ES|QL does not read ("unsupported type", seen on 8.19.21):
the version here is the `code_version` that the record's plan was made with. Plans and records are read as one and
brought together by plan, for only the index of effective plans is one that LOOKUP JOIN may read.
"""

from __future__ import annotations

from dashboards.kibana.boards.leaf_controls import leaf_controls
from dashboards.kibana.esql import IN_TIME, Names, counted, pipe, ratio, stage
from dashboards.kibana.models.dashboard import Dashboard
from dashboards.kibana.models.panels import VisPanel
from dashboards.kibana.pieces import DECIMAL, SECONDS, at, bars, lines, name, series, since, table, value
from reporting.elastic.names import Kind

_RATE = f"EVAL per_second = {ratio('items', 'busy_seconds')}"


def board(names: Names) -> Dashboard:
    """Return the dashboard. No control for the task: plans have none, and a filter would take their versions away."""
    by_day = pipe(
        *counted(names),
        stage(names),
        "STATS items = SUM(output), busy_seconds = SUM(seconds) BY date, stage",
        _RATE,
        "KEEP date, stage, per_second",
        "SORT date, stage",
    )
    return Dashboard(
        title="funnelgate: throughput",
        description="Items kept per second of a worker, by task, day and the code version of the plan.",
        time_range=since("now-30d/d"),
        pinned_panels=leaf_controls(names, ("planid",)),
        panels=(
            lines(
                "days",
                at(0, 0, 48, 16),
                "Items a second",
                by_day,
                "date",
                [series("per_second", "a second", DECIMAL)],
                "stage",
            ),
            _versions(names),
            bars(
                "versions-chart",
                at(0, 34, 48, 20),
                "Items a second, by version",
                _by_version(names, "KEEP code, stage, per_second", "SORT stage, code"),
                "stage",
                [series("per_second", "a second", DECIMAL)],
                "code",
            ),
        ),
    )


def _versions(names: Names) -> VisPanel:
    query = _by_version(names, "KEEP stage, code, leaves, items, busy_seconds, per_second", "SORT stage, code")
    rows = [name("stage", "stage"), name("code", "code of the plan")]
    values = [
        value("leaves", "leaves"),
        value("items", "items kept"),
        value("busy_seconds", "worker time", SECONDS),
        value("per_second", "items a second", DECIMAL),
    ]
    return table("versions", at(0, 16, 48, 18), "By version of the code", query, rows, values)


def _by_version(names: Names, *last: str) -> str:
    """Return the query that sums by task and the code version of the plan.

    Sums are packed into text while a plan's documents are brought together, and unpacked again: `|` is in no part of a
    key.
    """
    in_time = IN_TIME.removeprefix("WHERE ")
    return pipe(
        names.source(Kind.RECORDS, Kind.PLANS),
        f"WHERE attempt IS NULL OR ({in_time})",
        f"LOOKUP JOIN {names.prefix}-{Kind.EFFECTIVE.value} ON effective_key",
        "WHERE attempt IS NULL OR planid == effective_planid",
        "STATS items = SUM(output), busy_seconds = SUM(seconds), leaves = COUNT(attempt), code = MAX(code_version)"
        " BY planid, task",
        'EVAL packed = CONCAT(task, "|", TO_STRING(items), "|", TO_STRING(busy_seconds), "|", TO_STRING(leaves))',
        "STATS packed = VALUES(packed), code = MAX(code) BY planid",
        "WHERE packed IS NOT NULL",
        "MV_EXPAND packed",
        'DISSECT packed "%{task}|%{items}|%{busy_seconds}|%{leaves}"',
        "EVAL items = TO_LONG(items), busy_seconds = TO_DOUBLE(busy_seconds), leaves = TO_LONG(leaves),"
        ' code = CASE(code IS NULL OR code == "", "(not known)", code)',
        stage(names),
        "STATS items = SUM(items), busy_seconds = SUM(busy_seconds), leaves = SUM(leaves) BY stage, code",
        _RATE,
        *last,
    )
