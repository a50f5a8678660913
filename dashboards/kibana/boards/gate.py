"""Gate history: the verdicts, and the figures that the task `evaluate` booked."""

from __future__ import annotations

from collections.abc import Iterator

from dashboards.kibana.boards.leaf_controls import leaf_controls
from dashboards.kibana.esql import IN_TIME, Names, counted, field, pipe, tasks
from dashboards.kibana.models.dashboard import Dashboard
from dashboards.kibana.models.panels import VisPanel
from dashboards.kibana.pieces import DECIMAL, NONE_IS_GOOD, at, bars, lines, name, number, series, since, table
from reporting.elastic.names import Kind

EVALUATE = "evaluate"
_SHOWN = ("hit_at_1", "hit_at_10", "recall_at_10", "answer_rate")
"""Of the metrics that the graph declares; a graph of its own may have none of them."""


def board(names: Names) -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        title="funnelgate: gate history",
        description="PASS releases; FAIL and INCONCLUSIVE do not. Intervals and slices: `funnelgate evaluate history`.",
        time_range=since("now-90d/d"),
        pinned_panels=leaf_controls(names, ("planid",), Kind.VERDICTS),
        panels=(*_counts(names), _days(names), _verdicts(names), *_figures(names)),
    )


def _counts(names: Names) -> list[VisPanel]:
    query = pipe(
        names.source(Kind.VERDICTS),
        IN_TIME,
        'STATS passed = COUNT(*) WHERE outcome == "PASS", refused = COUNT(*) WHERE outcome != "PASS"',
    )
    return [
        number("passed", at(0, 0, 24, 5), query, "passed", "verdicts that pass"),
        number("refused", at(24, 0, 24, 5), query, "refused", "verdicts that do not", colour=NONE_IS_GOOD),
    ]


def _days(names: Names) -> VisPanel:
    query = pipe(names.source(Kind.VERDICTS), IN_TIME, "STATS verdicts = COUNT(*) BY date, outcome", "SORT date")
    drawn, place = [series("verdicts", "verdicts")], at(0, 5, 24, 14)
    return bars("days", place, "Verdicts by day", query, "date", drawn, "outcome", kind="bar_stacked", temporal=True)


def _verdicts(names: Names) -> VisPanel:
    query = pipe(
        names.source(Kind.VERDICTS),
        IN_TIME,
        "KEEP date, outcome, planid, decided_at, verdict_id",
        "SORT decided_at DESC",
        "LIMIT 1000",
    )
    rows = [
        name("date", "day"),
        name("outcome", "verdict"),
        name("planid", "plan", click=True),
        name("decided_at", "decided"),
        name("verdict_id", "verdict's id"),
    ]
    return table("verdicts", at(24, 5, 24, 14), "Verdicts", query, rows)


def _figures(names: Names) -> Iterator[VisPanel]:
    """Yield a chart of the figures that `evaluate` books, where the graph has any."""
    shown = [metric for metric in _SHOWN if names.has(EVALUATE, metric)]
    if shown:
        means = ", ".join(f"{metric} = AVG({field('metrics.' + metric)})" for metric in shown)
        query = pipe(
            *counted(names),
            tasks([EVALUATE]),
            f"STATS {means} BY date",
            "SORT date",
        )
        figures = [series(metric, metric.replace("_at_", "@").replace("_", " "), DECIMAL) for metric in shown]
        yield lines("figures", at(0, 19, 48, 14), "What evaluate booked", query, "date", figures)
