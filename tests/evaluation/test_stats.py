"""Intervals of shares and means: scipy's, published ones, matrices written out, and hand-computed clusters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, ttest_1samp  # type: ignore[import-untyped]

from evaluation.clusters import codes_of, spread_of
from evaluation.stats import clustered_interval, effective_clusters, mean_interval, signed_interval, wilson_interval
from evaluation.tango import tango_bounds
from reporting.errors import DataError

SIZES = st.lists(st.integers(1, 30), min_size=2, max_size=25)


@settings(max_examples=50)
@given(st.integers(1, 5000), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.99]))
def test_wilson_equals_scipy(n, share, confidence):
    successes = round(share * n)
    theirs = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(successes, n, confidence=confidence) == pytest.approx(tuple(theirs), abs=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 0.97])
def test_wilson_covers_the_truth_in_93_to_97_percent_of_all_samples(share):
    n = 500
    covered = 0.0
    for successes in range(n + 1):
        low, high = wilson_interval(successes, n)
        covered += float(binom.pmf(successes, n, share)) * (low <= share <= high)
    assert 0.93 < covered < 0.97


@pytest.mark.parametrize(("successes", "n", "low"), [(48, 50, 0.865), (190, 200, 0.910), (950, 1000, 0.935)])
def test_wilson_gives_the_published_anchors_also_through_mean_interval(successes, n, low):
    assert round(wilson_interval(successes, n)[0], 3) == low
    hits = [1.0] * successes + [0.0] * (n - successes)
    assert round(mean_interval(hits, [str(at) for at in range(n)], share=True).low, 3) == low


@settings(max_examples=50)
@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([0.02, 0.05, 0.1, 0.3]))
def test_of_queries_of_different_products_a_share_has_exactly_wilsons_interval(n, share, alpha):
    successes = round(share * n)
    one = mean_interval([1.0] * successes + [0.0] * (n - successes), range(n), alpha_two_sided=alpha, share=True)
    assert (one.low, one.high) == wilson_interval(successes, n, confidence=1 - alpha)
    assert (one.value, one.n, one.clusters, one.design_effect) == (successes / n, n, n, 1.0)


def test_nothing_says_nothing_and_is_no_zero():
    one, signed = mean_interval([], [], share=False), signed_interval([], [], alpha=0.05, share=True)
    assert math.isnan(one.value)
    assert math.isnan(signed.value)
    assert (one.low, one.high, one.n, one.clusters) == (0.0, 1.0, 0, 0)
    assert (signed.low, signed.high, signed.n, signed.clusters) == (-1.0, 1.0, 0, 0)
    assert wilson_interval(0, 0) == clustered_interval([], []) == (0.0, 1.0)


def test_nonsense_is_refused():
    for successes, n, confidence in ((3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)):
        with pytest.raises(ValueError, match="no interval"):
            wilson_interval(successes, n, confidence=confidence)
    with pytest.raises(ValueError, match="no interval"):
        mean_interval([1.0], ["a"], alpha_two_sided=0.0, share=True)
    with pytest.raises(DataError, match="first nan at row 1"):
        mean_interval([1.0, math.nan], ["a", "b"], share=False)
    with pytest.raises(DataError, match="2 clusters for 1 values"):
        mean_interval([1.0], ["a", "b"], share=True)
    with pytest.raises(DataError, match=r"0\.5 at row 0 is no yes or no"):
        mean_interval([0.5], ["a"], share=True)
    with pytest.raises(DataError, match="shape"):
        mean_interval([[0.5]], ["a"], share=False)  # type: ignore[list-item]


def written_out(values: np.ndarray, codes: np.ndarray) -> tuple[float, float, float]:
    """CR2 variance, its degrees of freedom and rho, by Bell and McCaffrey's matrices for a regression on 1."""
    n, groups = len(values), int(codes.max()) + 1
    ones = np.ones((n, 1))
    hat = ones @ np.linalg.inv(ones.T @ ones) @ ones.T
    errors = values - values.mean()
    single = float(errors @ errors) / n
    pairs = weight = 0.0
    for group in range(groups):
        mine = errors[codes == group]
        if len(mine) > 1:
            pairs += sum(a * b for i, a in enumerate(mine) for j, b in enumerate(mine) if i != j) / (len(mine) - 1)
            weight += len(mine)
    rho = min(1.0, max(0.0, pairs / (weight * single))) if weight else 0.0
    working = np.where(codes[:, None] == codes[None, :], rho, 0.0)
    np.fill_diagonal(working, 1.0)
    meat, rows = 0.0, []
    for group in range(groups):
        mine = codes == group
        block = np.eye(mine.sum()) - hat[np.ix_(mine, mine)]
        root_values, root_vectors = np.linalg.eigh(block)
        adjusted = root_vectors @ np.diag(root_values**-0.5) @ root_vectors.T
        weights = ones[mine].T @ adjusted / n
        meat += float((weights @ errors[mine]).item() ** 2)
        rows.append((weights @ (np.eye(n) - hat)[mine]).ravel())
    spread = np.array(rows) @ working @ np.array(rows).T
    return meat, float(np.trace(spread) ** 2 / np.trace(spread @ spread)), rho


