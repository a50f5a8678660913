"""How many queries a margin needs, and what so many can show (evaluation-index-eviction.md, 2.6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

FLIPPED = (0.005, 0.01, 0.02, 0.05)
"""Shares of queries whose hit flips between releases, from a rebuild to a new model."""
MARGINS = (0.0025, 0.005, 0.01, 0.02)
"""Margins of the table, as shares (0.01 is 1 pp)."""


@dataclass(frozen=True, slots=True)
class PowerRow:
    """One cell of the table: `needed` independent queries prove `margin` if `flipped` of them flip.

    Attributes:
        flipped: p_d.
        margin: As a share.
        needed: Queries.
    """

    flipped: float
    margin: float
    needed: int


def needed_queries(
    p_d: float, margin: float, *, alpha: float = 0.05, power: float = 0.9, design_effect: float = 1.0
) -> int:
    """Return how many queries prove a true difference of 0 not to be inferior by a margin.

    n = (z_alpha + z_power)^2 p_d / margin^2, which is 8.56 p_d / margin^2 for alpha .05 and power .9.

    Args:
        p_d: Share of queries whose hit flips, in [0, 1]; for means the mean square of the differences.
        margin: As a share, in (0, 1].
        alpha: One-sided error, in (0, 0.5).
        power: Chance of proving it, in [0.5, 1).
        design_effect: Queries that weigh as one (`Difference.design_effect`), > 0.

    Returns:
        At least 1. Where flips are few, `least_queries` may be more: below it no outcome proves the margin.

    Raises:
        ValueError: An argument is outside its range.

    Example:
        >>> needed_queries(0.01, 0.01), needed_queries(0.02, 0.005)
        (857, 6852)
    """
    _check(p_d=p_d, margin=margin, alpha=alpha, power=power, design_effect=design_effect)
    normal = NormalDist()
    factor = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) ** 2
    return max(1, math.ceil(design_effect * factor * p_d / margin**2 - 1e-9))


def least_queries(margin: float, *, alpha: float = 0.05, design_effect: float = 1.0) -> int:
    """Return below how many queries no outcome proves a margin, not even that nothing flips: 1 - alpha^(1/n) > margin.

    Arguments as `needed_queries`. `needed_queries` is below it where p_d < 0.35 margin.

    Example:
        >>> least_queries(0.01), least_queries(0.02)
        (299, 149)
    """
    _check(p_d=0.0, margin=margin, alpha=alpha, power=0.9, design_effect=design_effect)
    return math.ceil(design_effect * (math.log(alpha) / math.log1p(-margin) if margin < 1 else 1.0) - 1e-9)


def power_of(n: int, p_d: float, margin: float, *, alpha: float = 0.05, design_effect: float = 1.0) -> float:
    """Return the chance in [0, 1] that n queries prove a margin, if the true difference is 0.

    The inverse of `needed_queries`, arguments as there, n >= 0; but 0 below `least_queries`.

    Example:
        >>> round(power_of(857, 0.01, 0.01), 2)
        0.9
    """
    _check(p_d=p_d, margin=margin, alpha=alpha, power=0.9, design_effect=design_effect)
    if n < least_queries(margin, alpha=alpha, design_effect=design_effect):
        return 0.0
    if p_d == 0:
        return 1.0
    normal = NormalDist()
    return normal.cdf(margin * math.sqrt(n / (design_effect * p_d)) - normal.inv_cdf(1 - alpha))


def detectable_margin(
    n: int, p_d: float, *, alpha: float = 0.05, power: float = 0.9, design_effect: float = 1.0
) -> float:
    """Return the smallest margin in (0, 1] that n queries prove with this power, by flips and by `zero_bound`.

    Arguments as `needed_queries`.

    Example:
        >>> round(detectable_margin(857, 0.01), 4), detectable_margin(0, 0.01)
        (0.01, 1.0)
    """
    _check(p_d=p_d, margin=1.0, alpha=alpha, power=power, design_effect=design_effect)
    if n <= 0:
        return 1.0
    normal = NormalDist()
    flipping = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) * math.sqrt(p_d * design_effect / n)
    return min(1.0, max(flipping, zero_bound(n / design_effect, alpha)))


def power_table(
    p_ds: Sequence[float] = FLIPPED,
    margins: Sequence[float] = MARGINS,
    *,
    alpha: float = 0.05,
    power: float = 0.9,
    design_effect: float = 1.0,
) -> tuple[PowerRow, ...]:
    """Return `needed_queries` for each share of flips and each margin, row by row."""
    return tuple(
        PowerRow(p_d, margin, needed_queries(p_d, margin, alpha=alpha, power=power, design_effect=design_effect))
        for p_d in p_ds
        for margin in margins
    )


def zero_bound(n: float, alpha: float = 0.05) -> float:
    """Return the share that is excluded where none of n was found, 1 - alpha^(1/n); 1 for n = 0.

    Args:
        n: Independent trials (or an effective number), >= 0.
        alpha: One-sided, in (0, 1).

    Raises:
        ValueError: An argument is outside its range.

    Example:
        >>> [round(zero_bound(n), 4) for n in (300, 3000, 30000)]
        [0.0099, 0.001, 0.0001]
    """
    if not (n >= 0 and 0 < alpha < 1):
        raise ValueError(f"no bound for 0 of {n} at {alpha}")
    return -math.expm1(math.log(alpha) / n) if n else 1.0


def _check(*, p_d: float, margin: float, alpha: float, power: float, design_effect: float) -> None:
    is_valid = 0 <= p_d <= 1 and 0 < margin <= 1 and 0 < alpha < 0.5 and 0.5 <= power < 1
    if not (is_valid and 0 < design_effect < math.inf):
        raise ValueError(
            f"no sample size for flips {p_d}, margin {margin}, alpha {alpha}, power {power}, design effect"
            f" {design_effect}; flips and margin are shares, alpha is one-sided and below 0.5"
        )
