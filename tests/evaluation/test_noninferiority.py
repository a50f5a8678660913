"""Differences of two systems over the same queries: published intervals, scipy's t and bootstrap, and invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, ttest_rel  # type: ignore[import-untyped]

from evaluation.noninferiority import difference_interval
from evaluation.tango import tango_bounds
from reporting.errors import DataError

Z95 = 1.6448536269514722


@settings(max_examples=50)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 400))
def test_hits_of_different_products_have_tangos_interval_with_each_bound_at_alpha(gains, losses, same):
    n = gains + losses + same
    new = [1.0] * gains + [0.0] * losses + [1.0] * same
    old = [0.0] * gains + [1.0] * losses + [1.0] * same
    one = difference_interval(new, old, range(n), alpha=0.05, share=True)
    low, high = tango_bounds(gains, losses, n, Z95)
    if gains + losses:
        assert (one.low, one.high) == pytest.approx((low, high), abs=1e-12)
    else:
        exact = 1 - 0.05 ** (1 / n)
        assert (one.low, one.high) == pytest.approx((min(low, -exact), max(high, exact)), abs=1e-12)
    assert one.value == pytest.approx((gains - losses) / n, abs=1e-12)
    assert (one.n, one.clusters) == (n, n)
    assert one.flipped == pytest.approx((gains + losses) / n)


def test_identical_lists_differ_by_exactly_nothing_and_equal_scores_do_not_prove_identity():
    hits = [1.0, 0.0, 1.0] * 100
    names = [str(at // 3) for at in range(300)]
    same = difference_interval(hits, hits, names, alpha=0.05, share=True, identical=True)
    assert (same.value, same.low, same.high, same.n, same.clusters, same.flipped) == (0.0, 0.0, 0.0, 300, 100, 0.0)
    equal = difference_interval(hits, hits, names, alpha=0.05, share=True)
    # 100 products that no query of tells apart: as sure as 100 queries, 1 - 0.05^(1/100).
    assert (equal.low, equal.value, equal.high) == pytest.approx((-0.02951, 0.0, 0.02951), abs=1e-5)
    with pytest.raises(DataError, match="identical lists differ in 1 of 2 values"):
        difference_interval([1, 0], [1, 1], ["a", "b"], alpha=0.05, share=True, identical=True)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from("abcdefgh")), min_size=1, max_size=50),
    st.sampled_from([0.01, 0.05, 0.2]),
)
def test_an_interval_holds_its_value_has_width_and_mirrors_when_the_systems_are_swapped(rows, alpha):
    new, old, names = ([row[at] for row in rows] for at in range(3))
    one = difference_interval(new, old, names, alpha=alpha, share=False)
    assert -1 <= one.low <= one.value <= one.high <= 1
    assert one.high - one.low > 1e-3
    other = difference_interval(old, new, names, alpha=alpha, share=False)
    assert (-other.high, -other.low) == pytest.approx((one.low, one.high), abs=1e-8)
    assert one.flipped == pytest.approx(sum(a != b for a, b, _ in rows) / len(rows))


def test_of_many_recalls_without_clusters_it_is_the_paired_t_interval():
    rng = np.random.default_rng(3)
    old = rng.binomial(8, 0.8, 4000) / 8
    new = np.clip(old + rng.choice([-0.125, 0.0, 0.125], 4000, p=[0.11, 0.8, 0.09]), 0, 1)
    one = difference_interval(new, old, range(4000), alpha=0.05, share=False)
    theirs = ttest_rel(new, old).confidence_interval(0.9)
    assert one.low == pytest.approx(theirs.low, abs=2e-4)
    assert one.high == pytest.approx(theirs.high, abs=2e-4)


def test_of_clustered_hits_it_is_about_the_bootstrap_over_products_and_twice_the_naive_width():
    rng = np.random.default_rng(5)
    names = np.repeat(np.arange(900), rng.integers(1, 12, 900))
    product = rng.choice([-1.0, 0.0, 1.0], 900, p=[0.05, 0.92, 0.03])
    change = np.where(rng.random(len(names)) < 0.8, product[names], 0.0)
    one = difference_interval(np.maximum(change, 0), np.maximum(-change, 0), names, alpha=0.05, share=True)
    sums, sizes = np.bincount(names, change), np.bincount(names)
    theirs = bootstrap(
        (sums, sizes),
        lambda s, m, axis: s.sum(axis) / m.sum(axis),
        paired=True,
        vectorized=True,
        confidence_level=0.9,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert one.low == pytest.approx(theirs.low, abs=0.08 * width)
    assert one.high == pytest.approx(theirs.high, abs=0.08 * width)
    naive = np.subtract(*tango_bounds((change > 0).sum(), (change < 0).sum(), len(names), Z95)[::-1])
    assert 1.7 < (one.high - one.low) / naive < 3


def test_nothing_says_nothing_and_bad_input_is_refused():
    one = difference_interval([], [], [], alpha=0.05, share=True)
    assert math.isnan(one.value)
    assert (one.low, one.high, one.n, one.flipped) == (-1.0, 1.0, 0, 0.0)
    with pytest.raises(DataError, match="2 queries of the candidate against 1 of the baseline"):
        difference_interval([1, 0], [1], ["a", "b"], alpha=0.05, share=True)
    with pytest.raises(DataError, match="baseline: 1 of 1 values"):
        difference_interval([1], [math.nan], ["a"], alpha=0.05, share=True)
    with pytest.raises(DataError, match="no yes or no"):
        difference_interval([0.5], [0.25], ["a"], alpha=0.05, share=True)
    with pytest.raises(ValueError, match="no interval"):
        difference_interval([1], [1], ["a"], alpha=0.5, share=True)
