"""McNemar's exact test: scipy's binomial test, and tables worked out by others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[import-untyped]

from evaluation.mcnemar import exact_p, mcnemar
from reporting.errors import DataError


@given(st.integers(0, 400), st.integers(0, 400))
def test_p_equals_scipys_two_sided_binomial_test(one, other):
    expected = binomtest(one, one + other, 0.5).pvalue if one + other else 1.0
    assert exact_p(one, other) == pytest.approx(expected, rel=1e-9)
    assert exact_p(one, other) == exact_p(other, one)


def test_p_of_thousands_of_differences_neither_overflows_nor_vanishes():
    assert exact_p(4900, 5100) == pytest.approx(binomtest(4900, 10_000, 0.5).pvalue, rel=1e-8)
    assert exact_p(0, 1000) == 2.0**-999
    assert exact_p(0, 5000) == 0.0  # 2^-4999 is below the smallest float


@pytest.mark.parametrize(("one", "other", "p"), [(0, 0, 1.0), (0, 5, 0.0625), (5, 5, 1.0), (1, 9, 22 / 1024)])
def test_p_equals_the_coin_tosses_counted_by_hand(one, other, p):
    assert exact_p(one, other) == p


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_the_four_cells_hold_every_question_once(pairs):
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    found = mcnemar(first, second)
    assert found.both + found.only_first + found.only_second + found.neither == found.n == len(pairs)
    assert found.both + found.only_first == sum(first)
    assert found.both + found.only_second == sum(second)
    swapped = mcnemar(second, first)
    assert (swapped.p_value, swapped.difference) == (found.p_value, -found.difference)
    if pairs:
        assert found.difference == pytest.approx(sum(first) / len(pairs) - sum(second) / len(pairs))


def test_questions_that_only_one_answered_are_refused():
    with pytest.raises(DataError, match="2 answers against 1"):
        mcnemar([True, False], [True])
    with pytest.raises(ValueError, match="must not be negative"):
        exact_p(-1, 3)
