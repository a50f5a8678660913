"""What a rule is judged on: the candidate, its baselines, and how a metric and a slice are found in them. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evaluation.gate_spec import Baseline, GateSpec, RuleBase
from evaluation.measured import Bools, Floats, Measured, Ranked
from evaluation.system import Fact, View
from evaluation.verdict import RuleResult, RuleStatus
from reporting.errors import nearest

TOLERANCE = 1e-12
"""0.7 pp and 7 of 1,000 queries are one number that two roundings write differently."""
DIGITS = 12
"""Of every figure in a verdict: the last bits of a sum depend on the machine's vector length."""
MOST_NAMED = 20

_MODEL = re.compile(r"(^|[/:._-])models?([/:._-]|$)")


@dataclass(frozen=True)
class Case:
    """Everything that rules look at.

    Attributes:
        spec: The gate.
        candidate: What is judged.
        baselines: `release` and `champion`, where given.
        counts: Of the candidate (`counts_of`), which rules may name as metrics too.
    """

    spec: GateSpec
    candidate: Measured
    baselines: Mapping[Baseline, Measured]
    counts: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def identical(self) -> Mapping[Baseline, bool]:
        """Return for each baseline whether it gave the very same lists: an A/A run, whose differences are 0."""
        return {name: same_answers(self.candidate, other) for name, other in self.baselines.items()}

    @cached_property
    def products(self) -> NDArray[np.int64]:
        """Return the product of each query as a number, (n,)."""
        return np.unique(np.array(self.candidate.clusters, np.str_), return_inverse=True)[1].astype(np.int64)

    def clusters(self, mask: Bools, unit: str = "product") -> NDArray[np.int64]:
        """Return what is resampled among the queries of a slice: products, or (`none`) each query alone."""
        return self.products[mask] if unit == "product" else np.arange(int(mask.sum()))

    def fact(self, measured: Measured, metric: str, slice_name: str) -> Fact | None:
        """Return a fact; of the candidate the verdict's counts are facts too."""
        found = measured.fact(metric, slice_name)
        if found is None and measured is self.candidate and slice_name == "all" and metric in self.counts:
            return Fact(metric=metric, value=self.counts[metric], n=len(measured.query_ids))
        return found

    def expand(self, rule: RuleBase) -> list[str]:
        """Return the slices of a rule, by name; the pattern itself where nothing fits it."""
        if "*" not in rule.slice:
            return [rule.slice]
        known = self.candidate.slices if values_of(self.candidate, rule.metric) is not None else self._told(rule.metric)
        return sorted(name for name in known if fits(rule.slice, name)) or [rule.slice]

    def _told(self, metric: str) -> set[str]:
        return {fact.slice for fact in self.candidate.facts if fact.metric == metric}

    def not_measured(self, rule: RuleBase) -> str:
        """Return the sentence for a metric that the candidate does not have."""
        known = {*self.candidate.values, *self.counts, *(fact.metric for fact in self.candidate.facts)}
        return f"{rule.metric} was not measured of {self.candidate.system}; {nearest(rule.metric, known)}"


def values_of(measured: Measured, metric: str) -> Floats | None:
    """Return the value of each query, (n,); of `hit@k` by the worst order of ties; None: no metric of queries."""
    if metric in measured.bounds:
        return measured.bounds[metric][0]
    return measured.values.get(metric)


def fits(pattern: str, name: str) -> bool:
    """Say whether a slice fits a pattern: the same dimensions in the same order, `*` for any value.

    Example:
        >>> fits("day=*", "day=2026-01-05"), fits("day=*", "category=a,day=2026-01-05"), fits("all", "all")
        (True, False, True)
    """
    wanted, found = pattern.split(","), name.split(",")
    return len(wanted) == len(found) and all(
        one == other or (one.endswith("=*") and other.startswith(one[:-1]))
        for one, other in zip(wanted, found, strict=True)
    )


def same_answers(one: Measured, other: Measured) -> bool:
    """Say whether two systems answered every query with the same pictures in the same order."""
    ours, theirs = one.views[View.SERVED], other.views[View.SERVED]
    return (
        one.query_ids == other.query_ids
        and np.array_equal(ours.answered, theirs.answered)
        and _same_names(ours, theirs)
        and one.values.keys() == other.values.keys()
        and all(np.array_equal(one.values[name], other.values[name], equal_nan=True) for name in one.values)
    )


def _same_names(ours: Ranked, theirs: Ranked) -> bool:
    width = min(ours.image_names.shape[1], theirs.image_names.shape[1])
    return np.array_equal(ours.image_names[:, :width], theirs.image_names[:, :width]) and all(
        bool((ranked.image_names[:, width:] == "").all()) for ranked in (ours, theirs)
    )


def model_changed(candidate: Mapping[str, str], baseline: Mapping[str, str]) -> bool | None:
    """Say whether the models among two systems' inputs differ; None: neither names one (run files).

    An input is a model's if one part of its name says so: `model`, `shoes/model`, `model.fp16`.

    Example:
        >>> model_changed({"model": "a", "nprobe": "1"}, {"model": "a", "nprobe": "2"}), model_changed({}, {})
        (False, None)
    """
    ours, theirs = ({name: sha for name, sha in of.items() if _MODEL.search(name)} for of in (candidate, baseline))
    return None if not ours and not theirs else ours != theirs


def finite(value: float | None) -> float | None:
    """Return a number as a verdict writes it; None for what JSON has no number for."""
    return None if value is None or not math.isfinite(value) else round(float(value), DIGITS) + 0.0


def told(
    rule: RuleBase,
    slice_name: str,
    status: RuleStatus,
    reason: str,
    *,
    limit: float,
    vs: str | None = None,
    value: float | None = None,
    interval: tuple[float, float] | None = None,
    n: int | None = None,
    clusters: int | None = None,
    flipped: float | None = None,
    needed: int | None = None,
    worst: tuple[str, ...] = (),
) -> RuleResult:
    """Return the result of a rule on one slice, its figures as a verdict writes them."""
    low, high = (None, None) if interval is None else (finite(interval[0]), finite(interval[1]))
    return RuleResult(
        id=rule.id,
        kind=str(getattr(rule, "kind", "")),
        metric=rule.metric,
        slice=slice_name,
        vs=vs,
        status=status,
        value=finite(value),
        interval=None if low is None or high is None else (low, high),
        limit=finite(limit) or 0.0,
        n=n,
        clusters=clusters,
        flipped=finite(flipped),
        needed=needed,
        reason=reason,
        worst=worst[:MOST_NAMED],
    )


def at_least(low: float, high: float, limit: float) -> RuleStatus:
    """Judge an interval by a lower limit: above it as a whole, below it as a whole, or neither."""
    if low >= limit - TOLERANCE:
        return "pass"
    return "fail" if high < limit - TOLERANCE else "inconclusive"


def at_most(low: float, high: float, limit: float) -> RuleStatus:
    """Judge an interval by an upper limit."""
    if high <= limit + TOLERANCE:
        return "pass"
    return "fail" if low > limit + TOLERANCE else "inconclusive"


def underpowered(rule: RuleBase, status: RuleStatus) -> RuleStatus:
    """Return what a rule says on too few queries: what it is told to, but what is refuted even so is refuted."""
    return "fail" if status == "fail" and rule.on_underpowered == "inconclusive" else rule.on_underpowered
