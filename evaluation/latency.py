"""Latency as facts: percentiles of each run, so that a rule can take a statistic over runs and not over one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.system import Fact

PERCENTILES = (50, 95, 99)


def latency_facts(runs: Sequence[Sequence[float]]) -> list[Fact]:
    """Return `latency_p50_ms`, `latency_p95_ms` and `latency_p99_ms`.

    Their value is the median over the runs, their samples one percentile a run (by linear interpolation, as numpy).

    Args:
        runs: Seconds of each query, in each run; runs without a query are left out.

    Returns:
        Nothing where nothing was timed.

    Example:
        >>> [fact.value for fact in latency_facts([[0.010] * 99 + [0.030]])]
        [10.0, 10.0, 10.2]
    """
    timed = [np.asarray(run, np.float64) * 1000 for run in runs if len(run)]
    facts = []
    for percent in PERCENTILES if timed else ():
        samples = tuple(round(float(np.percentile(run, percent)), 6) for run in timed)
        value = float(np.median(samples))
        facts.append(Fact(metric=f"latency_p{percent}_ms", value=value, n=sum(map(len, timed)), samples=samples))
    return facts
