"""The score interval of a difference of paired shares (Tango 1998): never of width zero, however few the flips."""

from __future__ import annotations

import math
from collections.abc import Callable

HALVINGS = 60
"""Of [-1, 1], down to the last bit of a double."""


def tango_bounds(gains: float, losses: float, n: float, z: float) -> tuple[float, float]:
    """Return the bounds of (gains - losses) / n at which the score test is just not rejected.

    T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design, Statistics in Medicine 17 (1998), 891-908.

    Args:
        gains: Queries that only the first got right; need not be whole (an effective number).
        losses: Queries that only the second got right.
        n: All queries, > 0, >= gains + losses.
        z: Quantile for one side, >= 0: 1.645 gives 90 % between the bounds and 95 % beyond each.

    Returns:
        (low, high) in [-1, 1]; (-z^2/(n+z^2), z^2/(n+z^2)) without a flip.

    Raises:
        ValueError: The counts are negative or exceed n.

    Example:
        >>> [round(bound, 3) for bound in tango_bounds(9, 3, 32, 1.959964)]
        [-0.027, 0.39]
    """
    if not (gains >= 0 and losses >= 0 and z >= 0 and 0 < n < math.inf and gains + losses <= n * (1 + 1e-9)):
        raise ValueError(f"no score interval for {gains} gains and {losses} losses of {n} at {z}")
    observed = (gains - losses) / n

    def score(difference: float) -> float:
        return _score(difference, gains, losses, n)

    low = _edge(-1.0, observed, lambda at: score(at) >= z)
    high = _edge(1.0, observed, lambda at: score(at) <= -z)
    return low, high


def _edge(outside: float, inside: float, is_rejected: Callable[[float], bool]) -> float:
    """Return where rejection ends between a difference that is rejected, if any is, and one that is not."""
    for _ in range(HALVINGS):
        middle = (outside + inside) / 2
        if is_rejected(middle):
            outside = middle
        else:
            inside = middle
    return inside


def _score(difference: float, gains: float, losses: float, n: float) -> float:
    """Return the score statistic, its variance at the likeliest shares of flips that have this difference."""
    b = (2 * n - gains + losses) * difference - gains - losses
    c = -losses * difference * (1 - difference)
    flips = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * flips + difference * (1 - difference))
    distance = gains - losses - n * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)
