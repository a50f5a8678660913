"""Ratio: one measure in relation to another must lie within bounds, for a task or for each of its groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from checks.kinds.base import Check, Finding, Instance, Levels, Table
from checks.reported import Reported, reported, unit_of
from checks.selection import Except, GroupBy, Tasks, grain_within, require_grain, tasks_of
from checks.view import View, group_of
from reporting.measures import parse_measure, value_of
from reporting.topology import DIMENSIONS, Topology

Bounds = tuple[float | None, float | None]
"""[low, high], both allowed values; null leaves that side open."""


class Ratio(Check):
    """`{kind: ratio, value: "dropped.near_duplicate / input", between: [0, 0.4], tasks: [dedup]}`.

    Both measures are summed over the records that count, then divided: leaves weigh by their size. A denominator of
    0, a record that lacks a metric, and a ratio that is right while leaves are missing are `not_evaluated`.
    """

    kind: Literal["ratio"]
    value: Annotated[str, Field(pattern=r"^[^/]*[^/\s][^/]*/[^/]*[^/\s][^/]*$")]
    """`NUMERATOR / DENOMINATOR`, each a measure (`reporting.measures`)."""
    tasks: Tasks = "*"
    """Which tasks; each must know both measures."""
    except_: Except = ()
    """Tasks to leave out."""
    group_by: GroupBy = ()
    """Dimensions to judge within; of each task those that it splits by."""
    between: Bounds
    """[low, high]; a ratio equal to a bound passes."""
    levels: Levels = Levels()
    """By the share of the bound that the ratio lies beyond it; beyond a bound of 0 is more than any share."""

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        low, high = self.between
        if low is None and high is None:
            raise ValueError("between: both ends are open, so that nothing could fail; give [low, high] or one of them")
        if low is not None and high is not None and low > high:
            raise ValueError(f"between: low {low:g} is above high {high:g}")
        return self

    @property
    def measures(self) -> tuple[str, str]:
        """Numerator and denominator."""
        numerator, _, denominator = self.value.partition("/")
        return numerator.strip(), denominator.strip()

    def expand(self, topology: Topology) -> list[Instance]:
        """See `Check.expand`: an instance for each task."""
        where = f"check {self.id}"
        tasks = tasks_of(topology, self.tasks, self.except_, f"{where}: tasks")
        require_grain(topology, tasks, self.group_by, where)
        for task in tasks:
            for measure in self.measures:
                parse_measure(measure, topology.task(task), f"{where}: value, of task {task}")
        return [
            Instance(self.id, self.kind, task, task, None, grain_within(topology, (task,), self.group_by))
            for task in tasks
        ]

    def judge(self, view: View) -> Iterator[Finding]:
        """See `Check.judge`: one finding for each task and group."""
        for instance in self.expand(view.topology):
            for group in reported(view, instance.task, grain_within(view.topology, (instance.task,), self.group_by)):
                yield self._of_group(view, group)

    def _of_group(self, view: View, group: Reported) -> Finding:
        early = group.too_early(view)
        if early is not None:
            return early
        for measure in self.measures:
            if lacking := group.without(measure):
                return group.unjudged(view, f"{lacking} of {len(group.records)} records do not hold {measure}")
        numerator, denominator = (group.sum_of(measure) for measure in self.measures)
        if numerator is None or denominator is None:
            return group.unjudged(view, f"no record holds {self.measures[numerator is not None]}")
        if denominator == 0:
            return group.unjudged(view, f"{self.measures[1]} is 0: the ratio is not defined")
        return group.unless_missing(view, self._judged(view, group, numerator, denominator))

    def _judged(self, view: View, group: Reported, numerator: float, denominator: float) -> Finding:
        value = numerator / denominator
        broken = _broken(value, self.between)
        status = self.levels.of(broken.by, broken.bound, 0)
        expected, tolerance = _as_expected(self.between)
        table = self._table(view, group, broken.bound) if broken.by else None
        return Finding(
            group.instance,
            group.place(view),
            status,
            f"{self.value} is {value:.4g} ({numerator:,.6g} / {denominator:,.6g}), allowed is {_told(self.between)}",
            value=value,
            expected=expected,
            tolerance=tolerance,
            numerator=numerator,
            denominator=denominator,
            unit=unit_of(view.topology.task(group.task), self.measures[0]),
            table=table,
            details={"between": list(self.between), "planids": group.planids(view)},
        )

    def _table(self, view: View, group: Reported, bound: float) -> Table | None:
        """Return each leaf's numerator, and what it would be at the broken bound."""
        grain = view.topology.task(group.task).grain
        dimensions = tuple(dim for dim in DIMENSIONS if dim in grain and dim not in group.by)
        leaves = [leaf for leaf in group.leaves if leaf in view.counting]
        tops, bottoms = (
            np.array([value_of(view.counting[leaf], measure) or 0.0 for leaf in leaves]) for measure in self.measures
        )
        expected = bottoms * bound
        if not dimensions or min(tops.min(), expected.min()) < 0:
            return None
        return Table(dimensions, tuple(group_of(leaf, dimensions) for leaf in leaves), tops, expected, exact=False)


class _Broken(NamedTuple):
    by: float
    """How far beyond the bound, 0 where none is broken."""
    bound: float


def _broken(value: float, between: Bounds) -> _Broken:
    low, high = between
    if low is not None and value < low:
        return _Broken(low - value, low)
    if high is not None and value > high:
        return _Broken(value - high, high)
    return _Broken(0, 0)


def _as_expected(between: Bounds) -> tuple[float, float]:
    """Return the middle of the bounds and half their distance; of one bound itself and 0."""
    low, high = between
    if low is None or high is None:
        return next(bound for bound in between if bound is not None), 0.0
    return (low + high) / 2, (high - low) / 2


def _told(between: Bounds) -> str:
    low, high = between
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
