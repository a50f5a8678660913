"""Tango's interval: his own examples, others' implementations, and the likelihood maximised by scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

from evaluation.tango import tango_bounds

Z95, Z90 = 1.959963984540054, 1.6448536269514722


@pytest.mark.parametrize(
    ("gains", "losses", "n", "z", "low", "high"),
    [
        (9, 3, 32, Z95, -0.027, 0.390),  # Tango 1998, 6.2 (Karacan et al.)
        (1, 7, 21, Z95, -0.517, -0.026),  # Bentur et al. 2009 in Fagerland et al. 2017, table 8.6; R ratesci
        (28, 25, 618, Z90, -0.0148, 0.0247),  # R: PropCIs::scoreci.mp(25, 28, 618)
    ],
)
def test_published_intervals_are_reproduced_to_the_printed_digits(gains, losses, n, z, low, high):
    digits = 4 if n > 100 else 3
    assert tuple(round(bound, digits) for bound in tango_bounds(gains, losses, n, z)) == (low, high)


def score_by_likelihood(difference: float, gains: int, losses: int, n: int) -> float:
    """Tango's statistic with the nuisance share found by maximising the multinomial likelihood."""

    def unlikely(lost: float) -> float:
        gained, kept = lost + difference, 1 - 2 * lost - difference
        parts = ((gains, gained), (losses, lost), (n - gains - losses, kept))
        return -sum(count * math.log(max(share, 1e-300)) for count, share in parts if count)

    span = (max(0.0, -difference), (1 - difference) / 2)
    lost = minimize_scalar(unlikely, bounds=span, method="bounded", options={"xatol": 1e-12}).x
    variance = n * (2 * lost + difference - difference**2)
    return float((gains - losses - n * difference) / math.sqrt(variance))


@settings(max_examples=50)
@given(st.integers(2, 400), st.floats(0, 1), st.floats(0, 1), st.sampled_from([1.0, Z90, Z95, 2.6]))
def test_at_each_bound_the_score_of_the_maximised_likelihood_is_the_quantile(n, churn, split, z):
    flips = round(churn * n)
    gains = round(split * flips)
    losses = flips - gains
    low, high = tango_bounds(gains, losses, n, z)
    assume(low > -0.999 and high < 0.999)
    assert score_by_likelihood(low, gains, losses, n) == pytest.approx(z, abs=2e-3)
    assert score_by_likelihood(high, gains, losses, n) == pytest.approx(-z, abs=2e-3)


@settings(max_examples=50)
@given(st.integers(1, 5000), st.integers(0, 50), st.integers(0, 50))
def test_swapping_the_systems_mirrors_the_interval_and_at_zero_it_is_mcnemars(n, gains, losses):
    assume(gains + losses <= n)
    low, high = tango_bounds(gains, losses, n, Z95)
    assert tango_bounds(losses, gains, n, Z95) == pytest.approx((-high, -low), abs=1e-9)
    assert -1 <= low <= (gains - losses) / n <= high <= 1
    assert high > low
    if gains != losses:  # McNemar's statistic without correction is the score at a difference of 0
        z = abs(gains - losses) / math.sqrt(gains + losses)
        edge = tango_bounds(gains, losses, n, z)[0 if gains > losses else 1]
        assert edge == pytest.approx(0, abs=1e-9)


def test_without_a_flip_the_bound_is_wilsons_of_none():
    for n in (1, 3.5, 1000):
        expected = Z95**2 / (n + Z95**2)
        assert tango_bounds(0, 0, n, Z95) == pytest.approx((-expected, expected), rel=1e-12)


def test_more_confidence_is_wider_and_more_queries_are_narrower():
    widths = [np.subtract(*tango_bounds(5, 9, 200, z)[::-1]) for z in (0, 1, Z90, Z95, 4)]
    assert widths == sorted(widths)
    assert widths[0] == pytest.approx(0, abs=1e-9)
    widths = [np.subtract(*tango_bounds(5 * k, 9 * k, 200 * k, Z95)[::-1]) for k in (1, 2.5, 10, 100)]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("counts", [(-1, 0, 5), (3, 3, 5), (0, 0, 0), (math.nan, 0, 5)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="no score interval"):
        tango_bounds(counts[0], counts[1], counts[2], 1.0)
