"""Window and eviction: what is live, what was let go and why, and what came out in a release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dashboards.kibana.boards.leaf_controls import leaf_controls
from dashboards.kibana.esql import Names, counted, field, pairs, pipe, stage, tasks
from dashboards.kibana.models.columns import Format
from dashboards.kibana.models.dashboard import Dashboard
from dashboards.kibana.models.panels import Grid, Panel
from dashboards.kibana.pieces import BYTES, COUNT, DECIMAL, PERCENT, at, bars, lines, series, since, text

_TASKS = ("recheck", "evict", "tail", "merge", "release", "reclaim")


class _Group(NamedTuple):
    """Metrics of one task that are drawn together."""

    task: str
    title: str
    metrics: Sequence[str]
    combine: str = "SUM"
    """How the leaves of a day are put together."""
    form: Format = COUNT


_GROUPS = (
    _Group("evict", "The library after evict: pictures", ("window", "tail", "marked")),
    _Group("evict", "Product groups, and those at risk", ("groups", "groups_at_risk")),
    _Group("evict", "Of the tail's places, taken at most", ("tail_fill_max",), "MAX", PERCENT),
    _Group("recheck", "Asked again: offers, and those gone", ("offers", "gone", "promotions")),
    _Group("recheck", "Days since the oldest question", ("waiting_days",), "MAX", DECIMAL),
    _Group("tail", "The tail's shards: bytes", ("bytes",), "SUM", BYTES),
    _Group("tail", "The tail's shards: days in them", ("days",), "MAX"),
    _Group("merge", "The window's indexes: bytes", ("bytes",), "SUM", BYTES),
    _Group("release", "Generation that is out", ("generation",), "MAX"),
    _Group("reclaim", "Pictures' bytes: kept and freed", ("bytes_kept", "bytes_freed"), "SUM", BYTES),
)
_NONE = "This task graph has none of the tasks recheck, evict, tail, merge, release and reclaim."


def board(names: Names) -> Dashboard:
    """Return the dashboard: of the groups those whose task and metrics the graph has."""
    there = [task for task in _TASKS if names.has(task)]
    groups = [
        group._replace(metrics=shown)
        for group in _GROUPS
        if (shown := [metric for metric in group.metrics if names.has(group.task, metric)])
    ]
    charts = [_chart(names, number, group) for number, group in enumerate(groups)]
    panels: list[Panel] = [*(_dropped(names, there) if there else [text("none", at(0, 0, 48, 3), _NONE)]), *charts]
    return Dashboard(
        title="funnelgate: window and eviction",
        description="What the library holds, what leaves it and why, and what the release carries.",
        time_range=since("now-30d/d"),
        pinned_panels=leaf_controls(names, ("category", "planid")),
        panels=tuple(panels),
    )


def _chart(names: Names, number: int, group: _Group) -> Panel:
    sums = ", ".join(f"{metric} = {group.combine}({field(f'metrics.{metric}')})" for metric in group.metrics)
    query = pipe(*counted(names), tasks([group.task]), f"STATS {sums} BY date", "SORT date")
    drawn = [series(metric, metric.replace("_", " "), group.form) for metric in group.metrics]
    place: Grid = at(24 * (number % 2), 16 + 12 * (number // 2), 24, 12)
    return lines(f"{group.task}-{group.metrics[0].replace('_', '-')}", place, group.title, query, "date", drawn)


def _dropped(names: Names, there: Sequence[str]) -> list[Panel]:
    common = (*counted(names), tasks(there), stage(names))
    reasons = pipe(
        *common,
        *pairs("dropped_by", "reason", "items"),
        'EVAL why = CONCAT(task, ": ", reason)',
        "STATS items = SUM(items) BY date, why",
        "SORT date, why",
    )
    kept = pipe(*common, "STATS kept = SUM(output) BY date, stage", "SORT date, stage")
    return [
        bars(
            "reasons",
            at(0, 0, 24, 16),
            "Let go, by reason",
            reasons,
            "date",
            [series("items", "let go")],
            "why",
            kind="bar_stacked",
            temporal=True,
        ),
        lines("kept", at(24, 0, 24, 16), "Kept by each task", kept, "date", [series("kept", "kept")], "stage"),
    ]
