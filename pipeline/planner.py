"""Make plans, and expand them into instances.

First what needs no split; then, when a day's split is sealed by `collect`, one instance for every leaf of the
topology, with the dependencies between them.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date as Date
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import insert, select, true, update

from pipeline.instance_states import DONE, READY, WAITING
from pipeline.instances import add_dependencies, count_waits
from reporting import tables as t
from reporting.key import ALL, Name
from reporting.plans import Leaf, Plan, PlanKind, PlanState
from reporting.stores.sql_work import SqlUnitOfWork, iso
from reporting.topology import Law, Topology

MAX_ATTEMPTS = 5
_c = t.instance.c


class Split(BaseModel):
    """How a day was divided: its packages (subinstances) and the categories its items may get."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    packages: tuple[Name, ...]
    categories: tuple[Name, ...]


def root_task(topology: Topology) -> str:
    """Return the task that splits the day: the first one without upstream."""
    return next(task for task in topology.order if not topology.upstream(task))


def work_leaves(topology: Topology, task: str, day: Date, split: Split | None) -> list[Leaf]:
    """Return the instances of a task on a day: one for each value of its work grain."""
    return _leaves(task, topology.task(task).work_grain, day, split)


def booked_leaves(topology: Topology, task: str, day: Date, split: Split | None) -> list[Leaf]:
    """Return the records a task owes on a day: one for each value of its grain."""
    return _leaves(task, topology.task(task).grain, day, split)


def _leaves(task: str, grain: Sequence[str], day: Date, split: Split | None) -> list[Leaf]:
    if grain and split is None:
        return []
    categories = split.categories if split and "category" in grain else (ALL,)
    packages = split.packages if split and "subinstance" in grain else (ALL,)
    return [Leaf(task, day, category, package) for category, package in itertools.product(categories, packages)]


def open_plan(work: SqlUnitOfWork, topology: Topology, plan: Plan) -> None:
    """Store a new plan and the instances that need no split; a scoped plan is expanded by `seal`."""
    work.put_plan(plan)
    root = root_task(topology)
    for day in plan.dates:
        leaves = [
            leaf
            for task in topology.order
            if not topology.task(task).work_grain
            for leaf in work_leaves(topology, task, day, None)
            if plan.covers(leaf)
        ]
        ids = _insert_instances(work, plan, leaves)
        work.expect(plan.planid, [leaf for leaf in leaves if not topology.task(leaf.task).grain])
        pairs = [(ids[Leaf(root, day)], ids[leaf]) for leaf in leaves if leaf.task != root and Leaf(root, day) in ids]
        pairs += _previous_day(work, topology, plan, day, ids)
        _depend(work, pairs)


def seal(work: SqlUnitOfWork, topology: Topology, plan: Plan, day: Date, split: Split, now: datetime) -> None:
    """Write the day's manifest of expected leaves and make the instances that depend on the split.

    In one transaction with the splitting task's completion: a split is either whole or not there.
    """
    leaves: list[Leaf] = []
    expected: list[Leaf] = []
    for task in topology.order:
        leaves += [leaf for leaf in work_leaves(topology, task, day, split) if plan.covers(leaf)]
        expected += [leaf for leaf in booked_leaves(topology, task, day, split) if plan.covers(leaf)]
    opened = _existing(work, plan, day)
    known = opened | _insert_instances(work, plan, [leaf for leaf in leaves if leaf not in opened])
    work.expect(plan.planid, expected)
    already = _dependencies_of(work, opened.values())
    _depend(work, [pair for pair in _edges(topology, known) if pair not in already])
    _depend(work, list(_across_days(work, topology, plan, day, known)))
    work.connection.execute(
        update(t.plan_day)
        .where(t.plan_day.c.planid == plan.planid, t.plan_day.c.date == day)
        .values(sealed_at=iso(now), split=split.model_dump_json())
    )


def _edges(topology: Topology, ids: dict[Leaf, int]) -> Iterable[tuple[int, int]]:
    """Yield (upstream, downstream) for every pair of leaves that agree in the dimensions both split by."""
    by_task: dict[str, list[Leaf]] = defaultdict(list)
    for leaf in ids:
        by_task[leaf.task].append(leaf)
    for edge in topology.edges:
        source, target = topology.task(edge.source).work_grain, topology.task(edge.target).work_grain
        shared = [dim for dim in ("category", "subinstance") if dim in source and dim in target]
        groups: dict[tuple[Any, ...], list[Leaf]] = defaultdict(list)
        for leaf in by_task[edge.source]:
            groups[tuple(getattr(leaf, dim) for dim in shared)].append(leaf)
        for leaf in by_task[edge.target]:
            for upstream in groups[tuple(getattr(leaf, dim) for dim in shared)]:
                yield ids[upstream], ids[leaf]


def _dependencies_of(work: SqlUnitOfWork, ids: Iterable[int]) -> set[tuple[int, int]]:
    """Return the stored pairs that lead to some instances: those made when the plan was opened, a handful."""
    c = t.dependency.c
    rows = work.connection.execute(select(c.upstream_id, c.downstream_id).where(c.downstream_id.in_(list(ids)))).all()
    return {(row[0], row[1]) for row in rows}


def _insert_instances(work: SqlUnitOfWork, plan: Plan, leaves: Sequence[Leaf]) -> dict[Leaf, int]:
    if not leaves:
        return {}
    work.connection.execute(
        insert(t.instance),
        [{**leaf._asdict(), "planid": plan.planid, "state": READY, "max_attempts": MAX_ATTEMPTS} for leaf in leaves],
    )
    wanted = set(leaves)
    return {leaf: found for leaf, found in _existing(work, plan, leaves[0].date).items() if leaf in wanted}


