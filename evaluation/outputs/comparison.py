"""Candidate and baselines slice by slice: means with intervals, and where the candidate lost most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.case import same_answers, values_of
from evaluation.judging import is_share
from evaluation.measured import Bools, Measured
from evaluation.metrics import split_name
from evaluation.verdict import GateVerdict
from reporting.errors import ConfigError

if TYPE_CHECKING:
    from evaluation.noninferiority import Difference
    from evaluation.stats import Interval

MOST_SLICES = 40


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One metric of one slice.

    Attributes:
        metric: `hit@10`, ...
        slice: `all`, `category=shoes`, ...
        systems: Role (`candidate`, `release`, `champion`) -> mean with its interval.
        differences: Baseline -> candidate less baseline.
    """

    metric: str
    slice: str
    systems: Mapping[str, Interval]
    differences: Mapping[str, Difference]

    @property
    def regression(self) -> float:
        """Return the greatest loss against a baseline, 0 where none is worse."""
        return max((-one.value for one in self.differences.values()), default=0.0)


def headline_cut(verdict: GateVerdict, candidate: Measured) -> int:
    """Return the cut that the report speaks of: the deepest of a hit@k or recall@k that is gated, else the deepest."""
    measured = {int(name.partition("@")[2]) for name in candidate.values if name.startswith("hit@")}
    gated = {_cut(rule.metric) for rule in verdict.rules if rule.metric.split("@")[0] in ("hit", "recall")}
    return max((gated & measured) or measured or {10})


def _cut(metric: str) -> int:
    try:
        return split_name(metric)[1]
    except ConfigError:
        return 0


def headline_metrics(candidate: Measured, k: int) -> tuple[str, ...]:
    """Return the metrics that slices are compared in."""
    return tuple(name for name in (f"recall@{k}", f"hit@{k}") if name in candidate.values)


def compared_slices(
    candidate: Measured,
    baselines: Mapping[str, Measured],
    metric: str,
    *,
    alpha: float,
    most: int = MOST_SLICES,
) -> list[SliceRow]:
    """Compare the slices of a set in one metric.

    Args:
        candidate: What is judged.
        baselines: Role -> system, of the same queries.
        metric: Of queries, in [0, 1].
        alpha: One-sided error of each bound, as of the gate's rules.
        most: Slices at most: `all`, then those that lost most, then the largest.

    Returns:
        Rows in the order of the set's slices.
    """
    from evaluation.noninferiority import difference_interval
    from evaluation.stats import mean_interval

    systems = {"candidate": candidate, **baselines}
    columns = {role: values for role, one in systems.items() if (values := values_of(one, metric)) is not None}
    if "candidate" not in columns:
        return []
    identical = {role: same_answers(candidate, baselines[role]) for role in columns if role in baselines}
    products = np.unique(np.array(candidate.clusters, np.str_), return_inverse=True)[1].astype(np.int64)
    share, chosen, rows = is_share(metric), _chosen(candidate.slices, columns, most), []
    for name, mask in candidate.slices.items():
        if name not in chosen:
            continue
        here, clusters = {role: values[mask] for role, values in columns.items()}, products[mask]
        means = {
            role: mean_interval(values, clusters, alpha_two_sided=2 * alpha, share=share)
            for role, values in here.items()
        }
        differences = {
            role: difference_interval(
                here["candidate"], here[role], clusters, alpha=alpha, share=share, identical=is_same
            )
            for role, is_same in identical.items()
        }
        rows.append(SliceRow(metric, name, means, differences))
    return rows


def _chosen(slices: Mapping[str, Bools], columns: Mapping[str, np.ndarray], most: int) -> set[str]:
    ours = columns["candidate"]

    def weight(name: str) -> tuple[bool, float, int]:
        mask = slices[name]
        drops = [float((theirs[mask] - ours[mask]).mean()) for role, theirs in columns.items() if role != "candidate"]
        return name == "all", round(max([0.0, *drops]), 12), int(mask.sum())

    filled = [name for name, mask in slices.items() if mask.any()]
    return set(sorted(filled, key=lambda name: (weight(name), name), reverse=True)[:most])


def regressions(rows: Sequence[SliceRow], most: int) -> list[SliceRow]:
    """Return the rows in which the candidate is worse than a baseline, the greatest loss first, `all` left out."""
    worse = [row for row in rows if row.regression > 0 and row.slice != "all"]
    return sorted(worse, key=lambda row: (-round(row.regression, 12), row.metric, row.slice))[:most]
