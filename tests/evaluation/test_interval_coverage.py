"""How often the intervals hold the truth: a sample of the tables that tests/evaluation/coverage.py prints in full."""

from __future__ import annotations

import math

import pytest

from tests.evaluation.coverage import Case, Contest, coverage

SAMPLES = 500
NOISE = 3 * math.sqrt(0.05 * 0.95 / SAMPLES)  # three standard errors of a rate of 5 %

TYPICAL = [
    Case(1000, "even", 0.0, "beta", 0.9),
    Case(1000, "even", 0.3, "mixed", 0.5),
    Case(1000, "skewed", 0.3, "beta", 0.9),
    Case(1000, "skewed", 0.8, "recall", 0.9),
    Case(5000, "even", 0.0, "mixed", 0.98),
    Case(5000, "skewed", 0.3, "mixed", 0.98),
    Case(5000, "even", 0.8, "mixed", 0.98),
]
FEW_MISSING_CLUSTERS = [
    Case(100, "even", 0.8, "mixed", 0.9),
    Case(100, "skewed", 0.0, "beta", 0.98),
    Case(300, "even", 0.3, "mixed", 0.9),
    Case(1000, "even", 0.3, "mixed", 0.98),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", TYPICAL, ids=str)
def test_a_95_percent_interval_covers_93_to_97_percent(case):
    rate = coverage(case, SAMPLES, seed=20)
    assert 0.93 - NOISE / 2 < rate.covered < 0.97 + NOISE / 2


@pytest.mark.slow
@pytest.mark.parametrize("case", FEW_MISSING_CLUSTERS, ids=str)
def test_where_a_handful_of_products_miss_it_covers_more_rather_than_less(case):
    rate = coverage(case, SAMPLES, seed=21)
    assert rate.covered > 0.95 - NOISE
    assert rate.above < 0.025 + NOISE  # a floor is not passed too often


@pytest.mark.slow
@pytest.mark.parametrize(
    ("contest", "proven_at_most"),
    [
        (Contest(1000, 0.01, "alone", 0.0, 0.04), 0.05),
        (Contest(1000, 0.01, "skewed", 0.3, 0.04), 0.05),
        (Contest(1000, 0.01, "even", 0.8, 0.04, is_share=False), 0.05),
        (Contest(300, 0.02, "even", 0.8, 0.01), 0.05),
        (Contest(1000, 0.01, "skewed", 0.0, 0.15, is_share=False), 0.05),
    ],
    ids=str,
)
def test_a_candidate_worse_by_just_the_margin_is_passed_5_percent_of_the_time_and_failed_5_percent(
    contest, proven_at_most
):
    proven, refuted = contest.verdicts(-contest.margin, SAMPLES, seed=22)
    assert proven < proven_at_most + NOISE
    assert refuted < 0.05 + NOISE
