"""Scores of daily values against their own past, many series in one pass; and which of many scores to believe.

The method: logarithms, an effect for each weekday (median over the weeks), a local level (median of the last 7 values
without their weekday's effect), and the median absolute one-step-ahead residual as the scale. Medians do not care about
the incidents that a history still holds. Section 3.1 of the ground for issue 6 compares it with nine other methods.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEEK = 7
LEVEL_VALUES = 7
"""Values whose median is the local level: with a week of them each weekday counts once."""
FULL_DAYS = 28
"""Values from which on weekdays have an effect of their own: four of each."""
MIN_SCALE = 0.01
"""Nothing is known better than to 1 %."""
_MAD_TO_SIGMA = 1.4826
"""Of a normal distribution: 1 / the 75 % quantile."""
_BASE = 1000.0
"""Median that series which are no counts are brought to, so that log1p is a logarithm whatever their unit."""
_MAX_LOG = 700.0
"""The greatest logarithm whose number is finite is a little above 709."""

MIN_POOL = 100
"""Residuals needed to say how rare a score is."""
_TAIL_SHARE = 0.1
_NO_SPREAD = 1e-100
"""A mean excess of no more is none: a score divided by it would be no float any more."""
_MIN_TAIL = 20


class Scores(NamedTuple):
    """What is known of each series' value of today; NaN where the history is too short."""

    score: Floats
    """(series,) signed distance from the forecast in robust standard deviations; below 0: too little."""
    expected: Floats
    """(series,) the forecast, in the values' unit."""
    level: Floats
    """(series,) the forecast's logarithm, after bringing the series to its unit."""
    scale: Floats
    """(series,) a standard deviation of that logarithm, >= MIN_SCALE."""
    unit: Floats
    """(series,) what one of the logarithm's argument is worth: value = unit * expm1(logarithm)."""
    days: NDArray[np.int64]
    """(series,) values in the baseline."""
    residuals: Floats
    """(series, days) one-step-ahead residuals of the baseline over `scale`; NaN where there is none."""

    def band(self, score: float) -> tuple[Floats, Floats]:
        """Return the values, each (series,), at which -score and +score are reached."""
        low, high = (np.clip(self.level + sign * score * self.scale, 0, _MAX_LOG) for sign in (-1, 1))
        return self.unit * np.expm1(low), self.unit * np.expm1(high)


def score(values: Floats, today: Floats, *, counts: bool, min_days: int = 14) -> Scores:
    """Score today's value of each series.

    Args:
        values: (series, days), consecutive days in order, the last one yesterday; >= 0; NaN is left out.
        today: (series,) >= 0; NaN gives a NaN score, with a forecast all the same.
        counts: Whether the values count things: then n of them vary by 1/sqrt(n) at least. Series that do not are
            scored alike in any unit.
        min_days: Values below which a series is not scored, > LEVEL_VALUES. Below FULL_DAYS it has no weekdays.
    """
    values = _whole_weeks(np.where(values < 0, np.nan, values))
    days = np.isfinite(values).sum(axis=1)
    unit = np.ones(len(values)) if counts else _unit(values)
    logs = np.log1p(values / unit[:, None])
    effects, effects_of_others = _weekday_effects(logs, days)
    plain, unseen = logs - effects, logs - effects_of_others
    level, residuals = _one_step_ahead(plain, unseen, days)
    enough = days >= max(min_days, LEVEL_VALUES + 1)
    # Today is a week after the first day of the last week.
    level = np.where(enough, np.maximum(level + effects[:, 0], 0), np.nan)
    expected = unit * np.expm1(level)
    floor = np.maximum(MIN_SCALE, 1 / np.sqrt(np.maximum(expected, 1))) if counts else MIN_SCALE
    scale = np.where(enough, np.maximum(_MAD_TO_SIGMA * middle(np.abs(residuals)), floor), np.nan)
    now = np.log1p(np.where(today < 0, np.nan, today) / unit)
    standard = np.where(enough[:, None], residuals / scale[:, None], np.nan)
    return Scores((now - level) / scale, expected, level, scale, unit, days, standard)


def _whole_weeks(values: Floats) -> Floats:
    """Return the values with days of NaN before them, so that each row is weeks and today is a first day of one."""
    missing = -values.shape[1] % WEEK or (WEEK if values.shape[1] == 0 else 0)
    return np.pad(values, ((0, 0), (missing, 0)), constant_values=np.nan)


def _unit(values: Floats) -> Floats:
    usual = middle(values)
    return np.where(np.isfinite(usual) & (usual > 0), usual, 1.0) / _BASE


def middle(values: Floats) -> Floats:
    """Return the median over the last axis without NaN; NaN where all are (np.nanmedian is slow, and warns)."""
    if not values.shape[-1]:
        return np.full(values.shape[:-1], np.nan)
    ordered = np.sort(values, axis=-1)  # NaN goes last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    low, high = (
        np.take_along_axis(ordered, np.maximum(place, 0), axis=-1)[..., 0]
        for place in ((count - 1) // 2, np.minimum(count // 2, values.shape[-1] - 1))
    )
    return np.asarray((low + high) / 2)


