"""Version: all leaves of a task used the same model, space or code, and no task what another had not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date as Date
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from checks.comparisons import of_edges
from checks.kinds.base import Check, Finding, Instance, Table
from checks.leaves import counted, names_of, place_of, planids_of
from checks.result import Status
from checks.selection import Except, GroupBy, Tasks, grain_within, instance_name, require_grain, tasks_of
from checks.sides import Comparison, table_of
from checks.view import Group, View, group_of
from reporting.key import Name
from reporting.plans import Leaf
from reporting.record import State, TaskRecord
from reporting.topology import DIMENSIONS, Dimension, Law, Topology

PLAN = "plan"
"""Instead of a field, along edges: the plan whose items were consumed is the one that counts for them."""


class VersionCheck(Check):
    """`{kind: version, fields: [model, space], within: plan}`: each field is the same over a task's leaves.

    A leaf that books items but not the field counts as another version, and one that booked no items, or was
    skipped, is left out. A task none of whose records has the field is `not_evaluated` and does not count.

    With `along: true` also, on each edge that counts something, what the target booked is what all its sources booked
    (of a window: on every day that it read), where both have the field; and the plans whose items of the day it
    consumed are those that count for its sources: an index built from a plan that was replaced since is found.
    """

    model_config = ConfigDict(populate_by_name=True)

    kind: Literal["version"]
    fields: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Names in the records' `versions`."""
    tasks: Tasks = "*"
    """Which tasks; along edges, both ends must be among them."""
    except_: Except = ()
    """Tasks to leave out."""
    within: Literal["plan", "day"] = "plan"
    """Whether a repair may use another version than the plan it repairs."""
    group_by: GroupBy = ()
    """Dimensions within which it is the same: models may differ by category. Of each task those that it splits by."""
    along: bool = False
    """Whether versions and plans are compared along edges too."""

    def expand(self, topology: Topology) -> list[Instance]:
        """See `Check.expand`: `TASK FIELD` for each task and field, then `A->B FIELD` and `A->B plan` along edges."""
        where = f"check {self.id}"
        tasks = tasks_of(topology, self.tasks, self.except_, f"{where}: tasks")
        require_grain(topology, tasks, self.group_by, where)
        found = [
            Instance(self.id, self.kind, f"{task} {field}", task, None, grain_within(topology, (task,), self.group_by))
            for task in tasks
            for field in self._fields
        ]
        return found + [
            Instance(self.id, self.kind, f"{one.instance} {field}", one.target, one.source, ())
            for one in self._edges(topology)
            for field in self._fields_along
        ]

    def judge(self, view: View) -> Iterator[Finding]:
        """See `Check.judge`: one finding for each instance, the first sort also for each group."""
        for task in tasks_of(view.topology, self.tasks, self.except_, f"check {self.id}: tasks"):
            by = grain_within(view.topology, (task,), self.group_by)
            for field in self._fields:
                for group, leaves in view.grouped(task, by).items():
                    yield self._uniform(view, task, field, (by, group), leaves)
                if task not in view.leaves:
                    yield self._uniform(view, task, field, ((), ()), ())
        by_task: dict[str, list[TaskRecord]] = {}
        for record in (*view.records, *view.other_days) if self.along else ():
            by_task.setdefault(record.key.task, []).append(record)
        for compared in self._edges(view.topology):
            sources = _Sources(view, compared, by_task.get(compared.source, ()))
            for field in self._fields_along:
                yield _along(view, compared, field, sources)

    @property
    def _fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.fields))

    @property
    def _fields_along(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.fields, PLAN)))

    def _edges(self, topology: Topology) -> list[Comparison]:
        if not self.along:
            return []
        tasks = tasks_of(topology, self.tasks, self.except_, f"check {self.id}: tasks")
        edges = [edge for edge in topology.edges if edge.law is not Law.AFTER]
        return of_edges(topology, [edge for edge in edges if edge.source in tasks and edge.target in tasks])

    def _uniform(
        self, view: View, task: str, field: str, group: tuple[Sequence[Dimension], Group], leaves: Sequence[Leaf]
    ) -> Finding:
        found = {leaf: view.counting[leaf] for leaf in leaves if leaf in view.counting and _used(view.counting[leaf])}
        ours = {leaf: record.versions.get(field) for leaf, record in found.items()}
        plans: dict[str, dict[Leaf, str | None]] = {}
        for leaf, version in ours.items():
            plans.setdefault(found[leaf].key.planid if self.within == "plan" else "", {})[leaf] = version
        odd = {leaf: most for versions in plans.values() for leaf, most in _minority(versions).items()}
        verdict = _Verdict(view, task, f"{task} {field}", group=group, leaves=leaves)
        if not any(ours.values()):
            waiting = any(map(view.is_open, leaves or [Leaf(task, view.date)]))
            if found:
                return verdict.unjudged(f"no record of {task} names its {field}", counts=False)
            return verdict.unjudged(f"no record of {task} with items", counts=not waiting)
        if not odd:
            names = ", ".join(sorted({str(version) for version in ours.values()}))
            return verdict.passed(f"{counted(len(ours), 'leaves')} used {field} {names}", len(ours))
        leaf, most = min(odd.items())
        other = ours[leaf] or f"no {field}"
        told = (
            f"{counted(len(odd), 'leaves')} of {len(ours)} used another {field} than the others of their {self.within}"
        )
        return verdict.failed(f"{told}: {names_of([leaf])[0]} {other}, not {most}", ours, odd)


def _used(record: TaskRecord) -> bool:
    """Tell whether a record's task did anything in which a version could matter."""
    return record.state is not State.SKIPPED and record.input > 0


