"""What one scan brought: the records of one business day as of a moment, the registry, and sums of the days before.

Pure. Every check of a run judges the same view, and nothing it reads comes from anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import datetime
from functools import cached_property

from checks.history import History
from reporting.effective import EffectivePlans, leaf_of
from reporting.plans import Leaf, Plan, PlanState
from reporting.record import TaskRecord
from reporting.topology import Dimension, Topology

Group = tuple[str, ...]
"""Values of some dimensions, in the order `reporting.topology.DIMENSIONS` has them."""


@dataclass(frozen=True)
class View:
    """One day, as it could be known at `as_of`.

    Attributes:
        topology: The task graph.
        date: The business day that is judged.
        as_of: Aware; nothing later is in the view.
        records: Of the day, of every plan, one for each key: what the store answers at `as_of`.
        other_days: Records of other days that the day's window tasks have consumed.
        plans: All that touch the day, the days consumed and the history.
        expected: Plan to the leaves of its manifest; a plan that has sealed no split is missing here or empty.
        history: Sums of the days before.
    """

    topology: Topology
    date: Date
    as_of: datetime
    records: Sequence[TaskRecord]
    other_days: Sequence[TaskRecord] = ()
    plans: Sequence[Plan] = ()
    expected: Mapping[str, frozenset[Leaf]] = field(default_factory=dict)
    history: History = field(default_factory=History)

    @cached_property
    def effective(self) -> EffectivePlans:
        """Answers which plan counts for a leaf at `as_of`."""
        return EffectivePlans(self.plans, self.as_of)

    @cached_property
    def counting(self) -> Mapping[Leaf, TaskRecord]:
        """The records that count, by leaf: those of each leaf's effective plan."""
        return {leaf_of(record.key): record for record in self.records if self.effective.counts(record.key)}

    @cached_property
    def leaves(self) -> Mapping[str, tuple[Leaf, ...]]:
        """Task to the day's leaves, sorted: those with a record that counts, and those a manifest expects.

        A manifest's leaf counts where its plan is the leaf's effective one: a superseded plan expects nothing more.
        """
        found = set(self.counting)
        for planid, leaves in self.expected.items():
            found |= {leaf for leaf in leaves if leaf.date == self.date and self.planid(leaf) == planid}
        by_task: dict[str, list[Leaf]] = {}
        for leaf in sorted(found):
            by_task.setdefault(leaf.task, []).append(leaf)
        return {task: tuple(leaves) for task, leaves in by_task.items()}

    @cached_property
    def _grouped(self) -> dict[tuple[str, tuple[Dimension, ...]], dict[Group, list[Leaf]]]:
        """What `grouped` has answered so far."""
        return {}

    @cached_property
    def plan(self) -> Mapping[str, Plan]:
        """Plans by id."""
        return {plan.planid: plan for plan in self.plans}

    def planid(self, leaf: Leaf) -> str | None:
        """Return the leaf's effective plan, or None."""
        found = self.effective.of(leaf)
        return None if found is None else found.planid

    def is_open(self, leaf: Leaf) -> bool:
        """Tell whether the leaf's effective plan is still at work at `as_of`: what is missing may still come."""
        plan = self.plan.get(self.planid(leaf) or "")
        if plan is None or plan.state is PlanState.ABANDONED:
            return False
        return not (plan.was_complete(self.as_of) or plan.was_promoted(self.as_of))

    def grouped(self, task: str, by: Sequence[Dimension]) -> dict[Group, list[Leaf]]:
        """Return a task's leaves of the day by the values of some dimensions, sorted by group.

        Who asks the same again is given the same object, to be read only: most checks ask for the same groups.
        """
        found = self._grouped.get((task, tuple(by)))
        if found is None:
            groups: dict[Group, list[Leaf]] = {}
            for leaf in self.leaves.get(task, ()):
                groups.setdefault(group_of(leaf, by), []).append(leaf)
            found = self._grouped[task, tuple(by)] = dict(sorted(groups.items()))
        return found

    def records_of(self, leaves: Iterable[Leaf]) -> list[TaskRecord | None]:
        """Return the record that counts of each leaf, None where it has not reported."""
        return [self.counting.get(leaf) for leaf in leaves]


def group_of(leaf: Leaf, by: Sequence[Dimension]) -> Group:
    """Return a leaf's values of some dimensions."""
    return tuple(getattr(leaf, dimension) for dimension in by)
