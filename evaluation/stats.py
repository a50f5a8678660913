"""Confidence intervals of shares."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist


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
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, z2n = successes / n, z * z / n
    middle = (share + z2n / 2) / (1 + z2n)
    half = z / (1 + z2n) * math.sqrt(share * (1 - share) / n + z2n / (4 * n))
    # At 0 and n the bound is 0 or 1 exactly; the formula gives it up to rounding.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return low, high


def effective_clusters(clusters: Sequence[str]) -> float:
    """Return the effective number of independent queries, (sum m)^2 / sum m^2 over cluster sizes m.

    Kish's design effect for queries that are wholly alike within a cluster (one product), the worst case; equal
    to the number of queries if each is its own cluster, and 0 for none. Ignoring clusters understates an
    interval's width about twofold on product data.

    Example:
        >>> effective_clusters(["a", "b", "c"]), effective_clusters(["a", "a", "a"])
        (3.0, 1.0)
    """
    sizes = Counter(clusters).values()
    return sum(sizes) ** 2 / sum(size * size for size in sizes) if sizes else 0.0


def clustered_interval(
    values: Sequence[float], clusters: Sequence[str], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return a conservative interval of the mean of values in [0, 1] that come in clusters.

    Wilson's, with `effective_clusters` for n: no resampling, hence no seed, and never of width zero for a
    handful of perfect queries, as a bootstrap's would be.

    Args:
        values: One for each query, in [0, 1].
        clusters: Its product group.
        confidence: Two-sided, in (0, 1).

    Returns:
        (low, high); (0, 1) without values.
    """
    n = effective_clusters(clusters)
    mean = min(1.0, math.fsum(values) / len(values)) if values else 0.0
    return wilson_interval(mean * n, n, confidence=confidence)
