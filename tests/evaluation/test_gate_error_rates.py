"""The table of evaluation-index-eviction.md 2.6: how often three rules stop a release, by size, churn and true loss.

Exact for our rule: the intervals of queries of different products depend on gains and losses only, so that their
probabilities are summed instead of drawn. The reference's own figures were drawn, so they are met up to its noise.
"""

from __future__ import annotations

import math

import pytest
from scipy.stats import binom, norm  # type: ignore[import-untyped]

from evaluation.noninferiority import difference_interval
from evaluation.tango import tango_bounds

Z95 = float(norm.ppf(0.95))
MARGIN = 0.01
# (queries, churn) -> for a true difference of 0, -0.5, -1, -2 pp: % stopped by (a point drop above 0.5 pp,
# significantly worse, not proven non-inferior at 1 pp).
PUBLISHED = {
    (1000, 0.04): ((19, 5, 51), (46, 18, 81), (73, 40, 95), (98, 83, 100)),
    (5000, 0.04): ((3, 4, 3), (49, 51, 49), (94, 94, 95), (100, 100, 100)),
    (20000, 0.01): ((0, 6, 0), (50, 100, 0), (100, 100, 95), (100, 100, 100)),
}
TRUTHS = (0.0, -0.005, -0.01, -0.02)
# Two standard errors of a rate near one half over a thousand draws, and half a digit of print.
TOLERANCE = 2 * math.sqrt(0.25 / 1000) + 0.005


def is_proven(gains: int, losses: int, n: int) -> bool:
    """Our rule: the lower bound of the difference is above minus the margin."""
    low = tango_bounds(gains, losses, n, Z95)[0]
    return (min(low, 0.05 ** (1 / n) - 1) if gains + losses == 0 else low) > -MARGIN


def first_that(holds, last: int) -> int:
    """The least gains in [0, last] for which a rule that gains only favour holds; last + 1 if for none."""
    low, high = 0, last + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def stopped(n: int, churn: float, truth: float) -> tuple[float, float, float]:
    """How often each rule stops a candidate, summed over flips and over how many of them are gains.

    Churn flips queries either way alike; the true loss comes on top of it, which is what gives the printed figures.
    """
    up, churn = churn / 2 / (churn - truth), churn - truth
    span = 4.5 * math.sqrt(n * churn)
    rates = [0.0, 0.0, 0.0]
    for flips in range(max(0, int(n * churn - span)), int(n * churn + span) + 1):
        passes = (
            lambda gains, flips=flips: flips - 2 * gains <= 0.005 * n,
            lambda gains, flips=flips: flips - 2 * gains <= Z95 * math.sqrt(flips),  # McNemar, one-sided
            lambda gains, flips=flips: is_proven(gains, flips - gains, n),
        )
        for at, rule in enumerate(passes):
            rates[at] += float(binom.pmf(flips, n, churn) * binom.cdf(first_that(rule, flips) - 1, flips, up))
    return rates[0], rates[1], rates[2]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "churn"), PUBLISHED)
def test_the_published_fail_rates_of_three_rules_are_reproduced_within_monte_carlo_error(n, churn):
    for truth, published in zip(TRUTHS, PUBLISHED[(n, churn)], strict=True):
        found = stopped(n, churn, truth)
        for rule, rate, percent in zip(("drop", "worse", "not proven"), found, published, strict=True):
            assert rate == pytest.approx(percent / 100, abs=TOLERANCE), (rule, truth)


@pytest.mark.slow
def test_significance_lets_real_losses_through_and_blocks_harmless_ones_where_non_inferiority_does_neither():
    _, worse, unproven = stopped(1000, 0.04, -0.02)
    assert 1 - worse > 0.1  # a loss of 2 pp passes for want of queries
    assert unproven > 0.99
    _, worse, unproven = stopped(20000, 0.01, -0.005)
    assert worse > 0.999  # a loss within the margin is blocked since there are many queries
    assert unproven < 0.001
    for n, churn in PUBLISHED:  # at just the margin the rule passes 5 %, whatever the size
        assert stopped(n, churn, -MARGIN)[2] == pytest.approx(0.95, abs=0.012)
    assert pytest.approx(0.46, abs=0.005) == 1 - 0.95**12  # 12 slices of tests that are not union-intersection


def test_the_summed_rule_is_that_of_the_gate():
    for n, gains, losses in (
        (1000, 20, 22),
        (1000, 0, 4),
        (400, 0, 0),
        (300, 0, 0),
        (299, 0, 0),
        (298, 0, 0),
        (900, 9, 5),
    ):
        new = [1.0] * gains + [0.0] * (n - gains)
        old = [0.0] * gains + [1.0] * losses + [0.0] * (n - gains - losses)
        gate = difference_interval(new, old, range(n), alpha=0.05, share=True)
        assert (gate.low > -MARGIN) == is_proven(gains, losses, n)
