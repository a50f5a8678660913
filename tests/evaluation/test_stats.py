"""Intervals: equal to scipy's, and of the coverage they promise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest  # type: ignore[import-untyped]

from evaluation.stats import clustered_interval, effective_clusters, wilson_interval


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
def test_wilson_gives_the_published_anchors(successes, n, low):
    assert round(wilson_interval(successes, n)[0], 3) == low


def test_no_trial_says_nothing_and_nonsense_is_refused():
    assert wilson_interval(0, 0) == clustered_interval([], []) == (0.0, 1.0)
    for successes, n, confidence in ((3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)):
        with pytest.raises(ValueError, match="no interval"):
            wilson_interval(successes, n, confidence=confidence)


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_a_clustered_interval_holds_the_mean_and_is_never_narrower_than_the_plain_one(pairs):
    values, clusters = [value for value, _ in pairs], [cluster for _, cluster in pairs]
    mean = sum(values) / len(values)
    low, high = clustered_interval(values, clusters)
    plain_low, plain_high = wilson_interval(min(mean * len(values), len(values)), len(values))
    assert low <= mean + 1e-9
    assert high >= mean - 1e-9
    assert high - low >= plain_high - plain_low - 1e-9
    assert 1 <= effective_clusters(clusters) <= len(set(clusters)) + 1e-9


def test_twelve_queries_of_one_product_weigh_as_one():
    assert clustered_interval([1.0] * 12, ["a"] * 12) == wilson_interval(1, 1)
    assert clustered_interval([1.0] * 12, list("abcdefghijkl")) == wilson_interval(12, 12)
