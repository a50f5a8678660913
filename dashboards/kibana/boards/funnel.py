"""Funnel: per stage what went in, what came out, and why the rest did not."""

from __future__ import annotations

from dashboards.kibana.boards.leaf_controls import leaf_controls
from dashboards.kibana.esql import Names, counted, pairs, pipe, ratio, stage
from dashboards.kibana.models.dashboard import Dashboard
from dashboards.kibana.models.panels import VisPanel
from dashboards.kibana.pieces import (
    CALM,
    COUNT,
    KEPT_COLOUR,
    NONE_IS_GOOD,
    PERCENT,
    at,
    bars,
    name,
    number,
    series,
    since,
    table,
    value,
)


def board(names: Names) -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        title="funnelgate: funnel",
        description="What each task took in, kept and dropped, over the plans that count. A repair counts once.",
        time_range=since("now-1d/d"),
        pinned_panels=leaf_controls(names),
        panels=(*_totals(names), _kept(names), *_reasons(names), _stages(names), _errors(names)),
    )


def _totals(names: Names) -> list[VisPanel]:
    query = pipe(
        *counted(names),
        "STATS leaves = COUNT(*), dropped = SUM(dropped_total), failed = SUM(failed_total),"
        " open_leaves = COUNT(*) WHERE provisional",
    )
    return [
        number("leaves", at(0, 0, 12, 5), query, "leaves", "leaves reported"),
        number("dropped", at(12, 0, 12, 5), query, "dropped", "items dropped"),
        number("failed", at(24, 0, 12, 5), query, "failed", "items failed", colour=NONE_IS_GOOD),
        number("open", at(36, 0, 12, 5), query, "open_leaves", "leaves of a plan still at work"),
    ]


def _kept(names: Names) -> VisPanel:
    query = pipe(*counted(names), stage(names), "STATS kept = SUM(output) BY stage", "SORT stage")
    drawn = [series("kept", "kept", COUNT, CALM)]
    return bars("kept", at(0, 5, 24, 18), "Kept by each stage", query, "stage", drawn)


def _reasons(names: Names) -> list[VisPanel]:
    """Return the same rows twice: as a picture, and to be read."""
    query = pipe(
        *counted(names),
        stage(names),
        *pairs("dropped_by", "reason", "items"),
        "STATS items = SUM(items) BY stage, reason",
        "SORT stage, items DESC",
    )
    drawn, title = [series("items", "dropped")], "Dropped by each stage, by reason"
    rows = [name("stage", "stage"), name("reason", "reason")]
    return [
        bars("reasons", at(24, 5, 24, 18), title, query, "stage", drawn, "reason", kind="bar_horizontal_stacked"),
        table("reason-table", at(0, 39, 24, 14), "Dropped, by reason", query, rows, [value("items", "items")]),
    ]


def _errors(names: Names) -> VisPanel:
    query = pipe(
        *counted(names),
        stage(names),
        *pairs("failed_by", "error_name", "items"),
        "STATS items = SUM(items) BY stage, error_name",
        "SORT stage, items DESC",
    )
    rows = [name("stage", "stage"), name("error_name", "error")]
    return table("error-table", at(24, 39, 24, 14), "Failed, by error", query, rows, [value("items", "items")])


def _stages(names: Names) -> VisPanel:
    query = pipe(
        *counted(names),
        stage(names),
        "STATS taken = SUM(input), kept = SUM(output), handed_on = SUM(produced), dropped = SUM(dropped_total),"
        " failed = SUM(failed_total), leaves = COUNT(*) BY stage",
        f"EVAL kept_ratio = {ratio('kept', 'taken')}",
        "KEEP stage, taken, kept, kept_ratio, dropped, failed, handed_on, leaves",
        "SORT stage",
    )
    columns = [
        value("taken", "in"),
        value("kept", "out"),
        value("kept_ratio", "kept", PERCENT, KEPT_COLOUR),
        value("dropped", "dropped"),
        value("failed", "failed", colour=NONE_IS_GOOD),
        value("handed_on", "handed on (output unit)"),
        value("leaves", "leaves"),
    ]
    return table("stages", at(0, 23, 48, 16), "The funnel", query, [name("stage", "stage")], columns)
