"""Faults to put into a day's records, to see which checks notice: what a real pipeline does wrong, in small.

Pure: a fault makes another view of one and changes nothing else than it says; no store hears of it. A spot is a place
where it can be put in so that a check could notice. Recipe to add one: a function that lists spots, one that injects,
and a line in FAULTS.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

from checks.kinds.fresh import due_at
from checks.losing import Where, lose, matches
from checks.view import View, group_of
from reporting.digest import Digest, item_hash
from reporting.effective import leaf_of
from reporting.key import RunKey
from reporting.plans import Cover, Leaf, Plan, PlanKind, PlanState, cover_of
from reporting.record import TaskRecord
from reporting.topology import DIMENSIONS, Dimension, Law

SHRUNK_BY = 0.03
DELAY = timedelta(hours=3)
"""How long after its deadline a delayed task reports: far beyond any grace."""
NO_PLAN = "no plan"
"""Detail of the spot where nobody has planned the day at all."""


class Spot(NamedTuple):
    """Where a fault is put in."""

    task: str
    where: tuple[tuple[Dimension, str], ...] = ()
    """Of which leaves; a dimension that is not named is not restricted."""
    source: str | None = None
    """The other end, where the fault is one of an edge."""
    detail: str = ""
    """What is otherwise, where that is a choice: the field of a swapped version."""

    def __str__(self) -> str:
        name = self.task if self.source is None else f"{self.source}->{self.task}"
        return " ".join(
            [name, *(f"{dimension}={value}" for dimension, value in self.where), *filter(None, [self.detail])]
        )

    @property
    def place(self) -> Where:
        """Its `where` as a mapping."""
        return dict(self.where)


@dataclass(frozen=True)
class Fault:
    """One class of faults.

    Attributes:
        name: Of the class.
        what: A sentence.
        spots: Lists where it can be put into a view, sorted.
        inject: Returns the view with the fault at a spot.
        base: Returns the view to compare with, where that is not the day as it is.
        harmless: Right checks say the same as before: noticing is that nothing is counted twice.
    """

    name: str
    what: str
    spots: Callable[[View], list[Spot]]
    inject: Callable[[View, Spot], View]
    base: Callable[[View], View] = lambda view: view
    harmless: bool = False


def _changed(view: View, records: Iterable[TaskRecord], *, gone: Collection[RunKey] = ()) -> View:
    new = {record.key: record for record in records}
    kept = [new.get(record.key, record) for record in view.records if record.key not in gone]
    return replace(view, records=kept)


def _counting(view: View) -> Iterator[TaskRecord]:
    """Yield the records that count, in the order of their leaves."""
    return (view.counting[leaf] for leaf in sorted(view.counting))


def _can_lose(view: View, task: str) -> bool:
    """Tell whether it shows that a task took in less: an edge says how much was handed on to it."""
    return any(edge.law is Law.EQUAL for edge in view.topology.upstream(task))


def _values(view: View, task: str, dimension: Dimension) -> list[str]:
    """Return the values of a dimension for which a task took in anything."""
    found = {getattr(r.key, dimension) for r in _counting(view) if r.key.task == task and r.input > 0}
    return sorted(found)


def _packages(view: View) -> list[Spot]:
    return [
        Spot(task, (("subinstance", package),))
        for task, spec in view.topology.tasks.items()
        if "subinstance" in spec.grain and _can_lose(view, task)
        for package in _values(view, task, "subinstance")
    ]


def _lost(view: View, spot: Spot) -> View:
    """Take a package away from a task on: its leaves never report, and what joins packages takes in less."""
    changed = lose(_counting(view), view.topology, spot.task, spot.place)
    after = set(view.topology.closure((spot.task,)))
    gone = {
        record.key
        for record in _counting(view)
        if record.key.task in after and matches(record.key, spot.place)  # `all` is no package
    }
    return _changed(view, changed, gone=gone)


def _shares(view: View) -> list[Spot]:
    found = []
    for task, spec in view.topology.tasks.items():
        if not _can_lose(view, task) or not any(r.key.task == task and r.input > 0 for r in _counting(view)):
            continue
        # What a fan-out divides by it cannot lose by: its items have no category before.
        by = next((dimension for dimension in DIMENSIONS if dimension in spec.work_grain), None)
        values = [] if by is None else _values(view, task, by)
        found += [Spot(task)] if by is None else [Spot(task, ((by, value),)) for value in values]
    return found


def _shrunk(view: View, spot: Spot) -> View:
    return _changed(view, lose(_counting(view), view.topology, spot.task, spot.place, SHRUNK_BY))


def _versioned(view: View) -> list[Spot]:
    """List (leaf, field) of tasks that used one version on all leaves of a plan, three or more: two could not tell."""
    used: dict[tuple[str, str, str], dict[Leaf, str]] = {}
    for record in _counting(view):
        for field, version in record.versions.items():
            if record.input > 0:
                used.setdefault((record.key.task, field, record.key.planid), {})[leaf_of(record.key)] = version
    return sorted(
        Spot(task, _where(leaf, view.topology.task(task).grain), detail=field)
        for (task, field, _), versions in used.items()
        if len(versions) > 2 and len(set(versions.values())) == 1
        for leaf in versions
    )


def _where(leaf: Leaf, grain: Collection[Dimension]) -> tuple[tuple[Dimension, str], ...]:
    return tuple((dimension, getattr(leaf, dimension)) for dimension in DIMENSIONS if dimension in grain)


def _swapped(view: View, spot: Spot) -> View:
    changed = []
    for record in _counting(view):
        if record.key.task == spot.task and matches(record.key, spot.place):
            versions = {**record.versions, spot.detail: f"{record.versions[spot.detail]}-other"}
            changed.append(record.model_copy(update={"versions": versions}))
    return _changed(view, changed)


def _repeated(view: View, spot: Spot) -> View:
    """Repair a package twice over with equal outcome: three plans hold the same leaves, and one counts."""
    cover = cover_of(view.topology, (spot.task,), None, tuple(spot.place.values()))
    first, second = (_repair(view, cover, number) for number in (1, 2))
    records = list(view.records)
    expected = dict(view.expected)
    for plan in (first, second):
        covered = [record for record in _counting(view) if plan.covers(leaf_of(record.key))]
        records += [_under(plan, record) for record in covered]
        owed = (leaf for leaves in view.leaves.values() for leaf in leaves)
        expected[plan.planid] = frozenset(leaf for leaf in owed if plan.covers(leaf))
    return replace(view, records=records, plans=[*view.plans, first, second], expected=expected)


def _repair(view: View, cover: tuple[Cover, ...], number: int) -> Plan:
    done = view.as_of - timedelta(seconds=3 - number)
    return Plan(
        planid=f"rerun-twice-{number}",
        kind=PlanKind.RERUN,
        state=PlanState.PROMOTED,
        dates=(view.date,),
        cover=cover,
        created_at=done - timedelta(seconds=1),
        completed_at=done,
        promoted_at=done,
    )


def _under(plan: Plan, record: TaskRecord) -> TaskRecord:
    """Return a record as a repair would book it, that of the partitions it consumed which it covers too."""
    key = record.key.model_copy(update={"planid": plan.planid})
    consumed = tuple(
        read.model_copy(update={"planid": plan.planid})
        if plan.covers(Leaf(read.task, read.date, record.key.category, record.key.subinstance))
        else read
        for read in record.consumed
    )
    return record.model_copy(update={"key": key, "consumed": consumed})


def _with_deadline(view: View) -> list[Spot]:
    there = {record.key.task for record in _counting(view)}
    return [Spot(task) for task, spec in view.topology.tasks.items() if spec.deadline is not None and task in there]


def punctual(view: View) -> View:
    """Return a day whose tasks keep their deadlines: the same day, its work all done earlier if any of it was late.

    A day that is played back long after it happened has missed every deadline, and could not show whether one that is
    missed gets noticed. `as_of` is late enough for what is delayed to have reported.
    """
    due = {
        task: due_at(view.date, spec.deadline, view.topology.timezone)
        for task, spec in view.topology.tasks.items()
        if spec.deadline is not None
    }
    late = [record.finished_at - due[record.key.task] for record in _counting(view) if record.key.task in due]
    earlier = max([timedelta(), *(by + timedelta(minutes=1) for by in late if by > timedelta())])
    as_of = max([view.as_of, *(moment + DELAY + timedelta(minutes=1) for moment in due.values())])
    records = [_moved(record, -earlier) for record in view.records] if earlier else view.records
    return replace(view, records=records, as_of=as_of)


def _delayed(view: View, spot: Spot) -> View:
    """Let a task report three hours after its deadline, and all that waits for it as much later as it does."""
    clock = view.topology.task(spot.task).deadline or ""
    mine = [record for record in _counting(view) if record.key.task == spot.task]
    last = due_at(view.date, clock, view.topology.timezone) + DELAY
    by = last - max(record.finished_at for record in mine)
    after = view.topology.closure((spot.task,))
    later = [_moved(record, by) for record in _counting(view) if record.key.task in after]
    as_of = max(view.as_of, *(record.reported_at for record in later))
    return replace(_changed(view, later), as_of=as_of)


def _moved(record: TaskRecord, by: timedelta) -> TaskRecord:
    times = ("started_at", "finished_at", "reported_at")
    return record.model_copy(update={name: getattr(record, name) + by for name in times})


def _digested(view: View) -> list[Spot]:
    """List units of work whose ids can be compared with those handed on: both sides of an edge have digests."""
    found = set()
    for edge in view.topology.edges:
        grain = view.topology.common_grain(edge)
        sides = {edge.source: "digest_out", edge.target: "digest_in"} if edge.law is Law.EQUAL else {}
        groups: dict[tuple[str, ...], list[TaskRecord]] = {}
        for record in _counting(view):
            if record.key.task in sides:
                groups.setdefault(group_of(leaf_of(record.key), grain), []).append(record)
        for records in groups.values():
            both = {record.key.task for record in records} == sides.keys()
            if both and all(getattr(record, sides[record.key.task]) is not None for record in records):
                mine = (record for record in records if record.key.task == edge.target and record.input > 0)
                grain_of_work = view.topology.task(edge.target).work_grain
                found |= {Spot(edge.target, _where(leaf_of(record.key), grain_of_work)) for record in mine}
    return sorted(found)


def _other_ids(view: View, spot: Spot) -> View:
    changed = []
    for record in _counting(view):
        if record.key.task == spot.task and matches(record.key, spot.place) and record.digest_in is not None:
            ids = Digest.parse(record.digest_in)
            other = Digest(0, item_hash(f"other {record.key}"), item_hash(f"another {record.key}"))
            changed.append(record.model_copy(update={"digest_in": str(ids + other)}))
    return _changed(view, changed)


def _edges(view: View) -> list[Spot]:
    there = {record.key.task for record in _counting(view)}
    edges = [edge for edge in view.topology.edges if edge.law in (Law.EQUAL, Law.RATIO)]
    return [Spot(edge.target, source=edge.source) for edge in edges if {edge.source, edge.target} <= there]


def _emptied(view: View, spot: Spot) -> View:
    """Let neither end of an edge have a leaf: no record, and no line in a manifest."""
    ends = {spot.task, spot.source}
    expected = {
        planid: frozenset(leaf for leaf in leaves if leaf.task not in ends or leaf.date != view.date)
        for planid, leaves in view.expected.items()
    }
    records = [record for record in view.records if record.key.task not in ends]
    return replace(view, records=records, expected=expected)


def _all_tasks(view: View) -> list[Spot]:
    there = {record.key.task for record in _counting(view)}
    first = next(iter(view.topology.order))
    found = [Spot(task) for task in view.topology.order if task in there]
    return [*found, Spot(first, detail=NO_PLAN)] if found else []


def _never_ran(view: View, spot: Spot) -> View:
    """Let a task and all after it report nothing of what is expected of them; or nobody plan the day at all."""
    if spot.detail != NO_PLAN:
        after = view.topology.closure((spot.task,))
        return replace(view, records=[record for record in view.records if record.key.task not in after])
    plans = [_without(plan, view) for plan in view.plans if set(plan.dates) != {view.date}]
    expected: Mapping[str, frozenset[Leaf]] = {
        planid: left
        for planid, leaves in view.expected.items()
        if (left := frozenset(leaf for leaf in leaves if leaf.date != view.date))
    }
    return replace(view, records=[], plans=plans, expected=expected)


def _without(plan: Plan, view: View) -> Plan:
    return plan.model_copy(update={"dates": tuple(day for day in plan.dates if day != view.date)})


FAULTS = (
    Fault("lost_package", "A package is lost: from a task on nothing of it reports.", _packages, _lost),
    Fault("shrunk_3_percent", "A task takes in 3 % less than was handed on and says nothing.", _shares, _shrunk),
    Fault("swapped_version", "One leaf used another version of something.", _versioned, _swapped),
    Fault("duplicated_rerun", "A package is repaired twice over.", _packages, _repeated, harmless=True),
    Fault("delayed_task", "A task reports after its deadline.", _with_deadline, _delayed, base=punctual),
    Fault("wrong_ids_equal_counts", "A task took in as many items, but others.", _digested, _other_ids),
    Fault("empty_both_sides", "Neither end of an edge has anything to say.", _edges, _emptied),
    Fault("never_ran", "A task never ran, or nobody planned the day.", _all_tasks, _never_ran),
)
"""Every class, the order of reports."""
