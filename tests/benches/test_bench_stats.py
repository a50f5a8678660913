"""What clustered intervals cost, as a ratio to scipy's bootstrap of the same slices."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.stats import bootstrap  # type: ignore[import-untyped]

from evaluation.noninferiority import difference_interval
from evaluation.paired import sign_flip_p
from evaluation.stats import mean_interval

QUERIES, PRODUCTS, SLICES, RESAMPLES = 10_000, 3_000, 12, 1_000
Answer = TypeVar("Answer")


def timed(function: Callable[[], Answer]) -> tuple[float, Answer]:
    """Return the CPU seconds a call took, and its answer."""
    started = time.process_time()
    answer = function()
    return time.process_time() - started, answer


def slices() -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[str, ...]]]:
    """Hits of two systems on 12 slices of 10,000 queries of 3,000 products, and the product of each query."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(SLICES):
        products = np.sort(rng.integers(0, PRODUCTS, QUERIES))
        old = np.where(rng.random(QUERIES) < 0.5, (rng.random(PRODUCTS) < 0.9)[products], rng.random(QUERIES) < 0.9)
        new = np.where(rng.random(QUERIES) < 0.03, rng.random(QUERIES) < 0.9, old)
        names = tuple(f"product-{product}" for product in products)
        found.append((new.astype(np.float64), old.astype(np.float64), names))
    return found


def resampled(new: Any, old: Any, products: Any) -> Any:
    """Scipy's percentile interval of the difference, whole products drawn anew."""
    sums, sizes = np.bincount(products, new - old), np.bincount(products)
    return bootstrap(
        (sums, sizes),
        lambda change, count, axis: change.sum(axis) / count.sum(axis),
        paired=True,
        vectorized=True,
        batch=100,
        confidence_level=0.9,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval


@pytest.mark.slow
@pytest.mark.benchmark(group="stats")
def test_clustered_intervals_of_12_slices_against_the_bootstrap(benchmark: BenchmarkFixture) -> None:
    """Interval of the mean and of the difference for each slice; CPU seconds. The issue asks for 2 seconds."""
    data = slices()

    def ours() -> list[tuple[float, float]]:
        found = []
        for new, old, names in data:
            mean_interval(new, names, alpha_two_sided=0.1, share=True)
            one = difference_interval(new, old, names, alpha=0.05, share=True)
            found.append((one.low, one.high))
        return found

    seconds, found = timed(lambda: benchmark.pedantic(ours, rounds=1, iterations=1))
    codes = [np.unique(names, return_inverse=True)[1] for _, _, names in data]
    theirs_seconds, theirs = timed(
        lambda: [resampled(new, old, code) for (new, old, _), code in zip(data, codes, strict=True)]
    )
    flip_seconds, _ = timed(lambda: sign_flip_p(data[0][0] - data[0][1], data[0][2], resamples=10_000))
    for (low, high), other in zip(found, theirs, strict=True):
        width = other.high - other.low
        assert abs(low - other.low) < 0.15 * width
        assert abs(high - other.high) < 0.15 * width
    benchmark.extra_info |= {
        "intervals": 2 * SLICES,
        "ours_cpu_s": round(seconds, 3),
        f"bootstrap_of_{RESAMPLES}_differences_only_cpu_s": round(theirs_seconds, 2),
        "times_faster": round(theirs_seconds / seconds, 1),
        "one_sign_flip_test_of_10000_cpu_s": round(flip_seconds, 3),
    }
