"""A metric over the gate's verdicts as an SVG: everything in pixels, worked out here. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date as Date
from typing import Final, NamedTuple

from dashboards.page.cards import RuleCard, VerdictCard

WIDTH: Final = 480
HEIGHT: Final = 210
LEFT, RIGHT = 58, 14
"""Margins in pixels; ticks are written left of the first."""
_TOP, _BOTTOM = 12, 30
_NAMED: Final = 60
"""Pixels that the name of a day takes."""
_STEPS: Final = (1, 2, 2.5, 5, 10)


class Point(NamedTuple):
    """One verdict's measure of one metric."""

    verdict_id: str
    date: Date
    planid: str
    outcome: str
    value: float
    low: float | None
    high: float | None
    """Bounds where a rule over all queries gave an interval."""


class Mark(NamedTuple):
    """A point in pixels; y of the bounds None where there is no interval."""

    x: float
    y: float
    low: float | None
    high: float | None
    point: Point


class Trend(NamedTuple):
    """One metric, ready to be drawn."""

    metric: str
    points: tuple[Point, ...]
    floor: float | None
    """What the latest verdict asks of it over all queries; None: no rule names it so."""
    marks: tuple[Mark, ...]
    path: str
    ticks: tuple[tuple[float, str], ...]
    days: tuple[tuple[float, str], ...]
    floor_y: float | None


def trends(verdicts: Sequence[VerdictCard]) -> list[Trend]:
    """Return a plot for each metric that any verdict holds: those with intervals first, then by name."""
    names = sorted({name for one in verdicts for name in one.metrics})
    found = [_trend(name, verdicts) for name in names]
    return sorted(found, key=lambda one: all(point.low is None for point in one.points))


def overall(rules: Sequence[RuleCard], metric: str) -> Iterator[RuleCard]:
    """Yield the rules on a metric's own value over all queries."""
    return (rule for rule in rules if rule.metric == metric and rule.slice == "all" and rule.vs is None)


def _trend(metric: str, verdicts: Sequence[VerdictCard]) -> Trend:
    points = tuple(_point(one, metric) for one in verdicts if metric in one.metrics)
    latest = next((one for one in reversed(verdicts) if metric in one.metrics), None)
    rules = [] if latest is None else [rule for rule in overall(latest.rules, metric) if rule.limit is not None]
    floor = rules[0].limit if rules else None
    known = [value for one in points for value in (one.value, one.low, one.high) if value is not None]
    ticks = _ticks([*known, floor] if floor is not None else known)
    low, high = ticks[0], ticks[-1]

    def down(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    def along(place: int) -> float:
        if len(points) == 1:
            return (LEFT + WIDTH - RIGHT) / 2
        return round(LEFT + 10 + place * (WIDTH - LEFT - RIGHT - 20) / (len(points) - 1), 1)

    marks = tuple(
        Mark(
            along(place),
            down(one.value),
            None if one.low is None else down(one.low),
            None if one.high is None else down(one.high),
            one,
        )
        for place, one in enumerate(points)
    )
    every = max(1, math.ceil(len(points) * _NAMED / (WIDTH - LEFT - RIGHT)))
    return Trend(
        metric,
        points,
        floor,
        marks,
        " ".join(f"{mark.x},{mark.y}" for mark in marks),
        tuple((down(tick), f"{tick:.4g}") for tick in ticks),
        tuple((along(place), f"{points[place].date:%m-%d}") for place in range(0, len(points), every)),
        None if floor is None else down(floor),
    )


def _point(verdict: VerdictCard, metric: str) -> Point:
    bounds = next(((one.low, one.high) for one in overall(verdict.rules, metric) if one.low is not None), (None, None))
    value = verdict.metrics[metric]
    return Point(verdict.verdict_id, verdict.date, verdict.planid, verdict.outcome, value, *bounds)


def _ticks(values: Sequence[float]) -> list[float]:
    """Return 3 to 7 round numbers, rising, that hold all values between them.

    Example:
        >>> _ticks([0.46, 0.81])
        [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = _around(low)
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in _STEPS if power * nice >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * number, 12) for number in range(first, last + 1)]


def _around(value: float) -> tuple[float, float]:
    """Return bounds for a value that never changes; those of a share stay within 0 and 1.

    Example:
        >>> _around(1.0), _around(200.0)
        ((0.9, 1.0), (190.0, 210.0))
    """
    if 0 <= value <= 1:
        low = min(max(value - 0.05, 0.0), 0.9)
        return low, low + 0.1
    return value - 0.05 * abs(value), value + 0.05 * abs(value)