def _existing(work: SqlUnitOfWork, plan: Plan, day: Date) -> dict[Leaf, int]:
    rows = work.connection.execute(
        select(_c.task, _c.date, _c.category, _c.subinstance, _c.id).where(_c.planid == plan.planid, _c.date == day)
    ).all()
    return {Leaf(*row[:4]): row[4] for row in rows}


def _previous_day(
    work: SqlUnitOfWork, topology: Topology, plan: Plan, day: Date, ids: dict[Leaf, int]
) -> list[tuple[int, int]]:
    """Let a task that carries state over days wait for the nearest earlier day that is still open.

    So does the splitting task, where a window is read: the split carries the categories of the days before on.
    """
    pairs = []
    waiting = {
        (name, source)
        for name, task in topology.tasks.items()
        if task.waits_for_previous_day
        for source in {name, task.continues or name}
    }
    if any(edge.law is Law.WINDOW for edge in topology.edges):
        waiting.add((root_task(topology), root_task(topology)))
    waits = ((ids[leaf], source) for leaf in ids for task, source in sorted(waiting) if leaf.task == task)
    for downstream, source in waits:
        earlier = (
            select(_c.id)
            .join(t.plan, t.plan.c.planid == _c.planid)
            .where(_c.task == source, _c.date < day, _c.state != DONE)
            .where(t.plan.c.state == PlanState.OPEN.value)  # nothing waits for an abandoned plan
            .where((t.plan.c.kind == PlanKind.DAILY.value) | (_c.planid == plan.planid))
            .order_by(_c.date.desc(), _c.id.desc())
            .limit(1)
            .with_for_update(of=t.instance)  # PostgreSQL: it must not complete before our wait for it is stored
        )
        upstream = work.connection.execute(earlier).scalar()
        if upstream is not None:
            pairs.append((upstream, downstream))
    return pairs


def _across_days(
    work: SqlUnitOfWork, topology: Topology, plan: Plan, day: Date, ids: dict[Leaf, int]
) -> Iterable[tuple[int, int]]:
    """Yield what a task over a window of days must wait for on earlier days that are still open.

    Without it a merge would leave out the shards of a day whose index is late, and nobody would notice:
    it books what it has read. A later day may have been sealed first; its tasks then wait for this one's leaves.
    """
    for upstream, downstream in _over_days(topology):
        source, target = topology.task(upstream).work_grain, topology.task(downstream).work_grain
        shared = [dim for dim in ("category", "subinstance") if dim in source and dim in target]
        daily = t.plan.c.kind == PlanKind.DAILY.value
        earlier = _open_leaves(work, upstream, _c.date < day, daily | (_c.planid == plan.planid))
        counts = true() if plan.kind is PlanKind.DAILY else _c.planid == plan.planid
        later = _open_leaves(work, downstream, _c.date > day, _c.state == WAITING, counts)
        for leaf, number in ids.items():
            if leaf.task == downstream:
                yield from ((other, number) for its, other in earlier if _agree(its, leaf, shared))
            if leaf.task == upstream:
                yield from ((number, other) for its, other in later if _agree(its, leaf, shared))


def _over_days(topology: Topology) -> list[tuple[str, str]]:
    """Return (task, task that reads what it did on earlier days), both of the split.

    What a task takes in again of its own, the next one reads of the same day alone.
    """
    windows = {
        (edge.source, edge.target)
        for edge in topology.edges
        if edge.law is Law.WINDOW and not topology.continues_itself(edge.source)
    }
    states = {
        (task.continues or name, name)
        for name, task in topology.tasks.items()
        if task.waits_for_previous_day and task.work_grain  # the others: `_previous_day`
    }
    return sorted(windows | states)


def _open_leaves(work: SqlUnitOfWork, task: str, *where: Any) -> list[tuple[Leaf, int]]:
    """Return the instances of a task that are not done yet, of open plans."""
    rows = work.connection.execute(
        select(_c.task, _c.date, _c.category, _c.subinstance, _c.id)
        .join(t.plan, t.plan.c.planid == _c.planid)
        .where(_c.task == task, _c.state != DONE, t.plan.c.state == PlanState.OPEN.value, *where)
        .with_for_update(of=t.instance)
    ).all()
    return [(Leaf(*row[:4]), row[4]) for row in rows]


def _agree(one: Leaf, other: Leaf, dims: Sequence[str]) -> bool:
    return all(getattr(one, dim) == getattr(other, dim) for dim in dims)


def _depend(work: SqlUnitOfWork, pairs: Sequence[tuple[int, int]]) -> None:
    """Store dependencies; a downstream instance waits for each upstream one that is not done yet."""
    if not pairs:
        return
    work.connection.execute(
        add_dependencies, [{"upstream_id": upstream, "downstream_id": downstream} for upstream, downstream in pairs]
    )
    # Upstream instances are new or open here: none is done, so each pair is one thing to wait for.
    waits: dict[int, int] = defaultdict(int)
    for _, downstream in pairs:
        waits[downstream] += 1
    work.connection.execute(count_waits, [{"downstream": i, "more": more} for i, more in waits.items()])


def read_split(text: str | None) -> Split | None:
    """Return a stored split, or None before the day is sealed."""
    return None if text is None else Split.model_validate(json.loads(text))
