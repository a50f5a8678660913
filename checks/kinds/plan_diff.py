"""Plan diff: what another plan has made of a day's leaves, against what counted before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from checks.kinds.base import Check, Finding, Instance, Levels, Table, Tolerance
from checks.leaves import MOST
from checks.reported import unit_of
from checks.result import Place, Status
from checks.selection import Except, GroupBy, Tasks, grain_within, instance_name, require_grain, tasks_of
from checks.view import Group, View, group_of
from reporting.effective import EffectivePlans, leaf_of
from reporting.key import Name
from reporting.measures import parse_measure, value_of
from reporting.plans import Leaf, Plan, PlanKind, PlanState
from reporting.record import State, TaskRecord
from reporting.topology import DIMENSIONS, Dimension, Topology


def _several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Kinds = Annotated[
    tuple[PlanKind, ...],
    Field(min_length=1),
    BeforeValidator(_several, json_schema_input_type=PlanKind | tuple[PlanKind, ...]),
]
"""Kinds of plans, one or a list."""


class PlanDiff(Check):
    """`{kind: plan_diff, candidate: rerun, tolerance: {rel: 0.005}, group_by: [subinstance]}`.

    The candidate is the latest plan of the named kinds that touches the day, is neither promoted nor abandoned, has
    completed, and whose leaves no later plan that was promoted has all done again. Only leaves within its scope are
    compared, of tasks that it has done: each measure is summed over its own records, and over what counted before it
    (or over the plan that `base` names). Nothing to compare is `not_evaluated` and does not count.

    Where none waits, the latest that was promoted is compared with what counts, on the leaves where that is itself: it
    passes, and what was found while it, or another one that it took the place of, was waiting is over.
    """

    kind: Literal["plan_diff"]
    base: Name = "effective"
    """`effective`, or the id of a plan."""
    candidate: Kinds = (PlanKind.RERUN,)
    """Kinds of plans to compare."""
    tasks: Tasks = "*"
    """Which tasks; each must know all measures."""
    except_: Except = ()
    """Tasks to leave out."""
    group_by: GroupBy = ()
    """Dimensions to judge within; of each task those that it splits by."""
    measures: Annotated[tuple[str, ...], Field(min_length=1)] = ("input", "produced")
    """What is compared, one finding for each; see `reporting.measures`."""
    tolerance: Tolerance = Tolerance()
    """How far the candidate's sum may be off; a breach exceeds both parts."""
    levels: Levels = Levels()
    """By the share of the base's sum that the candidate's is off."""

    def expand(self, topology: Topology) -> list[Instance]:
        """See `Check.expand`: an instance for each task and measure."""
        where = f"check {self.id}"
        tasks = tasks_of(topology, self.tasks, self.except_, f"{where}: tasks")
        require_grain(topology, tasks, self.group_by, where)
        for task in tasks:
            for measure in self.measures:
                parse_measure(measure, topology.task(task), f"{where}: measures, of task {task}")
        return [
            Instance(
                self.id, self.kind, f"{task} {measure}", task, None, grain_within(topology, (task,), self.group_by)
            )
            for task in tasks
            for measure in dict.fromkeys(self.measures)
        ]

    def judge(self, view: View) -> Iterator[Finding]:
        """See `Check.judge`: one finding for each task, measure and group."""
        comparison, why_not = self._comparison(view)
        for instance in self.expand(view.topology):
            _, measure = instance.instance.split(" ", 1)
            if comparison is None:
                place = Place(task=instance.task, date=view.date)
                yield Finding(instance.instance, place, Status.NOT_EVALUATED, why_not, counts=False)
                continue
            yield from self._of_task(view, comparison, instance.task, measure)

    def _comparison(self, view: View) -> tuple[_Comparison | None, str]:
        touching = [
            plan
            for plan in view.plans
            if plan.kind in self.candidate
            and view.date in plan.dates
            and plan.created_at <= view.as_of
            and plan.state is not PlanState.ABANDONED
            and plan.planid != self.base
        ]
        promoted = [plan for plan in touching if plan.was_promoted(view.as_of)]
        waiting = [plan for plan in touching if plan not in promoted and not _is_overtaken(view, plan)]
        if not waiting and promoted:
            return _Comparison(view, max(promoted, key=_made), self.base, counts=True), ""
        if not waiting:
            kinds = " or ".join(self.candidate)
            return None, f"nothing to compare: no plan of kind {kinds} that waits to be promoted"
        candidate = max(waiting, key=_made)
        if not candidate.was_complete(view.as_of):
            return None, f"plan {candidate.planid} is still at work"
        if self.base != "effective" and self.base not in view.plan:
            return None, f"nothing to compare: there is no plan {self.base!r} on this day"
        return _Comparison(view, candidate, self.base, counts=False), ""

    def _of_task(self, view: View, comparison: _Comparison, task: str, measure: str) -> Iterator[Finding]:
        by = grain_within(view.topology, (task,), self.group_by)
        groups = comparison.groups(task, by)
        if not groups:
            reason = (
                f"nothing to compare: plan {comparison.candidate.planid} has done nothing of it that counted before"
            )
            place = Place(task=task, date=view.date, planid=comparison.candidate.planid)
            yield Finding(f"{task} {measure}", place, Status.NOT_EVALUATED, reason, counts=False)
        for group, leaves in groups.items():
            place = Place(
                task=task,
                date=view.date,
                planid=comparison.candidate.planid,
                group=dict(zip(by, group, strict=True)),
            )
            yield self._of_group(
                view, comparison, place, measure, leaves, instance_name(f"{task} {measure}", by, group)
            )

    def _of_group(
        self, view: View, comparison: _Comparison, place: Place, measure: str, leaves: Sequence[Leaf], instance: str
    ) -> Finding:
        unit = unit_of(view.topology.task(place.task), measure)
        pairs = [(comparison.own.get(leaf), comparison.base(leaf)) for leaf in leaves]
        lacking = sum(_lacks(record, measure) for pair in pairs for record in pair)
        if lacking:
            reason = f"{lacking} records do not hold {measure}"
            return Finding(instance, place, Status.NOT_EVALUATED, reason, counts=not comparison.counts, unit=unit)
        actual, expected = (np.array([_of(pair[side], measure) for pair in pairs]) for side in (0, 1))
        value, before = float(actual.sum()), float(expected.sum())
        tolerance = self.tolerance.around(before)
        status = self.levels.of(value - before, before, tolerance)
        grain = view.topology.task(place.task).grain
        dimensions = tuple(dim for dim in DIMENSIONS if dim in grain and dim not in place.group)
        table = None
        if status is not Status.PASS and dimensions and min(actual.min(), expected.min()) >= 0:
            values = tuple(group_of(leaf, dimensions) for leaf in leaves)
            table = Table(dimensions, values, actual, expected, exact=True)
        than = _than(comparison, before, tolerance)
        return Finding(
            instance,
            place,
            status,
            f"{measure} of plan {comparison.candidate.planid} is {value:,.6g}, {than}",
            value=value,
            expected=before,
            tolerance=tolerance,
            numerator=value,
            denominator=before,
            unit=unit,
            table=table,
            details={
                "candidate": comparison.candidate.planid,
                "base": self.base,
                "leaves": len(leaves),
                "within": _within(leaves, view.leaves.get(place.task, ()), grain),
                "planids": [comparison.candidate.planid],
            },
        )


