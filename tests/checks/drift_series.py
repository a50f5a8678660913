"""A second, slow way to the drift score, and daily series with the troubles that the ground for the checks names."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Plain(NamedTuple):
    """What the plain way finds of one series."""

    score: float
    expected: float
    scale: float
    residuals: list[float]


def plain_score(values: Sequence[float], today: float, *, counts: bool, min_days: int = 14) -> Plain:
    """Score one series value by value, with lists and statistics.median: as the method is told, not as it is coded."""
    span = len(values)
    known = [n for n in range(span) if math.isfinite(values[n])]
    unit = 1.0
    if not counts:
        middle = statistics.median(values[n] for n in known) if known else 0
        unit = (middle if middle > 0 else 1.0) / 1000
    y = {n: math.log1p(values[n] / unit) for n in known}
    # The calendar ends yesterday; shorter histories than whole weeks have nothing before their first day.
    first = -(-span % 7 or (7 if span == 0 else 0))

    def around(n: int) -> float:
        start = min(max(n - 3, first), span - 7)
        return statistics.median(y[m] for m in range(start, start + 7) if m in y)

    above = {n: y[n] - around(n) for n in known}

    def effect(weekday: int, without: int | None = None) -> float:
        days = [above[n] for n in known if (n - span) % 7 == weekday % 7 and n != without]
        return statistics.median(days) if days and len(known) >= 28 else 0.0

    plain = [y[n] - effect(n - span) for n in known]
    unseen = [y[n] - effect(n - span, n) for n in known]
    residuals = [unseen[i] - statistics.median(plain[i - 7 : i]) for i in range(7, len(known))]
    if len(known) < max(min_days, 8):
        return Plain(math.nan, math.nan, math.nan, [])
    level = max(statistics.median(plain[-7:]) + effect(0), 0.0)
    expected = unit * math.expm1(level)
    floor = max(0.01, 1 / math.sqrt(max(expected, 1))) if counts else 0.01
    scale = max(1.4826 * statistics.median(map(abs, residuals)), floor)
    score = (math.log1p(today / unit) - level) / scale if math.isfinite(today) else math.nan
    return Plain(score, expected, scale, [one / scale for one in residuals])


class Series(NamedTuple):
    """Days of many series, and whether something was done to the last one."""

    values: Floats
    """(series, days), the last day is judged."""
    faulty: NDArray[np.bool_]


FAULTS = (0, 0.4, 0.6, 0.75, 1.3, 1.6, 2)
"""What the faulty days are multiplied by."""


def daily_counts(series: int, contaminated: float, seed: int, days: int = 99) -> Series:
    """Draw the daily counts of section 3.1 of the ground: half of them end in a faulty day.

    Base 10^2 to 10^7, weekends 0.5 to 1.1 times that, a trend, Student-t noise of 0.5 % to 16 %, Poisson; 30 % of the
    series shift their level in the last 20 to 80 days, and a share `contaminated` of the history is past incidents.
    """
    chance = np.random.default_rng(seed)
    column = (series, 1)
    base = 10 ** chance.uniform(2, 7, column)
    weekend = np.where((np.arange(days) - chance.integers(0, 7, column)) % 7 < 2, chance.uniform(0.5, 1.1, column), 1.0)
    trend = np.exp(chance.normal(0, 0.002, column) * (np.arange(days) - days))
    noise = np.exp(10 ** chance.uniform(-2.3, -0.8, column) * chance.standard_t(4, (series, days)))
    shifted = (chance.random(column) < 0.3) & (np.arange(days) >= days - chance.integers(20, 80, column))
    shift = np.where(shifted, chance.uniform(0.5, 2, column), 1.0)
    past = np.where(chance.random((series, days)) < contaminated, chance.choice(FAULTS, (series, days)), 1.0)
    past[:, -1] = 1
    faulty = np.arange(series) % 2 == 0
    past[faulty, -1] = chance.choice(FAULTS, int(faulty.sum()))
    return Series(chance.poisson(base * weekend * trend * noise * shift * past).astype(float), faulty)


def fourteen_day_z(values: Floats) -> Floats:
    """Score the last day by mean and standard deviation of the 14 before it: Elementary's default."""
    return _z(values[:, -15:-1], values[:, -1])


def same_weekday_z(values: Floats) -> Floats:
    """Score the last day by mean and standard deviation of the same weekday in the 14 weeks before it."""
    return _z(values[:, -1 - 14 * 7 : -1 : 7], values[:, -1])


def _z(past: Floats, today: Floats) -> Floats:
    return np.asarray((today - past.mean(axis=1)) / np.maximum(past.std(axis=1, ddof=1), 1e-9))


def area_under_curve(scores: Floats, faulty: NDArray[np.bool_]) -> float:
    """Return how often a faulty day scores above a clean one, ties as half."""
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable") + 1.0
    values, inverse = np.unique(scores, return_inverse=True)
    ranks = (np.bincount(inverse, ranks) / np.bincount(inverse))[inverse] if len(values) < len(scores) else ranks
    n = int(faulty.sum())
    return float((ranks[faulty].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


def recall_at(scores: Floats, faulty: NDArray[np.bool_], false_rate: float) -> float:
    """Return the share of faulty days above the threshold that `false_rate` of the clean ones exceed."""
    return float((scores[faulty] > np.quantile(scores[~faulty], 1 - false_rate)).mean())
