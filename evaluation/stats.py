"""Confidence intervals of shares and means over queries that come in clusters. No resampling, hence no seed.

A share of n queries with a design effect of d is as sure as one of n/d independent queries, so its interval is
Wilson's for n/d and Student's t for the normal quantile; a mean of values in [0, 1] is handled alike, its design effect
holding how much less its values vary than those of a share (clusters.py says how the effect is measured).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from evaluation.clusters import CAUTION, CAUTION_OF_CHANGE, NOTHING, Clusters, Values, checked, codes_of, spread_of
from evaluation.student import t_quantile
from evaluation.tango import tango_bounds
from reporting.errors import DataError


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and where it lies.

    Attributes:
        value: The observed mean; NaN for nothing, which is no zero.
        low: Lower bound.
        high: Upper bound.
        n: Queries.
        clusters: Products among them.
        design_effect: Queries that weigh as one independent query of a share; below 1 for means that vary less.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int
    design_effect: float = 1.0


def wilson_interval(successes: float, n: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a share (Wilson 1927, without continuity correction).

    Args:
        successes: In [0, n]; not whole for means of values in [0, 1], whose variance is at most that of a
            share with the same mean, so that the interval is then too wide rather than too narrow.
        n: Trials, >= 0; not whole for an effective number.
        confidence: Two-sided, in (0, 1).

    Returns:
        (low, high) within [0, 1]; (0, 1) for n = 0, which says nothing.

    Raises:
        ValueError: Successes are outside [0, n] or the confidence is outside (0, 1).

    Example:
        >>> [round(wilson_interval(s, n)[0], 3) for s, n in ((48, 50), (190, 200), (950, 1000))]
        [0.865, 0.91, 0.935]
    """
    if not 0 <= successes <= n or not 0 < confidence < 1:
        raise ValueError(f"no interval for {successes} of {n} at confidence {confidence}")
    return _wilson(successes, n, NormalDist().inv_cdf(0.5 + confidence / 2)) if n else (0.0, 1.0)


def mean_interval(
    values: Values,
    clusters: Clusters,
    *,
    alpha_two_sided: float = 0.05,
    share: bool,
) -> Interval:
    """Return the mean of one value a query with an interval that knows of clusters.

    Args:
        values: (n,), in [0, 1]; a loss between two views may lie in [-1, 1] (then by `signed_interval`).
        clusters: (n,), the product of each query.
        alpha_two_sided: Error of both sides together, in (0, 1); a floor at one-sided alpha passes 2 alpha.
        share: Whether values are 0 or 1 only. If so, and each query is its own cluster, this is Wilson's interval.

    Returns:
        Never of width zero: all values equal among n queries give what Wilson gives for the effective number of
        clusters. Value NaN and bounds (0, 1) for nothing.

    Raises:
        DataError: A value is NaN or outside its range, or there is not one cluster for each.

    Example:
        >>> one = mean_interval([1.0] * 12, list("aaaabbbbcccc"), share=True)
        >>> round(one.low, 3), one.high, one.clusters
        (0.439, 1.0, 3)
    """
    _check_alpha(alpha_two_sided)
    checked_values = checked(values, "values", -1.0, 1.0)
    codes = codes_of(clusters, len(checked_values))
    if share:
        _check_share(np.abs(checked_values), "values")
    if not len(checked_values):
        return Interval(math.nan, 0.0, 1.0, 0, 0)
    if checked_values.min() < 0:
        return _signed(checked_values, codes, alpha_two_sided / 2, share)
    spread = spread_of(checked_values, codes, checked_values < 1 - NOTHING, checked_values > NOTHING)
    mean = min(1.0, max(0.0, spread.mean))
    if share and spread.clusters == spread.n:
        effect, quantile = _independent(1 - alpha_two_sided / 2)
    else:
        effect = spread.design_effect(mean * (1 - mean), min(mean, 1 - mean), CAUTION)
        quantile = t_quantile(1 - alpha_two_sided / 2, spread.df)
    n = spread.n / effect
    low, high = _wilson(min(n, mean * n), n, quantile)
    return Interval(mean, min(low, mean), max(high, mean), spread.n, spread.clusters, effect)


