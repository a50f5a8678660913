"""A day against the same weekday before: a week ago, and the median of the last four. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from datetime import timedelta
from statistics import median
from typing import NamedTuple

from dashboards.page.sums import DaySums, TaskSum

WEEKS = 4
TREND_DAYS = 28


class Compared(NamedTuple):
    """One task of a day beside the same weekday of the weeks before; None where there is no record."""

    task: str
    today: TaskSum | None
    week_ago: TaskSum | None
    change: float | None
    """Of the input, as a share of last week's."""
    usual: float | None
    """Median input of the last four same weekdays that have a record."""
    usual_kept: float | None
    weeks: int
    """How many of them have one."""
    trend: tuple[int | None, ...]
    """Input of the last four weeks, oldest first; from the first day that has a record."""


def compare_days(sums: DaySums, order: Sequence[str], day: Date) -> list[Compared]:
    """Return a row for each task that has a record today or had one a week ago."""
    rows = []
    for task in order:
        today, week_ago = sums.get((day, task)), sums.get((day - timedelta(weeks=1), task))
        if today is None and week_ago is None:
            continue
        before = [sums.get((day - timedelta(weeks=back), task)) for back in range(1, WEEKS + 1)]
        known = [one for one in before if one is not None]
        kept = [one.kept for one in known if one.kept is not None]
        last = [sums.get((day - timedelta(days=back), task)) for back in reversed(range(TREND_DAYS))]
        rows.append(
            Compared(
                task=task,
                today=today,
                week_ago=week_ago,
                change=_change(today, week_ago),
                usual=median(one.input for one in known) if known else None,
                usual_kept=median(kept) if kept else None,
                weeks=len(known),
                trend=_trimmed([None if one is None else one.input for one in last]),
            )
        )
    return rows


def _change(today: TaskSum | None, before: TaskSum | None) -> float | None:
    if today is None or before is None or not before.input:
        return None
    return today.input / before.input - 1


def _trimmed(values: Sequence[int | None]) -> tuple[int | None, ...]:
    first = next((place for place, value in enumerate(values) if value is not None), len(values))
    return tuple(values[first:])