def _weekday_effects(logs: Floats, days: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return each weekday's effect (series, 7), and for each day that of the other weeks alone (series, days).

    The second is for residuals: an effect that has seen the day makes it look more usual than it was. Both are 0 for
    series with less than FULL_DAYS values, and the second where a weekday has a single value.
    """
    series, span = logs.shape
    middles = middle(np.lib.stride_tricks.sliding_window_view(logs, WEEK, axis=1))
    around = np.clip(np.arange(span) - WEEK // 2, 0, span - WEEK)
    above = (logs - middles[:, around]).reshape(series, span // WEEK, WEEK).swapaxes(1, 2)
    full = (days >= FULL_DAYS)[:, None]
    effects = np.where(full, np.nan_to_num(middle(above)), 0.0)
    others = np.zeros_like(above)
    for week in range(span // WEEK):
        without = np.delete(above, week, axis=2)
        others[:, :, week] = np.where(full, np.nan_to_num(middle(without)), 0.0)
    return np.tile(effects, span // WEEK), others.swapaxes(1, 2).reshape(series, span)


def _one_step_ahead(plain: Floats, unseen: Floats, days: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the level of today (series,) and what each day was above the level of the values before it.

    Days without a value are skipped, so that a level is always of LEVEL_VALUES values. The returned residuals
    (series, days) are in order, but moved to the end of their rows.
    """
    order = np.argsort(np.isfinite(plain), axis=1, kind="stable")  # NaN first
    plain, unseen = (np.take_along_axis(part, order, axis=1) for part in (plain, unseen))
    levels = middle(np.lib.stride_tricks.sliding_window_view(plain, LEVEL_VALUES, axis=1))
    residuals = np.full_like(plain, np.nan)
    residuals[:, LEVEL_VALUES:] = unseen[:, LEVEL_VALUES:] - levels[:, :-1]
    whole = np.arange(plain.shape[1]) - LEVEL_VALUES >= plain.shape[1] - days[:, None]
    return levels[:, -1], np.where(whole, residuals, np.nan)


def rarity(scores: Floats, pool: Floats) -> Floats:
    """Return p-values: how likely a score as great as each is, judged by a pool of scores that were nothing special.

    Within the pool by counting, with one more on both sides, so that none is 0. Beyond the start of its greatest tenth
    (at least 20 of them) by a generalised Pareto tail fitted to that by probability-weighted moments (Hosking and
    Wallis, Technometrics 29, 1987), never lighter than an exponential one. And nothing is rarer than a normal deviate
    of its size, for a score's scale has a floor that says how well its series can be known at all.

    Args:
        scores: (n,) greater is rarer; NaN gives NaN.
        pool: (m,) NaN is left out. Below MIN_POOL values nothing is rare: all p are 1.
    """
    pool = np.sort(pool[np.isfinite(pool)])
    count = len(pool)
    if count < MIN_POOL:
        return np.where(np.isfinite(scores), 1.0, np.nan)
    tail = max(_MIN_TAIL, int(count * _TAIL_SHARE))
    start = pool[-tail - 1]
    beyond = pool[-tail:] - start
    by_count = (count - np.searchsorted(pool, scores) + 1) / (count + 1)
    by_tail = (tail + 1) / (count + 1) * _pareto(np.maximum(scores - start, 0), beyond)
    found = np.where(scores > start, by_tail, by_count)
    normal = np.array([math.erfc(max(one, 0.0) / math.sqrt(2)) for one in np.nan_to_num(scores)])
    return np.where(np.isfinite(scores), np.clip(found, normal, 1.0), np.nan)


def _pareto(excess: Floats, sample: Floats) -> Floats:
    """Return how likely an excess is exceeded, after a fit to a sorted sample of excesses."""
    count = len(sample)
    mean = float(sample.mean())
    if mean <= _NO_SPREAD:
        return np.where(excess > 0, 0.0, 1.0)
    weighted = float(((1 - (np.arange(1, count + 1) - 0.35) / count) * sample).mean())
    shape = float(np.clip(2 - mean / (mean - 2 * weighted), 0, 0.9)) if mean > 2 * weighted else 0.9
    width = mean * (1 - shape)  # the moment that any shape in [0, 1) leaves to be matched
    if shape < 1e-6:
        return np.asarray(np.exp(-excess / width))
    return np.asarray((1 + shape * excess / width) ** (-1 / shape))


def discoveries(p: Floats, q: float) -> NDArray[np.bool_]:
    """Return which hypotheses Benjamini and Hochberg (JRSS B 57, 1995) reject: of these a share q is false, on average.

    Args:
        p: (n,) NaN is no hypothesis.
        q: Share of false discoveries, in (0, 1).
    """
    tested = np.isfinite(p)
    ordered = np.sort(p[tested])
    passed = np.flatnonzero(ordered <= q * np.arange(1, len(ordered) + 1) / max(len(ordered), 1))
    if not len(passed):
        return np.zeros(len(p), bool)
    return np.asarray(tested & (p <= ordered[passed[-1]]), bool)
