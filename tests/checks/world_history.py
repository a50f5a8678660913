"""Baselines of `tests.checks.world`, summed record by record: what an aggregation in a store must agree with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date as Date
from datetime import datetime, timedelta

import numpy as np

from checks.history import Baseline, History, Need
from reporting.effective import EffectivePlans
from reporting.plans import Plan, PlanKind
from reporting.record import TaskRecord

Booked = tuple[Sequence[TaskRecord], Sequence[Plan]]
"""Records of a day, of all plans, and these plans."""


def history_of(days: Mapping[Date, Booked], needs: Sequence[Need], date: Date, as_of: datetime) -> History:
    """Return the baselines of some needs.

    Args:
        days: At least as many before `date` as the needs name.
        needs: What is asked for.
        date: The judged day, which is not part of it.
        as_of: The moment of knowledge.

    Returns:
        NaN where a group has no record of a day, or none that a daily plan made: of a repair of some leaves the rest
        still counts.
    """
    baselines = {}
    for need in needs:
        span = tuple(date - timedelta(days=n) for n in range(need.days, 0, -1))
        held: dict[tuple[str, ...], dict[Date, list[float]]] = {}
        for day in span:
            for group, records in _examples(days[day], need, as_of).items():
                values = [measured(record, need.measure) for record in records]
                if known := [value for value in values if value is not None]:
                    held.setdefault(group, {})[day] = known
        groups = tuple(sorted(held))
        sums, means = np.full((2, len(groups), len(span)), np.nan)
        for row, group in enumerate(groups):
            for column, day in enumerate(span):
                if day in held[group]:
                    sums[row, column] = sum(held[group][day])
                    means[row, column] = sums[row, column] / len(held[group][day])
        baselines[need.task, need.measure, tuple(need.by)] = Baseline(groups, span, sums, means)
    return History(baselines)


def _examples(booked: Booked, need: Need, as_of: datetime) -> dict[tuple[str, ...], list[TaskRecord]]:
    """Return the records that count, by group; those of a group that no daily plan had a part in are no example."""
    records, plans = booked
    effective = EffectivePlans([plan for plan in plans if plan.created_at <= as_of], as_of)
    daily = {plan.planid for plan in plans if plan.kind is PlanKind.DAILY}
    groups: dict[tuple[str, ...], list[TaskRecord]] = {}
    for record in records:
        if record.key.task == need.task and record.reported_at <= as_of and effective.counts(record.key):
            group = tuple(getattr(record.key, dimension) for dimension in need.by)
            groups.setdefault(group, []).append(record)
    return {name: found for name, found in groups.items() if any(record.key.planid in daily for record in found)}


def measured(record: TaskRecord, measure: str) -> float | None:
    """Return a measure of one record, None where the record does not hold it."""
    head, _, name = measure.partition(".")
    if head == "metrics":
        return record.metrics.get(name)
    if name:
        return float(getattr(record, head).get(name, 0))
    totals = {"dropped": record.dropped_total, "failed": record.failed_total, "records": 1, "seconds": record.seconds}
    return float(totals[head] if head in totals else getattr(record, head))
