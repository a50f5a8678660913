"""F1 and CPU time of naming the leaves that explain a break, on the tables of tests/checks/risk_generator.

The seeds are not those that the thresholds were looked at on. Elements must be named exactly to count.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import pytest

from checks.kinds.base import Table
from checks.localise import localise
from tests.benches.peeling import plain_peeling
from tests.checks.risk_generator import L, S, Score, Setting, case_of, elements_of

CASES = 40
FIRST_SEED = 10_000
EVERY = 1000
"""No limit: every cause that is found is judged."""


@pytest.mark.parametrize("setting", [pytest.param(S, id="S"), pytest.param(L, id="L")])
@pytest.mark.parametrize("mode", ["exact", "forecast"])
def test_localisation(benchmark: Any, setting: Setting, mode: str) -> None:
    """CPU time of `localise` on a table in memory, and of plain peeling, which is given its codes ready."""
    exact = mode == "exact"
    codes = np.stack(np.unravel_index(np.arange(np.prod(setting.sizes)), setting.sizes), axis=1)
    ours, plain = Score(), Score()
    ours_seconds, plain_seconds = [], []
    for seed in range(FIRST_SEED - 1, FIRST_SEED + CASES):
        table, truth = case_of(setting, seed, exact=exact)
        began = time.process_time()
        found = elements_of(localise(table, limit=EVERY))
        between = time.process_time()
        peeled = plain_peeling(table, codes)
        if seed >= FIRST_SEED:  # the first one warms up
            ours_seconds.append(between - began)
            plain_seconds.append(time.process_time() - between)
            ours, plain = ours.with_case(found, truth), plain.with_case(peeled, truth)
    benchmark.extra_info |= {
        "f1": round(ours.f1, 3),
        "precision": round(ours.precision, 3),
        "recall": round(ours.recall, 3),
        "f1_of_plain_peeling": round(plain.f1, 3),
        "cases": CASES,
        "leaves": len(codes),
        "median_cpu_ms": round(1000 * statistics.median(ours_seconds)),
        "most_cpu_ms": round(1000 * max(ours_seconds)),
        "median_cpu_ms_of_plain_peeling": round(1000 * statistics.median(plain_seconds)),
    }
    benchmark.pedantic(localise, args=(table,), rounds=1, iterations=1)
    assert ours.f1 > plain.f1 - 0.01


def test_localisation_of_50_000_leaves_of_six_dimensions(benchmark: Any) -> None:
    """Sparse leaves (of 57,600,000 that could be), one value of one dimension lost, counts."""
    rng = np.random.default_rng(0)
    sizes = (10, 20, 30, 40, 12, 20)
    codes = np.unique(np.column_stack([rng.integers(0, size, 50_000) for size in sizes]), axis=0)
    expected = rng.poisson(200, len(codes)).astype(np.float64)
    actual = np.where(codes[:, 2] == 7, rng.binomial(expected.astype(int), 0.5), expected)
    values = tuple(tuple(f"{code}" for code in row) for row in codes.tolist())
    table = Table(tuple("abcdef"), values, actual, expected, exact=True)
    localise(table)
    began = time.process_time()
    causes = benchmark.pedantic(localise, args=(table,), rounds=1, iterations=1)
    benchmark.extra_info |= {"leaves": len(values), "cpu_ms": round(1000 * (time.process_time() - began))}
    assert [cause.where for cause in causes] == [{"c": ("7",)}]
