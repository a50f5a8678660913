"""What of a task's day has been reported, group by group, and whether more may come: the ground of measured kinds.

A pass needs all leaves: what looks right while some are missing is not evaluated. A breach does not: it stands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from checks.kinds.base import Finding
from checks.leaves import place_of, planids_of
from checks.result import Place, Status
from checks.selection import instance_name
from checks.view import Group, View
from reporting.measures import value_of
from reporting.plans import Leaf
from reporting.record import State, TaskRecord
from reporting.topology import Dimension, TaskSpec


@dataclass(frozen=True)
class Reported:
    """One group of a task's leaves of the judged day.

    Attributes:
        task: The task.
        by: Dimensions of the group; () for the task as a whole.
        group: Their values.
        leaves: Those with a record that counts, and those a manifest expects; sorted.
        records: Those that count, in the order of their leaves.
        waiting: More may come: a leaf is missing and its plan still open, or the plan has not said which leaves
            there will be.
    """

    task: str
    by: tuple[Dimension, ...]
    group: Group
    leaves: tuple[Leaf, ...]
    records: tuple[TaskRecord, ...]
    waiting: bool

    @property
    def missing(self) -> int:
        """Leaves without a record."""
        return len(self.leaves) - len(self.records)

    @property
    def instance(self) -> str:
        """Name of the instance within a check: `detect subinstance=0003`."""
        return instance_name(self.task, self.by, self.group)

    def values(self, measure: str) -> list[float]:
        """Return the measure of each record that holds it; see `reporting.measures`."""
        return [value for record in self.records if (value := value_of(record, measure)) is not None]

    def sum_of(self, measure: str) -> float | None:
        """Return the sum over the records that hold the measure; None where none does."""
        values = self.values(measure)
        return math.fsum(values) if values else None

    def without(self, measure: str) -> int:
        """Return how many records should hold the measure and do not; skipped ones have nothing to measure."""
        return sum(record.state is not State.SKIPPED and value_of(record, measure) is None for record in self.records)

    def place(self, view: View) -> Place:
        """Return what a finding about the group is about; the plan only where all leaves have the same."""
        leaves = self.leaves or (Leaf(self.task, view.date),)
        return place_of(view, self.task, leaves, by=self.by, group=self.group)

    def planids(self, view: View) -> list[str]:
        """Return the plans whose records the group is made of, sorted."""
        return planids_of(view, self.leaves)

    def unjudged(self, view: View, reason: str, *, counts: bool = True, unit: str = "items") -> Finding:
        """Return that the group could not be judged, and why."""
        return Finding(self.instance, self.place(view), Status.NOT_EVALUATED, reason, counts=counts, unit=unit)

    def too_early(self, view: View) -> Finding | None:
        """Return why the group cannot be judged yet or at all; None where there is something to judge.

        While more may come nothing is judged, and that does not count. No record at all after that does.
        """
        if self.waiting:
            found = f"{len(self.records)} of {len(self.leaves)} leaves have reported" if self.leaves else "no record"
            return self.unjudged(view, f"waiting: {found}, and the plan is still open", counts=False)
        if not self.records:
            return self.unjudged(view, "no record" if self.leaves else "no record, and none is expected")
        return None

    def unless_missing(self, view: View, finding: Finding) -> Finding:
        """Return a finding as it is, except that nothing passes while leaves are missing."""
        if finding.status is not Status.PASS or not self.missing:
            return finding
        told = f"{self.missing} of {len(self.leaves)} leaves have no record; of the others: {finding.reason}"
        return self.unjudged(view, told, unit=finding.unit)


def reported(view: View, task: str, by: Sequence[Dimension]) -> list[Reported]:
    """Return a task's groups of the day, sorted; without any leaf the one group () of an empty task."""
    groups: dict[Group, list[Leaf]] = view.grouped(task, by)
    if not groups:
        nothing_yet = view.is_open(Leaf(task, view.date))
        return [Reported(task, (), (), (), (), waiting=nothing_yet)]
    more = _more_leaves_may_come(view, task, groups.values())
    return [
        _of_group(view, task, tuple(by), group, leaves, more_leaves_may_come=more) for group, leaves in groups.items()
    ]


def _of_group(
    view: View, task: str, by: tuple[Dimension, ...], group: Group, leaves: list[Leaf], *, more_leaves_may_come: bool
) -> Reported:
    records = tuple(record for record in view.records_of(leaves) if record is not None)
    waiting = more_leaves_may_come or any(leaf not in view.counting and view.is_open(leaf) for leaf in leaves)
    return Reported(task, by, group, tuple(leaves), records, waiting)


def _more_leaves_may_come(view: View, task: str, groups: Iterable[Sequence[Leaf]]) -> bool:
    """Tell whether an open plan has not said yet which leaves the task will have.

    A task that does not split has one leaf. Of others the manifest holds all leaves as soon as it holds one.
    """
    if not view.topology.task(task).grain:
        return False
    one_of_each = {view.planid(leaf): leaf for leaves in groups for leaf in leaves}
    return any(
        not any(leaf.task == task and leaf.date == view.date for leaf in view.expected.get(planid or "", ()))
        for planid, one in one_of_each.items()
        if view.is_open(one)
    )


def unit_of(spec: TaskSpec, measure: str) -> str:
    """Return what a task's measure counts, in the plural.

    Example:
        >>> from reporting.topology import TaskSpec
        >>> spec = TaskSpec(unit_in="picture", unit_out="box")
        >>> unit_of(spec, "dropped.blurred"), unit_of(spec, "produced"), unit_of(spec, "metrics.bytes")
        ('pictures', 'boxes', 'bytes')
    """
    field, _, name = measure.partition(".")
    if field in ("records", "seconds"):
        return field
    if field == "metrics":
        return name
    return plural(spec.unit_out if field == "produced" else spec.unit_in)


def plural(noun: str) -> str:
    """Return an English noun's regular plural: box, boxes; query, queries; row, rows."""
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if re.search(r"(s|x|z|ch|sh)$", noun) else f"{noun}s"
