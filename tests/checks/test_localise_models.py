"""The statistics under the localisation, against scipy and against noise of a known size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression  # type: ignore[import-untyped]
from scipy.stats import binom  # type: ignore[import-untyped]

from checks.localise_models import MISSING, Exact, Forecast, are_counts, noise_of


def exact(missing: list[float], size: list[float], *, certain: bool = False) -> Exact:
    return Exact(np.array(missing, dtype=float), np.array(size, dtype=float), counts=True, certain=certain)


@settings(max_examples=50)
@given(st.integers(1, 5000), st.floats(0, 1), st.floats(0.001, 0.99))
def test_evidence_is_the_likelihood_ratio_of_binomials(size, part, background):
    lost = round(part * size)
    found = exact([lost], [size]).evidence(np.array([float(lost)]), np.array([float(size)]), background)
    if lost <= background * size:
        assert found[0] == 0
        return
    oracle = binom.logpmf(lost, size, lost / size) - binom.logpmf(lost, size, background)
    assert found[0] == pytest.approx(oracle, rel=1e-6, abs=1e-6)


def test_an_unbroken_leaf_speaks_against_a_place_by_what_it_should_have_lost():
    rows = np.arange(60)
    third = [1.0] * 20 + [0.0] * 40
    small, large = exact(third, [2.0] * 60), exact([100.0 * one for one in third], [200.0] * 60)
    share = 1 / 6
    assert not large.is_pure(rows, MISSING, share)  # 33 items each should be gone from every leaf
    assert exact([1.0] * 58 + [0.0] * 2, [2.0] * 60).is_pure(rows, MISSING, 0.5)
    chance = np.random.default_rng(0).binomial(2, share, 60).astype(float)
    assert exact(list(chance), [2.0] * 60).is_pure(rows, MISSING, float(chance.sum() / 120))
    assert not exact(third, [2.0] * 60, certain=True).is_pure(rows, MISSING, share)
    assert small.is_pure(rows, MISSING, share)  # a third of so small leaves may well have lost one


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("broken", [0.0, 0.1, 0.6])
def test_noise_is_measured_where_nothing_is_broken(sigma, broken):
    rng = np.random.default_rng(3)
    share = rng.normal(0, sigma, 4000)
    hit = rng.random(4000) < broken
    share[hit] = np.minimum(1.0, 0.5 + share[hit])
    noise = noise_of(share, np.full(4000, 100.0), counts=False)
    assert noise == pytest.approx(np.full(4000, sigma), rel=0.2)


def test_larger_leaves_are_less_noisy_and_counts_scatter_by_their_root_at_least():
    rng = np.random.default_rng(4)
    expected = np.exp(rng.uniform(0, 10, 4000))
    share = rng.normal(0, np.maximum(expected**-0.5, 0.03))
    noise = noise_of(share, expected, counts=False)
    order = np.argsort(expected)
    assert (np.diff(noise[order]) <= 1e-12).all()
    assert noise[order][-400:].mean() == pytest.approx(0.03, rel=0.25)
    assert noise[order][:400].mean() > 0.4
    assert (noise_of(np.zeros(50), np.full(50, 4.0), counts=True) == 0.5).all()
    assert (noise_of(np.zeros(50), np.full(50, 4.0), counts=False) == 0.01).all()


@settings(max_examples=40)
@given(st.lists(st.floats(0.02, 1), min_size=2, max_size=10))
def test_classes_of_sizes_are_pooled_as_isotonic_regression_does(scales):
    """Every leaf of a class is off by the same, so that its scale is that over the median of half a normal."""
    signs = np.tile([1.0, -1.0], 50)
    share = np.concatenate([scale * signs for scale in scales])
    expected = np.repeat(10.0 ** np.arange(len(scales)), 100)
    oracle = isotonic_regression(np.array(scales) / 0.6745, increasing=False).x
    assert noise_of(share, expected, counts=False)[::100] == pytest.approx(oracle)


def test_wide_tails_raise_the_noise_and_normal_ones_do_not():
    rng = np.random.default_rng(5)
    size, everywhere = np.full(3000, 100.0), np.ones(3000, dtype=bool)
    normal = Forecast(size * rng.normal(0, 0.05, 3000), size, size, counts=False)
    wide = Forecast(size * np.clip(0.05 * rng.standard_t(2.5, 3000), -1, 1), size, size, counts=False)
    before = wide.exposure.copy()
    assert not normal.widen(everywhere)
    assert wide.widen(everywhere)
    assert (wide.exposure < before).all()


def test_counts_are_whole_numbers():
    assert are_counts(np.array([0.0, 3.0]), np.array([1e6]))
    assert not are_counts(np.array([0.0, 3.5]))
