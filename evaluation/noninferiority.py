"""Is the candidate not worse than a baseline by more than a margin? The one comparison that a release needs.

Significance answers another question: with few queries a real loss is not significant, with many a harmless one is
(evaluation-index-eviction.md, findings 10 and 2.6; tests/evaluation/test_gate_error_rates.py has its table).
"""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.clusters import Clusters, Values, checked, codes_of
from evaluation.stats import signed_interval
from reporting.errors import DataError


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate less baseline over the same queries.

    Attributes:
        value: Mean difference in [-1, 1]; NaN for nothing.
        low: Lower bound; the candidate is not inferior by a margin where low > -margin.
        high: Upper bound; it is inferior where high < -margin. Between the two the data do not tell.
        n: Queries.
        clusters: Products among them.
        flipped: p_d, share of queries whose value differs; 0 for nothing.
        design_effect: Queries that weigh as one independent query of a share (see `Interval`).
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int
    flipped: float
    design_effect: float = 1.0


def difference_interval(
    candidate: Values,
    baseline: Values,
    clusters: Clusters,
    *,
    alpha: float,
    share: bool,
    identical: bool = False,
) -> Difference:
    """Return the mean difference with bounds of a one-sided error of alpha each (two-sided 1 - 2 alpha).

    Args:
        candidate: (n,), a value a query in [0, 1].
        baseline: (n,), of the same queries in the same order.
        clusters: (n,), the product of each.
        alpha: One-sided, in (0, 0.5).
        share: Whether all values are 0 or 1.
        identical: The two gave the same ranked lists for every query, so that there is nothing to be unsure of.

    Returns:
        Exactly (0, 0, 0) if identical; else never of width zero, also where nothing flipped. Bounds (-1, 1) for
        nothing.

    Raises:
        DataError: Lengths differ, a value is NaN or outside [0, 1], or identical lists have different values.

    Example:
        >>> one = difference_interval([1.0] * 300, [1.0] * 300, [str(q) for q in range(300)], alpha=0.05, share=True)
        >>> one.value, round(one.low, 4), round(one.high, 4), one.flipped
        (0.0, -0.0099, 0.0099, 0.0)
    """
    new, old = checked(candidate, "candidate", 0.0, 1.0), checked(baseline, "baseline", 0.0, 1.0)
    if len(new) != len(old):
        raise DataError(f"{len(new)} queries of the candidate against {len(old)} of the baseline; expected the same")
    flips = new != old
    if identical:
        if flips.any():
            raise DataError(f"identical lists differ in {int(flips.sum())} of {len(new)} values; measure both anew")
        codes = codes_of(clusters, len(new))
        return Difference(0.0, 0.0, 0.0, len(new), len(set(codes.tolist())), 0.0)
    one = signed_interval(new - old, clusters, alpha=alpha, share=share)
    flipped = float(flips.mean()) if len(new) else 0.0
    return Difference(one.value, one.low, one.high, one.n, one.clusters, flipped, one.design_effect)
