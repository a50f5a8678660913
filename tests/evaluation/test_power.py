"""Sample sizes: the printed table of evaluation-index-eviction.md 2.6, and exact binomial power by scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, norm  # type: ignore[import-untyped]

from evaluation.noninferiority import difference_interval
from evaluation.power import detectable_margin, least_queries, needed_queries, power_of, power_table, zero_bound

PUBLISHED = {
    0.005: (6852, 1713, 429, 108),
    0.01: (13704, 3426, 857, 215),
    0.02: (27408, 6852, 1713, 429),
    0.05: (68520, 17130, 4283, 1071),
}


def test_the_published_table_is_reproduced_up_to_its_rounding_of_the_normal_quantiles():
    # It was made with 1.645 + 1.2816, whose square is 0.014 % above that of the exact quantiles.
    rows, published = power_table(), [n for line in PUBLISHED.values() for n in line]
    assert [(row.flipped, row.margin) for row in rows] == [
        (p_d, margin) for p_d in PUBLISHED for margin in (0.0025, 0.005, 0.01, 0.02)
    ]
    for row, printed in zip(rows, published, strict=True):
        assert math.floor(printed * 0.99985) <= row.needed <= printed
    assert sum(row.needed == printed for row, printed in zip(rows, published, strict=True)) >= 9


@settings(max_examples=50)
@given(st.floats(1e-4, 0.5), st.floats(1e-3, 0.2), st.floats(0.001, 0.4), st.floats(0.5, 0.99), st.floats(0.2, 20))
def test_one_query_fewer_has_less_than_the_power_asked_for(p_d, margin, alpha, power, effect):
    n = needed_queries(p_d, margin, alpha=alpha, power=power, design_effect=effect)
    sigmas = margin * math.sqrt(n / effect / p_d)
    assert norm.cdf(sigmas - norm.ppf(1 - alpha)) >= power - 1e-6
    if n > 1:
        fewer = margin * math.sqrt((n - 1) / effect / p_d)
        assert norm.cdf(fewer - norm.ppf(1 - alpha)) < power + 1e-6
    least = least_queries(margin, alpha=alpha, design_effect=effect)
    expected = float(norm.cdf(sigmas - norm.ppf(1 - alpha))) if n >= least else 0.0
    assert power_of(n, p_d, margin, alpha=alpha, design_effect=effect) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=50)
@given(st.integers(1, 10**6), st.floats(1e-4, 0.3), st.floats(0.5, 20))
def test_the_detectable_margin_is_what_so_many_queries_can_carry(n, p_d, effect):
    margin = detectable_margin(n, p_d, design_effect=effect)
    if margin < 1:
        assert needed_queries(p_d, margin, design_effect=effect) <= n + 1
        assert least_queries(margin, design_effect=effect) <= n + 1


@given(st.integers(1, 10**6), st.floats(1e-6, 0.4))
def test_the_bound_for_none_found_is_clopper_and_pearsons(n, alpha):
    assert zero_bound(n, alpha) == pytest.approx(beta.ppf(1 - alpha, 1, n), rel=1e-9)


def test_the_published_bounds_for_an_audit_that_finds_nothing():
    assert [f"{100 * zero_bound(n):.2f}" for n in (300, 3000, 30000)] == ["0.99", "0.10", "0.01"]
    assert zero_bound(0) == 1.0


@pytest.mark.parametrize("margin", [0.005, 0.01, 0.02, 0.3])
def test_below_the_least_number_of_queries_not_even_no_flip_proves_the_margin(margin):
    n = least_queries(margin)
    for queries, is_proven in ((n - 1, False), (n, True)):
        same = [1.0] * queries
        found = difference_interval(same, same, [str(at) for at in range(queries)], alpha=0.05, share=True)
        # Tango's bound without a flip is narrower than the exact one for more than a few queries.
        assert (found.low > -margin - 1e-12) == is_proven
    assert power_of(n - 1, 0.001, margin) == 0.0


def test_nonsense_is_refused():
    for wrong in ({"p_d": -0.1, "margin": 0.01}, {"p_d": 0.1, "margin": 0.0}, {"p_d": math.nan, "margin": 0.1}):
        with pytest.raises(ValueError, match="no sample size"):
            needed_queries(**wrong)
    with pytest.raises(ValueError, match="one-sided"):
        needed_queries(0.1, 0.01, alpha=0.6)
    with pytest.raises(ValueError, match="no bound"):
        zero_bound(-1)
