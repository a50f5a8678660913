"""Geometry of the page's plots, as numbers for inline SVG: intervals by slice, and recall against nprobe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evaluation.measured import Measured
from evaluation.outputs.comparison import SliceRow

WIDTH, HEIGHT = 320, 190
"""Of the curve, in its own units: at 360 px of screen one unit is about one pixel, so that its text can be read."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 10, 8, 30


class Bar(NamedTuple):
    """A mean with its interval on a scale from 0 to 100 % of the plot's width."""

    role: str
    low: float
    value: float
    high: float
    said: str


class Ruler(NamedTuple):
    """The scale that all slices of a metric share: its ends, and ticks as (place in %, label)."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def at(self, value: float) -> float:
        """Return where a value lies, in % of the width."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)


def ruler(rows: Sequence[SliceRow]) -> Ruler:
    """Return a scale of whole tenths that holds every interval."""
    lows = [one.low for row in rows for one in row.systems.values()]
    highs = [one.high for row in rows for one in row.systems.values()]
    low = math.floor(10 * min(lows, default=0.0) + 1e-9) / 10
    high = max(math.ceil(10 * max(highs, default=1.0) - 1e-9) / 10, low + 0.1)
    count = round((high - low) * 10)
    step = next(width for width in (1, 2, 5) if count / width <= 5 or width == 5)
    inside = [round(low + number / 10, 1) for number in range(0, count + 1, step)]
    return Ruler(
        low, high, tuple((round(100 * (tick - low) / (high - low), 2), f"{100 * tick:.0f} %") for tick in inside)
    )


def bars(row: SliceRow, scale: Ruler) -> list[Bar]:
    """Return the systems of a slice on a scale."""
    return [
        Bar(
            role,
            scale.at(one.low),
            scale.at(one.value),
            scale.at(one.high),
            f"{role}: {100 * one.value:.2f} % ({100 * one.low:.2f} to {100 * one.high:.2f})",
        )
        for role, one in row.systems.items()
    ]


class Curve(NamedTuple):
    """A line of the plot: points as `x,y` and as numbers with what they say."""

    role: str
    line: str
    points: tuple[tuple[float, float, str], ...]


class CurvePlot(NamedTuple):
    """Recall of the index against exact search by nprobe: lines, ticks of both axes as (place, label)."""

    curves: tuple[Curve, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]


def curve_plot(systems: Mapping[str, Measured]) -> CurvePlot | None:
    """Lay out the curves of the systems that have one; None where nobody has. nprobe is drawn by its logarithm."""
    told = {role: sorted(one.curve.items()) for role, one in systems.items() if one.curve}
    if not told:
        return None
    probes = sorted({probe for points in told.values() for probe, _ in points})
    least, most = math.log(max(1, probes[0])), math.log(max(1, probes[-1]))
    lowest = min(value for points in told.values() for _, value in points)
    step = 0.1 if lowest >= 0.5 else 0.2
    floor = min(max(round(math.floor(lowest / step + 1e-9) * step, 1), 0.0), 0.9)

    def x(probe: int) -> float:
        share = (math.log(max(1, probe)) - least) / (most - least) if most > least else 0.5
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(_TOP + (1 - (value - floor) / (1 - floor)) * (HEIGHT - _TOP - _BOTTOM), 1)

    curves = []
    for role, points in told.items():
        laid = tuple((x(n), y(value), f"{role}: nprobe {n}, recall {100 * value:.2f} %") for n, value in points)
        curves.append(Curve(role, " ".join(f"{a},{b}" for a, b, _ in laid), laid))
    shown = probes[:: math.ceil(len(probes) / 6)]
    levels = [1 - step * number for number in range(round((1 - floor) / step) + 1)]
    return CurvePlot(
        tuple(curves),
        tuple((x(probe), str(probe)) for probe in shown),
        tuple((y(level), f"{100 * level:.0f} %") for level in levels),
    )