def signed_interval(
    values: Values,
    clusters: Clusters,
    *,
    alpha: float,
    share: bool,
) -> Interval:
    """Return the mean of differences in [-1, 1], each bound at one-sided alpha.

    Tango's score interval for counts over the design effect; for differences of means the sums of gains and of
    losses take the place of counts, whose variance is at least theirs, and the effect corrects for it.

    Args:
        values: (n,), in [-1, 1].
        clusters: (n,).
        alpha: One-sided, in (0, 0.5).
        share: Whether values are -1, 0 or 1 only.

    Returns:
        Value NaN and bounds (-1, 1) for nothing. Where no value differs from 0 the bounds are the wider of Tango's
        and the exact 1 - alpha^(1/n) for the effective number of clusters.

    Raises:
        DataError: As `mean_interval`.
    """
    _check_alpha(2 * alpha)
    checked_values = checked(values, "differences", -1.0, 1.0)
    codes = codes_of(clusters, len(checked_values))
    if share:
        _check_share(np.abs(checked_values), "differences")
    return _signed(checked_values, codes, alpha, share)


def effective_clusters(clusters: Sequence[str]) -> float:
    """Return the effective number of independent queries, (sum m)^2 / sum m^2 over cluster sizes m.

    Kish's design effect for queries that are wholly alike within a cluster (one product), the worst case; equal
    to the number of queries if each is its own cluster, and 0 for none.

    Example:
        >>> effective_clusters(["a", "b", "c"]), effective_clusters(["a", "a", "a"])
        (3.0, 1.0)
    """
    sizes = Counter(clusters).values()
    return sum(sizes) ** 2 / sum(size * size for size in sizes) if sizes else 0.0


def clustered_interval(
    values: Sequence[float], clusters: Sequence[str], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return (low, high) of `mean_interval` for values in [0, 1]; (0, 1) without values."""
    one = mean_interval(values, clusters, alpha_two_sided=1 - confidence, share=False)
    return one.low, one.high


def _signed(values: NDArray[np.float64], codes: NDArray[np.int64], alpha: float, share: bool) -> Interval:
    if not len(values):
        return Interval(math.nan, -1.0, 1.0, 0, 0)
    spread = spread_of(values, codes, np.abs(values) > NOTHING)
    gains, losses = float(values[values > 0].sum()), float(-values[values < 0].sum())
    if share and spread.clusters == spread.n:
        effect, quantile = _independent(1 - alpha)
    else:
        moved = min(1.0, (gains + losses) / spread.n)
        effect = spread.design_effect(moved - spread.mean**2, moved, CAUTION_OF_CHANGE)
        quantile = t_quantile(1 - alpha, spread.df)
    n = spread.n / effect
    low, high = tango_bounds(gains / effect, losses / effect, n, quantile)
    if gains + losses == 0:
        exact = -math.expm1(math.log(alpha) / n)
        low, high = min(low, -exact), max(high, exact)
    return Interval(spread.mean, min(low, spread.mean), max(high, spread.mean), spread.n, spread.clusters, effect)


def _independent(p: float) -> tuple[float, float]:
    """Return the design effect and quantile p of a share of independent queries.

    Its variance follows from its mean: nothing is estimated that Student's t would have to allow for.
    """
    return 1.0, NormalDist().inv_cdf(p)


def _wilson(successes: float, n: float, z: float) -> tuple[float, float]:
    share, z2n = successes / n, z * z / n
    middle = (share + z2n / 2) / (1 + z2n)
    half = z / (1 + z2n) * math.sqrt(max(share * (1 - share), 0.0) / n + z2n / (4 * n))
    # At 0 and n the bound is 0 or 1 exactly; the formula gives it up to rounding.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return low, high


def _check_alpha(two_sided: float) -> None:
    if not 0 < two_sided < 1:
        raise ValueError(f"no interval with an error of {two_sided} on both sides together; expected within (0, 1)")


def _check_share(values: NDArray[np.float64], what: str) -> None:
    bad = np.flatnonzero((values != 0.0) & (values != 1.0))
    if len(bad):
        raise DataError(f"{what}: {values[bad[0]]} at row {bad[0]} is no yes or no; pass share=False for a mean")
