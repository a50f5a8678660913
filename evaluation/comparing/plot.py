"""Values with intervals as dots and lines, in per cent of a scale that all rows of a plot share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.compare import Comparison, PairTest


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with its interval.

    Attributes:
        name: What it is of, e.g. a system.
        colour: Number of its colour, from 0.
        text: The value, written out.
        span: The interval, written out.
        at: Place of the value in per cent of the scale, in [0, 100].
        start: Of the lower end.
        end: Of the upper end.
        note: Written behind the value, e.g. p.
    """

    name: str
    colour: int
    text: str
    span: str
    at: float
    start: float
    end: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale.

    Attributes:
        low: Its left end.
        high: Its right end, > low.
        ticks: (place in per cent, text) of each tick.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def at(self, value: float) -> float:
        """Return a value's place in per cent, at an end for one beyond it; the middle for NaN."""
        if math.isnan(value):
            return 50.0
        return round(min(100.0, max(0.0, 100 * (value - self.low) / (self.high - self.low))), 3)


@dataclass(frozen=True, slots=True)
class Plot:
    """Rows of dots over one scale.

    Attributes:
        scale: What all rows share.
        rows: (heading, dots) of each row.
        zero: Place of zero, for differences; None elsewhere.
    """

    scale: Scale
    rows: tuple[tuple[str, tuple[Dot, ...]], ...]
    zero: float | None = None


def scale_of(values: Sequence[float], low: float, high: float, *, points: bool = False) -> Scale:
    """Return a scale with round ticks that holds all values.

    Args:
        values: To be shown; NaN is left out.
        low: The scale never begins below.
        high: Nor ends above.
        points: Write ticks in percentage points.
    """
    known = [value for value in values if not math.isnan(value)] or [low, high]
    first, last = max(low, min(known)), min(high, max(known))
    step = next(step for step in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1) if last - first <= 5 * step)
    begin, end = math.floor(first / step + 1e-9), math.ceil(last / step - 1e-9)
    begin, end = max(begin, math.floor(low / step)), max(end, begin + 1)
    places = [begin + number for number in range(end - begin + 1)]
    factor, sign = (100, "+") if points else (1, "")
    digits = max(0, -math.floor(math.log10(step * factor) + 1e-9))
    texts = [f"{place * step * factor + 0.0:{sign if place else ''}.{digits}f}" for place in places]
    ticks = tuple((100 * (place - begin) / (end - begin), text) for place, text in zip(places, texts, strict=True))
    return Scale(begin * step, end * step, ticks)


def metrics_plot(found: Comparison) -> Plot:
    """Return the tested metrics of every system."""
    rows = [(metric, [(number, side, side.metrics[metric]) for number, side in enumerate(found.systems)])
            for metric in found.tested]  # fmt: skip
    scale = scale_of([end for _, dots in rows for _, _, one in dots for end in (one.low, one.high)], 0.0, 1.0)
    return Plot(
        scale,
        tuple(
            (
                metric,
                tuple(
                    Dot(
                        name=side.name,
                        colour=number,
                        text=f"{one.value:.3f}",
                        span=f"{one.low:.3f} to {one.high:.3f}",
                        at=scale.at(one.value),
                        start=scale.at(one.low),
                        end=scale.at(one.high),
                    )
                    for number, side, one in dots
                ),
            )
            for metric, dots in rows
        ),
    )


def differences_plot(tests: Sequence[PairTest], headings: Sequence[str]) -> Plot:
    """Return differences of pairs.

    Args:
        tests: To be shown; rows follow each other in this order, those of one heading in one row.
        headings: One for each test.
    """
    ends = [abs(end) for one in tests for end in (one.low, one.high) if not math.isnan(end)]
    reach = scale_of([0.0, max(ends, default=1.0)], 0.0, 1.0).high
    scale = scale_of([-reach, reach], -1.0, 1.0, points=True)
    rows: dict[str, list[Dot]] = {}
    for one, heading in zip(tests, headings, strict=True):
        rows.setdefault(heading, []).append(
            Dot(
                name=f"{one.first} less {one.second}",
                colour=-1,
                text=f"{100 * one.value:+.2f} pp",
                span=f"{100 * one.low:+.2f} to {100 * one.high:+.2f}",
                at=scale.at(one.value),
                start=scale.at(one.low),
                end=scale.at(one.high),
                note=f"p {p_text(one.p_value)}, corrected {p_text(one.p_holm)}; {one.won:,} won, {one.lost:,} lost",
            )
        )
    return Plot(scale, tuple((heading, tuple(dots)) for heading, dots in rows.items()), zero=scale.at(0.0))


def p_text(p: float) -> str:
    """Write a p value with two digits.

    Example:
        >>> p_text(0.04321), p_text(0.00009999), p_text(1.0)
        ('0.043', '0.0001', '1')
    """
    return f"{p:.2g}"
