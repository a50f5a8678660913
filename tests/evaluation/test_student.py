"""Student's t, against scipy's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm  # type: ignore[import-untyped]
from scipy.stats import t as student

from evaluation.student import t_quantile, t_tail


@settings(max_examples=50)
@given(st.floats(1e-9, 0.499), st.booleans(), st.floats(0.3, 5e6))
def test_the_quantile_equals_scipys(tail, is_upper, df):
    found = t_quantile(1 - tail, df) if is_upper else t_quantile(tail, df)
    theirs = student.isf(tail, df) if is_upper else student.ppf(tail, df)
    # 1 - tail is rounded to 1e-16, which is a part in 1e7 of the smallest tail drawn here.
    assert found == pytest.approx(theirs, rel=1e-6 if is_upper and tail < 1e-6 else 1e-9)


@settings(max_examples=50)
@given(st.floats(-40, 40), st.floats(0.3, 5e6))
def test_the_tail_equals_scipys(t, df):
    assert t_tail(t, df) == pytest.approx(student.sf(t, df), rel=1e-8, abs=1e-300)


def test_infinitely_many_degrees_are_the_normal_and_the_median_is_zero():
    assert t_quantile(0.95, math.inf) == pytest.approx(norm.ppf(0.95), rel=1e-12)
    assert t_tail(1.7, math.inf) == pytest.approx(norm.sf(1.7), rel=1e-12)
    assert t_quantile(0.5, 3) == 0.0


@pytest.mark.parametrize(("df", "critical"), [(1, 12.706), (2, 4.303), (5, 2.571), (10, 2.228), (30, 2.042)])
def test_the_printed_table_of_two_sided_5_percent_points(df, critical):
    assert round(t_quantile(0.975, df), 3) == critical


@pytest.mark.parametrize(("p", "df"), [(0.0, 3), (1.0, 3), (0.5, 0), (math.nan, 3), (0.9, -1)])
def test_nonsense_is_refused(p, df):
    with pytest.raises(ValueError, match="no quantile"):
        t_quantile(p, df)
    with pytest.raises(ValueError, match="no tail"):
        t_tail(math.nan, 3)
