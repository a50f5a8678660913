"""The overview: the newest day at a glance, what is open, and every day before it in one table."""

from __future__ import annotations

from collections import Counter
from datetime import date as Date
from statistics import median
from typing import NamedTuple

from dashboards.page.desk import Desk
from dashboards.page.render import Page
from dashboards.page.sums import DaySums, TaskSum

OFF = 0.05
"""A cell whose kept share differs by so much from the median of its task is marked."""
FEWEST = 3
"""Days that a median is taken of: of two, each would lie off it."""


class HeatCell(NamedTuple):
    """One task on one day."""

    task: str
    sums: TaskSum
    off: int
    """-1 and 1: well below or above what the task keeps on the other days; else 0."""


class HeatRow(NamedTuple):
    """One day, its cells in the order of the tasks; None where the task has no record."""

    day: Date
    cells: tuple[HeatCell | None, ...]


def page(desk: Desk) -> Page:
    """Return the overview; a store without any plan has one that says how to begin."""
    day = desk.newest
    if day is None or desk.heat_span is None or desk.span is None:
        return Page("index.html", "empty.html.j2", "Nothing has run yet", {})
    sums = desk.sums(*desk.heat_span)
    named = {name for _, name in sums}
    tasks = tuple(task for task in desk.topology.order if task in named)
    facts = {
        "day": desk.day(day),
        "span": desk.span,
        "tasks": tasks,
        "heat": heat_rows(sums, tasks),
        "open_incidents": desk.open_incidents,
        "open_by_day": Counter(one.date for one in desk.open_incidents),
        "checks": desk.checks(day),
        "verdicts": desk.verdicts(day),
        "serving": next((one for one in desk.sources.releases() if "current" in one.marks), None),
        "plans": [plan for plan in reversed(desk.plans) if any(one in desk.span for one in plan.dates)],
    }
    return Page("index.html", "index.html.j2", f"Overview, {day}", facts)


def heat_rows(sums: DaySums, tasks: tuple[str, ...]) -> list[HeatRow]:
    """Return days by tasks, the newest first."""
    kept: dict[str, list[float]] = {task: [] for task in tasks}
    for (_, task), one in sums.items():
        if one.kept is not None:
            kept[task].append(one.kept)
    usual = {task: median(shares) for task, shares in kept.items() if len(shares) >= FEWEST}

    def cell(day: Date, task: str) -> HeatCell | None:
        one = sums.get((day, task))
        if one is None:
            return None
        gap = 0.0 if one.kept is None else one.kept - usual.get(task, one.kept)
        return HeatCell(task, one, 0 if abs(gap) <= OFF else 1 if gap > 0 else -1)

    days = sorted({day for day, _ in sums}, reverse=True)
    return [HeatRow(day, tuple(cell(day, task) for task in tasks)) for day in days]