def _minority(versions: Mapping[Leaf, str | None]) -> dict[Leaf, str]:
    """Return the leaves without the most frequent version, and that version; of equally frequent ones the least."""
    counts = Counter(version for version in versions.values() if version is not None)
    if not counts:
        return dict.fromkeys(versions, "any")
    most = min(counts, key=lambda version: (-counts[version], version))
    return {leaf: most for leaf, version in versions.items() if version != most}


def _along(view: View, compared: Comparison, field: str, sources: _Sources) -> Finding:
    """Return whether each leaf of the target used what all it was made from had used."""
    ours: dict[Leaf, str | None] = {}
    odd: dict[Leaf, str] = {}
    for group, leaves in sources.targets.items():
        for leaf in leaves:
            record = view.counting.get(leaf)
            if record is None or not _used(record):
                continue
            used, made = sources.planids(record, group) if field == PLAN else sources.versions(record, group, field)
            if used and made:
                ours[leaf] = ", ".join(sorted(used))
                # A source without items need not have been read, whatever its plan; versions must not be mixed.
                if not (used <= made if field == PLAN else used == made):
                    odd[leaf] = ", ".join(sorted(made))
    every = [leaf for leaves in sources.targets.values() for leaf in leaves]
    name = f"{compared.instance} {field}"
    verdict = _Verdict(view, compared.target, name, source=compared.source, leaves=every)
    if not ours:
        return verdict.unjudged(
            f"no leaf of {compared.target} and its {compared.source} both name a {field}", counts=False
        )
    if not odd:
        return verdict.passed(
            f"{counted(len(ours), 'leaves')} used the {field} of what {compared.source} made", len(ours)
        )
    leaf, allowed_here = min(odd.items())
    told = f"{len(odd)} of {counted(len(ours), 'leaves')} used another {field} than {compared.source}"
    return verdict.failed(f"{told}: {names_of([leaf])[0]} {ours[leaf]}, not {allowed_here}", ours, odd)


class _Sources:
    """What the leaves of a target were made from."""

    def __init__(self, view: View, compared: Comparison, records: Iterable[TaskRecord]):
        self.view, self.compared = view, compared
        self.records: dict[tuple[Date, str, Group], list[TaskRecord]] = {}
        for record in records:
            group = tuple(getattr(record.key, dimension) for dimension in compared.grain)
            self.records.setdefault((record.key.date, record.key.planid, group), []).append(record)
        self.leaves = view.grouped(compared.source, compared.grain)
        self.targets = view.grouped(compared.target, compared.grain)

    def versions(self, record: TaskRecord, group: Group, field: str) -> tuple[set[str], set[str]]:
        """Return what the record used, and what the partitions that it consumed used; else those that count."""
        read = [one for one in record.consumed if one.task == self.compared.source]
        made = [made for one in read for made in self.records.get((one.date, one.planid, group), ())]
        if not read:
            made = [made for made in self.view.records_of(self.leaves.get(group, ())) if made is not None]
        return _known([record], field), _known(made, field)

    def planids(self, record: TaskRecord, group: Group) -> tuple[set[str], set[str]]:
        """Return the plans whose items of the day were consumed, and those that count for the sources."""
        read = {one.planid for one in record.consumed if (one.task, one.date) == (self.compared.source, self.view.date)}
        return read, set(planids_of(self.view, self.leaves.get(group, ())))


def _known(records: Iterable[TaskRecord], field: str) -> set[str]:
    return {record.versions[field] for record in records if _used(record) and field in record.versions}


class _Verdict:
    """Makes the findings of one instance; values are leaves."""

    def __init__(
        self,
        view: View,
        task: str,
        instance: str,
        *,
        leaves: Sequence[Leaf],
        source: str | None = None,
        group: tuple[Sequence[Dimension], Group] = ((), ()),
    ):
        self.view, self.task, self.leaves = view, task, leaves
        self.instance = instance_name(instance, *group)
        self.place = place_of(view, task, leaves, source=source, by=group[0], group=group[1])

    def unjudged(self, reason: str, *, counts: bool) -> Finding:
        return self._finding(Status.NOT_EVALUATED, reason, counts=counts)

    def passed(self, reason: str, leaves: int) -> Finding:
        return self._finding(Status.PASS, reason, value=leaves, expected=leaves, tolerance=0)

    def failed(self, reason: str, ours: Mapping[Leaf, str | None], odd: Mapping[Leaf, str]) -> Finding:
        versions = Counter(version or "none" for version in ours.values())
        return self._finding(
            Status.FAIL,
            reason,
            value=len(ours) - len(odd),
            expected=len(ours),
            tolerance=0,
            numerator=len(odd),
            denominator=len(ours),
            table=self._table(ours, odd),
            details={"versions": dict(versions.most_common(20)), "leaves": names_of(odd), "leaves_count": len(odd)},
        )

    def _finding(self, status: Status, reason: str, **rest: Any) -> Finding:
        details = {**rest.pop("details", {}), "planids": planids_of(self.view, self.leaves)}
        return Finding(self.instance, self.place, status, reason, unit="leaves", details=details, **rest)

    def _table(self, ours: Iterable[Leaf], odd: Mapping[Leaf, str]) -> Table | None:
        grain = self.view.topology.task(self.task).grain
        dimensions = [dim for dim in DIMENSIONS if dim in grain]
        return table_of(
            dimensions, ((group_of(leaf, dimensions), float(leaf not in odd), 1.0) for leaf in ours), exact=True
        )
