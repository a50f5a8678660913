"""The trend as a page of its own: no network, light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from evaluation.history import Judged, brief, figure
from reporting.text_file import replace_text

HEIGHT = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 24, 14, 34
_STEP = 34
"""Pixels from verdict to verdict: a dot of ten, and a day's name under every third."""


class Mark(NamedTuple):
    """A verdict's dot, and its bar where there is an interval."""

    x: float
    y: float
    low: float | None
    high: float | None
    outcome: str
    said: str


class Plot(NamedTuple):
    """Everything in pixels."""

    width: int
    height: int
    ticks: tuple[tuple[float, str], ...]
    days: tuple[tuple[float, str], ...]
    marks: tuple[Mark, ...]
    path: str


def plot_of(points: Sequence[Judged]) -> Plot:
    """Lay verdicts out from left to right, each as wide as the next; those without the metric have no dot."""
    known = [value for point in points for value in (point.value, point.low, point.high) if value is not None]
    low = math.floor(10 * min(known, default=0.0)) / 10
    high = max(math.ceil(10 * max(known, default=1.0)) / 10, low + 0.1)
    width = max(320, _LEFT + _RIGHT + _STEP * max(1, len(points) - 1))

    def down(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    def along(place: int) -> float:
        return round(_LEFT + place * (width - _LEFT - _RIGHT) / max(1, len(points) - 1), 1)

    marks = tuple(
        Mark(
            along(place),
            down(point.value),
            None if point.low is None else down(point.low),
            None if point.high is None else down(point.high),
            point.outcome,
            f"{point.date} {point.planid}: {figure(point.value)} {point.outcome}",
        )
        for place, point in enumerate(points)
        if point.value is not None
    )
    count = round((high - low) * 10)
    ticks = [low + (high - low) * step / min(count, 5) for step in range(min(count, 5) + 1)]
    named = range(0, len(points), max(1, math.ceil(len(points) * 60 / width)))
    return Plot(
        width,
        HEIGHT,
        tuple((down(tick), f"{tick:.2f}" if high < 100 else f"{tick:.0f}") for tick in ticks),
        tuple((along(place), f"{points[place].date:%m-%d}") for place in named),
        marks,
        " ".join(f"{mark.x},{mark.y}" for mark in marks),
    )


def write_page(points: Sequence[Judged], metric: str, path: Path) -> None:
    """Write the page; an existing file is replaced as a whole.

    Args:
        points: At least one.
        metric: What they show.
        path: Where to.

    Raises:
        StoreError: The disk refuses.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent / "templates")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("history.html.j2")
    text = page.render(points=points, metric=metric, plot=plot_of(points), brief=brief, figure=figure)
    replace_text(path, text, "name another file by --plot")
