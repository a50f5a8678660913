"""What `evaluate run` says of a system on a set: every metric with its interval, over all queries and by slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from evaluation.measured import Bools, Measured
from evaluation.metrics import is_share
from evaluation.stats import mean_interval
from evaluation.system import Fact, System, View


class Estimate(BaseModel):
    """The mean of a metric over the queries of a slice.

    Attributes:
        value: The mean.
        low: Lower end of the two-sided interval, clustered by product.
        high: Upper end.
        n: Queries.
        clusters: Products among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float
    high: float
    n: int
    clusters: int


class RunReport(BaseModel):
    """A system on a set.

    Attributes:
        system: Its name.
        set_id: The set, NAME@SHA12.
        domains: (query domain, gallery domain).
        confidence: Of each interval, two-sided.
        queries: Number of queries.
        statuses: Status -> number of queries; they add up to `queries`.
        errors: Message by query id of those with an error or timeout.
        metrics: Metric -> estimate over all queries.
        slices: Slice -> metric -> estimate; empty slices are left out, `all` is `metrics`.
        facts: What was measured about the system as a whole.
        inputs: Name -> sha256 of what makes the answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    set_id: str
    domains: tuple[str, str]
    confidence: float
    queries: int
    statuses: Mapping[str, int]
    errors: Mapping[str, str]
    metrics: Mapping[str, Estimate]
    slices: Mapping[str, Mapping[str, Estimate]]
    facts: tuple[Fact, ...]
    inputs: Mapping[str, str]


def report_run(system: System, measured: Measured, domains: tuple[str, str], *, confidence: float = 0.95) -> RunReport:
    """Put a measured system into figures. Pure.

    Args:
        system: What was asked; its served view tells how each query ended.
        measured: The same, measured.
        domains: The set's query and gallery domain.
        confidence: Of each interval, in (0, 1).
    """
    slices = {name: mask for name, mask in measured.slices.items() if mask.any()}
    products = np.unique(np.array(measured.clusters, np.str_), return_inverse=True)[1].astype(np.int64)
    found = {name: _estimates(measured, mask, products, confidence) for name, mask in slices.items()}
    statuses = Counter(status.value for status in system.views[View.SERVED].statuses)
    return RunReport(
        system=measured.system,
        set_id=measured.set_id,
        domains=domains,
        confidence=confidence,
        queries=len(measured.query_ids),
        statuses=dict(sorted(statuses.items())),
        errors=dict(measured.errors),
        metrics=found.pop("all"),
        slices=found,
        facts=measured.facts,
        inputs=dict(measured.inputs),
    )


def _estimates(measured: Measured, mask: Bools, products: NDArray[np.int64], confidence: float) -> dict[str, Estimate]:
    estimates = {}
    for name, values in measured.values.items():
        one = mean_interval(values[mask], products[mask], alpha_two_sided=1 - confidence, share=is_share(name))
        estimates[name] = Estimate(value=one.value, low=one.low, high=one.high, n=one.n, clusters=one.clusters)
    return estimates
