"""Throughput: items a second, by task, day and version.

The version is all that the record itself says it was made with (`versions_by`: model, feature space, ...), and the
code: that of the record, else the `code_version` that its plan was made with. Plans and records are read as one and
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
        description="Items kept per second of a worker, by task, day and the version that its records name.",
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
                _by_version(names, "KEEP version, stage, per_second", "SORT stage, version"),
                "stage",
                [series("per_second", "a second", DECIMAL)],
                "version",
            ),
        ),
    )


def _versions(names: Names) -> VisPanel:
    query = _by_version(names, "KEEP stage, version, leaves, items, busy_seconds, per_second", "SORT stage, version")
    rows = [name("stage", "stage"), name("version", "made with")]
    values = [
        value("leaves", "leaves"),
        value("items", "items kept"),
        value("busy_seconds", "worker time", SECONDS),
        value("per_second", "items a second", DECIMAL),
    ]
    return table("versions", at(0, 16, 48, 18), "By version", query, rows, values)


def _by_version(names: Names, *last: str) -> str:
    """Return the query that sums by task and version: each record is in one row.

    Sums are packed into text while a plan's documents are brought together, and unpacked again: `|` is in no part of a
    key, and what a record names comes last, whatever it holds.
    """
    in_time = IN_TIME.removeprefix("WHERE ")
    return pipe(
        names.source(Kind.RECORDS, Kind.PLANS),
        f"WHERE attempt IS NULL OR ({in_time})",
        f"LOOKUP JOIN {names.prefix}-{Kind.EFFECTIVE.value} ON effective_key",
        "WHERE attempt IS NULL OR planid == effective_planid",
        'EVAL own = COALESCE(MV_CONCAT(MV_SORT(versions_by), ", "), "")',
        "STATS items = SUM(output), busy_seconds = SUM(seconds), leaves = COUNT(attempt), code = MAX(code_version)"
        " BY planid, task, own",
        'EVAL packed = CONCAT(task, "|", TO_STRING(items), "|", TO_STRING(busy_seconds), "|", TO_STRING(leaves), "|",'
        " own)",
        "STATS packed = VALUES(packed), code = MAX(code) BY planid",
        "WHERE packed IS NOT NULL",
        "MV_EXPAND packed",
        'DISSECT packed "%{task}|%{items}|%{busy_seconds}|%{leaves}|%{own}"',
        "EVAL items = TO_LONG(items), busy_seconds = TO_DOUBLE(busy_seconds), leaves = TO_LONG(leaves),"
        ' code = CONCAT("code=", CASE(code IS NULL OR code == "", "(not known)", code))',
        'EVAL version = CASE(own IS NULL OR own == "", code, own LIKE "code=*" OR own LIKE "*, code=*", own,'
        ' CONCAT(code, ", ", own))',
        stage(names),
        "STATS items = SUM(items), busy_seconds = SUM(busy_seconds), leaves = SUM(leaves) BY stage, version",
        _RATE,
        *last,
    )
