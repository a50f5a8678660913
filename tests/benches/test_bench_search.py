"""search_index against faiss' own index.search over the same million rows: what canonical answers cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import pytest

from pipeline.index.opened import OpenIndex
from pipeline.index.search import search_index
from tests.benches.million import K, million

ROUNDS = 7


def seconds(work: Callable[[], object]) -> float:
    """Return CPU seconds: all of it runs on this thread, and others may use the machine."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


@pytest.mark.parametrize("batch", [1, 64])
def test_a_canonical_answer_costs_little_more_than_faiss_own(benchmark: Any, batch: int) -> None:
    """Books our time over faiss' (aim at batch 1: 1.10) on one thread; both run interleaved, medians of rounds."""
    setup = million()
    index, queries = OpenIndex(setup.index), setup.queries
    setup.index.nprobe = setup.nprobe
    blocks = [np.ascontiguousarray(queries[i : i + batch]) for i in range(0, min(len(queries), 400 * batch), batch)]

    def bare() -> list[Any]:
        return [setup.index.search(block, K) for block in blocks]

    def ours() -> list[Any]:
        return [search_index(index, block, K, setup.nprobe) for block in blocks]

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        raw, answers = bare(), ours()
        pairs = [(seconds(bare), seconds(ours)) for _ in range(ROUNDS)]
        benchmark.pedantic(ours, rounds=1, iterations=1)
    finally:
        faiss.omp_set_num_threads(threads)
    asked = sum(len(block) for block in blocks)
    bare_seconds, our_seconds = (statistics.median(column) for column in zip(*pairs, strict=True))
    benchmark.extra_info["nprobe"] = setup.nprobe
    benchmark.extra_info["recall_at_10"] = round(setup.recall, 4)
    benchmark.extra_info["bare_cpu_us_per_query"] = round(bare_seconds / asked * 1e6, 1)
    benchmark.extra_info["ours_cpu_us_per_query"] = round(our_seconds / asked * 1e6, 1)
    benchmark.extra_info["ratio_to_bare_search"] = round(statistics.median(b / a for a, b in pairs), 3)
    for (scores, ids), (distances, found) in zip(raw, answers, strict=True):  # the two did the same work
        np.testing.assert_allclose(1 - scores, distances, atol=1e-6)
        assert np.mean(ids == found) > 0.99