@settings(max_examples=50)
@given(SIZES, st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_variance_and_degrees_of_freedom_equal_bell_and_mccaffreys_matrices(sizes, seed, alike):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(sizes)), sizes)
    values = np.where(rng.random(len(codes)) < alike, rng.random(len(sizes))[codes], rng.random(len(codes)))
    spread = spread_of(values, codes)
    robust, degrees, rho = written_out(values, codes)
    single = float(values.var())
    modelled = single * sum(m * (1 + (m - 1) * rho) for m in sizes) / len(codes) ** 2
    assert spread.variance == pytest.approx(max(robust, modelled, single / len(codes)), rel=1e-9)
    assert spread.df == pytest.approx(max(1.0, degrees), rel=1e-6)
    assert spread.worst == pytest.approx(sum(m * m for m in sizes) / sum(sizes))


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=60).filter(lambda values: np.var(values) > 1e-6))
def test_without_clusters_the_variance_is_that_of_the_t_test(values):
    spread = spread_of(np.array(values), np.arange(len(values)))
    theirs = ttest_1samp(values, 0.0)
    assert theirs.statistic == pytest.approx(spread.mean / math.sqrt(spread.variance or 0), rel=1e-6)
    assert spread.df == pytest.approx(theirs.df, rel=1e-9)


@pytest.mark.parametrize("sizes", [[12], [4, 4, 4], [1, 11], [5, 1, 1, 5]])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_values_weigh_as_many_queries_as_there_are_effective_clusters(sizes, value):
    names = [f"p{at}" for at, size in enumerate(sizes) for _ in range(size)]
    n = effective_clusters(names)
    assert n == pytest.approx(sum(sizes) ** 2 / sum(m * m for m in sizes))
    for share in (True, False):
        one = mean_interval([value] * len(names), names, share=share)
        assert (one.low, one.high) == pytest.approx(wilson_interval(value * n, n), abs=1e-12)
        assert one.high - one.low > 0.1


def test_twelve_queries_of_one_product_weigh_as_one():
    assert clustered_interval([1.0] * 12, ["a"] * 12) == pytest.approx(wilson_interval(1, 1))
    assert clustered_interval([1.0] * 12, list("abcdefghijkl")) == pytest.approx(wilson_interval(12, 12))


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abcdefgh")), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_an_interval_holds_its_mean_has_width_and_does_not_depend_on_names_or_order(pairs, random):
    values, names = [value for value, _ in pairs], [name for _, name in pairs]
    one = mean_interval(values, names, share=False)
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert one.high - one.low > 1e-3
    assert one.clusters == len(set(names))
    random.shuffle(pairs)
    other = mean_interval([value for value, _ in pairs], [name * 3 for _, name in pairs], share=False)
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=1e-9)
    mirrored = mean_interval([1 - value for value in values], names, share=False)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((one.low, one.high), abs=1e-9)


def test_losses_between_views_may_be_negative_and_are_judged_as_differences():
    losses = [1.0] * 9 + [-1.0] * 3 + [0.0] * 20
    one = mean_interval(losses, [str(at) for at in range(32)], alpha_two_sided=0.05, share=True)
    assert (round(one.low, 3), round(one.high, 3)) == (-0.027, 0.390)  # Tango 1998, 6.2
    signed = signed_interval(losses, range(32), alpha=0.025, share=True)
    assert (one.low, one.high) == pytest.approx((signed.low, signed.high), abs=1e-12)
    assert (one.low, one.high) == pytest.approx(tango_bounds(9, 3, 32, 1.959963984540054), abs=1e-12)


def test_clusters_are_numbered_by_first_appearance_and_arrays_do_as_well_as_names():
    assert codes_of(["b", "a", "b", "c"], 4).tolist() == codes_of(np.array([7, 5, 7, 6]), 4).tolist() == [0, 1, 0, 2]
    hits = [1.0, 0.0, 1.0, 1.0]
    assert mean_interval(hits, ["b", "a", "b", "c"], share=True) == mean_interval(
        hits, np.array([7, 5, 7, 6]), share=True
    )
