"""What serves now: its categories, the rows that each day gives, the releases before it, and the bytes of it all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date as Date
from typing import TYPE_CHECKING, Final, NamedTuple

from dashboards.page.cards import DayRows, ReleaseCard, ReleasedCategory
from dashboards.page.render import Page
from dashboards.page.view_gate import shown_verdicts

if TYPE_CHECKING:
    from dashboards.page.desk import Desk

WIDTH: Final = 960
HEIGHT: Final = 190
_LEFT, _BOTTOM, _TOP = 8, 26, 18
_MOST_DAYS: Final = 90
"""Days in the table; those before them are one row, the oldest."""


class Column(NamedTuple):
    """A day's bar, in pixels."""

    x: float
    y: float
    width: float
    height: float
    is_tail: bool
    words: str
    label: str
    rows: int
    """`label` and `rows` are written at the bar; "" where there is no room."""


class DayLine(NamedTuple):
    """What a day gives to each category."""

    label: str
    rows: int
    is_tail: bool
    by_category: Mapping[str, int]


class CategoryLine(NamedTuple):
    """A category, and how many of its rows are of the window and of the tail."""

    card: ReleasedCategory
    window: int
    tail: int


def page(desk: Desk) -> Page:
    """Return the page of what serves."""
    releases, window, storage = desk.sources.releases(), desk.sources.window(), desk.sources.storage()
    served = next((one for one in releases if "current" in one.marks), None)
    lines = _lines(window.days)
    return Page(
        "release.html",
        "release.html.j2",
        "Release and window",
        {
            "served": served,
            "releases": releases,
            "judged": {one.verdict_id for one in shown_verdicts(desk)},
            "facts": window.facts,
            "days": lines[::-1],
            "columns": _columns(lines),
            "categories": [] if served is None else _categories(served, window.days),
            "most": max((count for line in lines for count in line.by_category.values()), default=0),
            "tail_rows": sum(one.rows for one in window.days if one.is_tail),
            "window_rows": sum(one.rows for one in window.days if not one.is_tail),
            "storage": storage,
            "largest": max((one.bytes for one in storage), default=0),
            "width": WIDTH,
            "height": HEIGHT,
        },
    )


def _categories(served: ReleaseCard, days: Sequence[DayRows]) -> list[CategoryLine]:
    window: dict[str, int] = defaultdict(int)
    tail: dict[str, int] = defaultdict(int)
    for one in days:
        (tail if one.is_tail else window)[one.category] += one.rows
    return [CategoryLine(one, window[one.category], tail[one.category]) for one in served.categories]


def _lines(days: Sequence[DayRows]) -> list[DayLine]:
    """Return what each day gives, oldest first; what is older than the newest `_MOST_DAYS` days is one line."""
    by_day: dict[Date, list[DayRows]] = defaultdict(list)
    for one in days:
        by_day[one.date].append(one)
    ordered = sorted(by_day)
    old, rest = ordered[:-_MOST_DAYS], ordered[-_MOST_DAYS:]
    lines = [_line(day.isoformat(), by_day[day]) for day in rest]
    if old:
        before = [one for day in old for one in by_day[day]]
        lines.insert(0, _line(f"{old[0].isoformat()} to {old[-1].isoformat()}", before))
    return lines


def _line(label: str, some: Sequence[DayRows]) -> DayLine:
    counts: dict[str, int] = defaultdict(int)
    for one in some:
        counts[one.category] += one.rows
    return DayLine(label, sum(counts.values()), all(one.is_tail for one in some), dict(counts))


def _columns(lines: Sequence[DayLine]) -> list[Column]:
    """Return a bar for each line, side by side, the highest as high as there is room."""
    most = max((line.rows for line in lines), default=0)
    if not most:
        return []
    pitch = min(90.0, (WIDTH - 2 * _LEFT) / len(lines))
    room = HEIGHT - _TOP - _BOTTOM
    every = max(1, -(-46 // int(max(1, pitch))))
    made = []
    for place, line in enumerate(lines):
        height = round(room * line.rows / most, 1)
        made.append(
            Column(
                x=round(_LEFT + place * pitch, 1),
                y=round(HEIGHT - _BOTTOM - height, 1),
                width=round(max(1.0, pitch - min(8.0, pitch / 4)), 1),
                height=height,
                is_tail=line.is_tail,
                words=f"{line.label}: {line.rows:,} rows{', tail' if line.is_tail else ''}",
                label=line.label[5:10] if place % every == 0 else "",
                rows=line.rows,
            )
        )
    return made
