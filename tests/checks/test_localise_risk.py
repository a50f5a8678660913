"""The generator of tables with known causes, and that localisation finds them; the benchmark prints the figures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from checks.localise import localise
from tests.checks.risk_generator import L, S, Score, Setting, case_of, elements_of

SMALL = Setting((4, 5, 3), (0.0, 0.2), (0.3, 1.0), (0.0, 0.1), (1, 2), (1, 2))


@pytest.mark.parametrize("setting", [S, L, SMALL])
@pytest.mark.parametrize("exact", [True, False])
def test_cases_are_what_the_paper_describes(setting, exact):
    case = case_of(setting, 0, exact=exact)
    table = case.table
    assert len(table.values) == np.prod(setting.sizes) == len(set(table.values))
    assert (table.actual >= 0).all()
    assert (table.expected >= 0).all()
    layers = {len(element) for element in case.truth}
    assert layers == {len(setting.sizes)} if setting.only_last_layer else layers <= set(range(1, 6))
    assert setting.anomalies[0] <= len(case.truth) <= setting.anomalies[1] * setting.elements[1]
    columns = dict(zip(table.dimensions, np.array(table.values).T, strict=True))
    places = [np.logical_and.reduce([columns[name] == value for name, value in element]) for element in case.truth]
    hit = np.logical_or.reduce(places)
    if exact:
        assert (table.actual[~hit] == table.expected[~hit]).all()
    moved = (table.expected - table.actual)[hit]
    assert abs(np.sign(moved).sum()) >= 0.9 * (moved != 0).sum()  # one direction; a deviation may turn a leaf


def test_elements_of_different_anomalies_share_no_value_of_a_dimension():
    anomalies = [element for seed in range(20) for element in itertools.combinations(_one_each(seed), 2)]
    assert anomalies
    assert all(one.isdisjoint(other) for one, other in anomalies)


def _one_each(seed: int) -> list[frozenset[tuple[str, str]]]:
    return sorted(
        case_of(Setting((6, 7, 8), (0, 0), (0.5, 1), (0, 0), (2, 3), (1, 1)), seed, exact=True).truth, key=str
    )


def test_equal_seeds_give_equal_cases():
    one, other = (case_of(S, 7, exact=False) for _ in range(2))
    assert one.truth == other.truth
    assert np.array_equal(one.table.actual, other.table.actual)
    assert np.array_equal(one.table.expected, other.table.expected)


def test_a_score_counts_elements_named_exactly():
    case = case_of(SMALL, 3, exact=True)
    perfect = Score().with_case(elements_of(localise(case.table, limit=100)), case.truth)
    assert (perfect.right, perfect.wrong, perfect.lost) == (len(case.truth), 0, 0)
    nothing = Score().with_case(set(), case.truth)
    assert (nothing.right, nothing.wrong, nothing.lost) == (0, 0, len(case.truth))
    assert Score(right=3, wrong=1, lost=2).f1 == pytest.approx(2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "exact", "least"), [(S, True, 0.93), (L, True, 0.98), (S, False, 0.66), (L, False, 0.93)]
)
def test_causes_are_found_at_least_as_well_as_the_best_of_the_published_methods(setting, exact, least):
    """Reference section 3.2: exact .904 and .987; with noise .66 (RiskLoc) and .93 (the peeling it describes)."""
    score = Score()
    for seed in range(25):
        case = case_of(setting, seed, exact=exact)
        score = score.with_case(elements_of(localise(case.table, limit=1000)), case.truth)
    assert score.f1 >= least, score