def _than(comparison: _Comparison, before: float, tolerance: float) -> str:
    if comparison.counts:
        return "and that is what counts: it was promoted"
    return f"of what counted before it {before:,.6g}; allowed is a difference of {tolerance:,.6g}"


@dataclass(frozen=True)
class _Comparison:
    """A candidate's own records, and those that it would replace."""

    view: View
    candidate: Plan
    name_of_base: str
    counts: bool
    """The candidate was promoted: it is compared with what counts, where that is itself."""

    @cached_property
    def own(self) -> dict[Leaf, TaskRecord]:
        return self._of_plan(self.candidate.planid)

    @cached_property
    def _named(self) -> dict[Leaf, TaskRecord]:
        return self._of_plan(self.name_of_base)

    @cached_property
    def _before(self) -> dict[Leaf, TaskRecord]:
        others = [plan for plan in self.view.plans if plan.planid != self.candidate.planid]
        effective = EffectivePlans(others, self.view.as_of)
        return {leaf_of(record.key): record for record in self.view.records if effective.counts(record.key)}

    def _of_plan(self, planid: str) -> dict[Leaf, TaskRecord]:
        return {leaf_of(record.key): record for record in self.view.records if record.key.planid == planid}

    @property
    def _base(self) -> Mapping[Leaf, TaskRecord]:
        if self.counts:
            return self.view.counting
        return self._before if self.name_of_base == "effective" else self._named

    def base(self, leaf: Leaf) -> TaskRecord | None:
        return self._base.get(leaf)

    def groups(self, task: str, by: Sequence[Any]) -> dict[Group, list[Leaf]]:
        """Return the leaves to compare, sorted; none where the candidate has not done the task, or nothing was there.

        A leaf in the candidate's scope that only one side has counts as 0 on the other.
        """
        own = {leaf for leaf in _leaves_of(self.view, self.candidate) if leaf.task == task}
        base = {leaf for leaf in self._base if leaf.task == task and self.candidate.covers(leaf)}
        if self.counts:
            own = base = {leaf for leaf in own | base if self.view.planid(leaf) == self.candidate.planid}
        groups: dict[Group, list[Leaf]] = {}
        for leaf in sorted(own | base) if own and base else ():
            groups.setdefault(group_of(leaf, by), []).append(leaf)
        return dict(sorted(groups.items()))


def _made(plan: Plan) -> tuple[datetime, str]:
    return plan.created_at, plan.planid


def _is_overtaken(view: View, plan: Plan) -> bool:
    """Tell whether a plan made later has done all its leaves again, and was promoted: this one is out of date."""
    mine = _leaves_of(view, plan)
    counting = [one for one in view.plans if one.was_promoted(view.as_of) and one.state is not PlanState.ABANDONED]
    later = [one for one in counting if _made(one) > _made(plan)]
    return bool(mine) and any(all(one.covers(leaf) for leaf in mine) for one in later)


def _leaves_of(view: View, plan: Plan) -> set[Leaf]:
    """Return the day's leaves that a plan has done or was to do."""
    done = {leaf_of(record.key) for record in view.records if record.key.planid == plan.planid}
    return done | {leaf for leaf in view.expected.get(plan.planid, ()) if leaf.date == view.date}


def _within(leaves: Sequence[Leaf], every: Sequence[Leaf], grain: Sequence[Dimension]) -> dict[str, list[str]]:
    """Return, by dimension, the values that were compared, where the task has others too."""
    found: dict[str, list[str]] = {}
    for dimension in (dimension for dimension in DIMENSIONS if dimension in grain):
        values = {getattr(leaf, dimension) for leaf in leaves}
        if len(values) <= MOST and not {getattr(leaf, dimension) for leaf in every} <= values:
            found[dimension] = sorted(values)
    return found


def _lacks(record: TaskRecord | None, measure: str) -> bool:
    return record is not None and record.state is not State.SKIPPED and value_of(record, measure) is None


def _of(record: TaskRecord | None, measure: str) -> float:
    return 0.0 if record is None else value_of(record, measure) or 0.0
