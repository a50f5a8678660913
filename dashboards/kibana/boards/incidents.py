"""Incidents: what is broken, since when, whose it is and what mends it; and what the checks last said."""

from __future__ import annotations

from dashboards.kibana.boards.leaf_controls import leaf_controls
from dashboards.kibana.esql import IN_TIME, Names, pipe
from dashboards.kibana.models.dashboard import Dashboard
from dashboards.kibana.models.panels import VisPanel
from dashboards.kibana.pieces import NONE_IS_GOOD, at, bars, name, number, series, since, table, value
from reporting.elastic.names import Kind

_OPEN = 'WHERE state IN ("pending", "firing", "acknowledged", "recovering")'
"""The states in which an incident wants something of somebody (`checks`)."""


def board(names: Names) -> Dashboard:
    """Return the dashboard."""
    incidents = (names.source(Kind.INCIDENTS), IN_TIME)
    counts = pipe(
        *incidents,
        _OPEN,
        'STATS open_count = COUNT(*), paging = COUNT(*) WHERE severity == "page",'
        ' unseen = COUNT(*) WHERE state == "firing"',
    )
    days = pipe(*incidents, "STATS incidents = COUNT(*) BY date, severity", "SORT date")
    return Dashboard(
        title="funnelgate: incidents",
        description="One incident for one cause, by the business day it is about.",
        time_range=since("now-14d/d"),
        pinned_panels=leaf_controls(names, ("task", "category", "subinstance"), Kind.INCIDENTS),
        panels=(
            number("open", at(0, 0, 16, 5), counts, "open_count", "open incidents", colour=NONE_IS_GOOD),
            number("paging", at(16, 0, 16, 5), counts, "paging", "of them page", colour=NONE_IS_GOOD),
            number("unseen", at(32, 0, 16, 5), counts, "unseen", "nobody has acknowledged", colour=NONE_IS_GOOD),
            _open(names),
            bars(
                "days",
                at(0, 21, 24, 14),
                "Incidents by day",
                days,
                "date",
                [series("incidents", "incidents")],
                "severity",
                kind="bar_stacked",
                temporal=True,
            ),
            _checks(names),
            _closed(names),
        ),
    )


_FIRST = [name("severity", "severity"), name("state", "state"), name("date", "day"), name("check_id", "check")]
_WHERE = [name("task", "task", click=True), name("instance", "instance"), name("sentence", "where it sits")]


def _open(names: Names) -> VisPanel:
    query = pipe(
        names.source(Kind.INCIDENTS),
        IN_TIME,
        _OPEN,
        "KEEP severity, state, date, check_id, task, instance, sentence, reason, repair, owner, opened_at, episode,"
        " impact_count",
        "SORT severity, opened_at DESC",
        "LIMIT 1000",
    )
    rest = [
        name("reason", "found"),
        name("repair", "what mends it"),
        name("owner", "owner"),
        name("opened_at", "since"),
        name("episode", "episode"),
    ]
    values = [value("impact_count", "also broken")]
    return table("open-table", at(0, 5, 48, 16), "Open", query, [*_FIRST, *_WHERE, *rest], values)


def _closed(names: Names) -> VisPanel:
    query = pipe(
        names.source(Kind.INCIDENTS),
        IN_TIME,
        "WHERE closed_at IS NOT NULL",
        'EVAL hours = DATE_DIFF("minutes", opened_at, closed_at) / 60.0',
        "KEEP severity, state, date, check_id, task, instance, sentence, note, opened_at, closed_at, hours",
        "SORT closed_at DESC",
        "LIMIT 1000",
    )
    rest = [name("note", "note"), name("opened_at", "from"), name("closed_at", "to")]
    return table("closed", at(0, 35, 48, 14), "Over", query, [*_FIRST, *_WHERE, *rest], [value("hours", "hours")])


def _checks(names: Names) -> VisPanel:
    query = pipe(
        names.source(Kind.EVALUATIONS),
        IN_TIME,
        'STATS evaluations = COUNT(*), passes = COUNT(*) WHERE status == "pass", fails = COUNT(*) WHERE'
        ' status == "fail", warns = COUNT(*) WHERE status == "warn", last_run = MAX(as_of) BY check_id',
        # The rest by difference: where it is not pushed down to the index, an OR never answers on the tests' 8.19.21.
        "EVAL unknown = evaluations - passes - fails - warns",
        "KEEP check_id, last_run, evaluations, fails, warns, unknown",
        "SORT fails DESC, warns DESC, check_id",
    )
    values = [
        value("evaluations", "judged"),
        value("fails", "fail", colour=NONE_IS_GOOD),
        value("warns", "warn"),
        value("unknown", "not evaluated"),
    ]
    rows = [name("check_id", "check"), name("last_run", "last run")]
    return table("checks", at(24, 21, 24, 14), "What the checks said, all their runs", query, rows, values)
