"""Heat map: how much each task kept, day by day and category by category."""

from __future__ import annotations

from dashboards.kibana.boards.leaf_controls import leaf_controls
from dashboards.kibana.esql import Names, counted, pipe, quoted, ratio, stage
from dashboards.kibana.models.dashboard import Dashboard
from dashboards.kibana.models.panels import VisPanel
from dashboards.kibana.pieces import BAD, CALM, COUNT, PERCENT, at, heat, lines, series, since, steps
from reporting.key import ALL

_SUMS = "STATS taken = SUM(input), kept = SUM(output)"
_KEPT = f"EVAL kept_ratio = {ratio('kept', 'taken')}"


def board(names: Names) -> Dashboard:
    """Return the dashboard."""
    return Dashboard(
        title="funnelgate: kept, day by day",
        description="The share of its input that each task kept, over the plans that count.",
        time_range=since("now-30d/d"),
        pinned_panels=leaf_controls(names),
        panels=(*_days(names), _categories(names), _leaves(names)),
    )


def _days(names: Names) -> list[VisPanel]:
    """Return the same rows twice: as cells, and as lines."""
    query = pipe(
        *counted(names),
        stage(names),
        f"{_SUMS} BY date, stage",
        _KEPT,
        "KEEP date, stage, kept_ratio",
        "SORT date, stage",
    )
    drawn = [series("kept_ratio", "kept", PERCENT)]
    return [
        heat("days", at(0, 0, 48, 20), "Kept, by stage and day", query, "date", "stage", "kept_ratio"),
        lines("trend", at(0, 36, 48, 14), "Kept", query, "date", drawn, "stage"),
    ]


def _categories(names: Names) -> VisPanel:
    query = pipe(
        *counted(names),
        f"WHERE category != {quoted(ALL)}",
        stage(names),
        f"{_SUMS} BY category, stage",
        _KEPT,
        "KEEP category, stage, kept_ratio",
        "SORT category, stage",
    )
    title = "Kept, by stage and category"
    return heat("categories", at(0, 20, 24, 16), title, query, "category", "stage", "kept_ratio", temporal=False)


def _leaves(names: Names) -> VisPanel:
    query = pipe(
        *counted(names), stage(names), "STATS leaves = COUNT(*) BY date, stage", "KEEP date, stage, leaves", "SORT date"
    )
    colour, title = steps((BAD, 1), (CALM, None)), "Leaves reported, by stage and day"
    return heat("leaves", at(24, 20, 24, 16), title, query, "date", "stage", "leaves", form=COUNT, colour=colour)
