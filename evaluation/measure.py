"""From a system's raw answers to one value a query for every metric: what the gate, compare and reports work on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date as Date

import numpy as np

from evaluation.evalset import EvalSet
from evaluation.losses import losses_of
from evaluation.measured import Floats, Measured
from evaluation.metrics import METRICS, Lists, bounds_of
from evaluation.ranking import rank_record
from evaluation.slices import slices_of
from evaluation.system import CONTRACT, System, View
from evaluation.truth import record_of
from reporting.errors import DataError

BOUNDED = ("hit", "recall", "capped_recall")


def measure(
    system: System,
    evalset: EvalSet,
    *,
    ks: Sequence[int] = (1, 5, 10),
    day: Date | None = None,
    left_window: Collection[str] = (),
) -> Measured:
    """Rank a system's answers canonically and compute every metric and loss of every query.

    Args:
        system: With the served view at least.
        evalset: The set that its answers are to.
        ks: Cuts, each >= 1; repeated ones count once.
        day: The day whose live pictures should be found; None: the set's snapshot (`gallery.as_of`), and where that is
            not dated all pictures without a takedown.
        left_window: Groups that left the window this release, for the slice `left_window=yes`.

    Raises:
        DataError: A wrong k, a system without a served view, no query answered at all (which is a failure of the run
            and not a score of 0), or answers that `rank` refuses.
    """
    cuts = _cuts(ks)
    if View.SERVED not in system.views:
        raise DataError(f"system {system.name}: it has no served view; without one there is nothing to judge")
    answers = system.views[View.SERVED]
    record = record_of(evalset, day or evalset.gallery.as_of)
    views = {view: rank_record(one, record) for view, one in sorted(system.views.items())}
    served = views[View.SERVED]
    if not served.answered.any() and not _is_broken(system):
        raise _nothing_answered(system, evalset)
    lists = Lists(served)
    bounds = {f"{base}@{k}": bounds_of(f"{base}@{k}", lists) for base in BOUNDED for k in cuts}
    values = _values(lists, bounds, cuts)
    for k in cuts:
        values |= losses_of(views, k)
    n = len(record.query_ids)
    return Measured(
        system=system.name,
        set_id=evalset.set_id,
        query_ids=record.query_ids,
        clusters=tuple(query.cluster for query in evalset.queries),
        values=values,
        bounds=bounds,
        slices=slices_of(evalset, left_window=left_window),
        views=views,
        facts=system.facts,
        inputs=dict(system.inputs),
        curve=dict(system.curve),
        errors=dict(answers.errors),
        statuses=tuple(answers.statuses),
        absent=system.absent,
        seconds=np.full(n, np.nan) if answers.seconds is None else np.asarray(answers.seconds, np.float64),
    )


def _cuts(ks: Sequence[int]) -> tuple[int, ...]:
    cuts = tuple(sorted(set(ks)))
    if not cuts or any(isinstance(k, bool) or not isinstance(k, int) or not 0 < k < 10**6 for k in cuts):
        raise DataError(f"measure: k {tuple(ks)}; expected at least one whole number from 1 to 999999")
    return cuts


def _values(
    lists: Lists, bounds: Mapping[str, tuple[Floats, Floats, Floats]], cuts: Sequence[int]
) -> dict[str, Floats]:
    """Return every metric of every query; of those with bounds the worst order of ties."""
    values: dict[str, Floats] = {}
    for base, metric in METRICS.items():
        for k in cuts if metric.has_k else (0,):
            name = f"{base}@{k}" if metric.has_k else base
            values[name] = bounds[name][0] if name in bounds else metric.value(lists, k)
    return values


def _is_broken(system: System) -> bool:
    """Say whether a system was not asked because its index is broken: that is a verdict, not a run that failed."""
    return any(fact.metric == CONTRACT and fact.value for fact in system.facts)


def _nothing_answered(system: System, evalset: EvalSet) -> DataError:
    return DataError(
        f"system {system.name}: nothing answered: none of {len(evalset.queries)} queries of {evalset.set_id}"
        f" ({_reasons(system)}); a system that was not asked has no score"
    )


def _reasons(system: System) -> str:
    """Say how the queries ended, and one message of an error."""
    answers = system.views[View.SERVED]
    counts: dict[str, int] = {}
    for status in answers.statuses:
        counts[status.value] = counts.get(status.value, 0) + 1
    said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    first = next(iter(answers.errors.items()), None)
    return said if first is None else f"{said}; {first[0]}: {first[1]}"
