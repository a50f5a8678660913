"""Staleness: what was built from an older code, setting, model or input than the present one.

Stale is not failed: it is shown, and rebuilt on request. Only a release is refused for it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import date as Date
from functools import cache
from typing import Literal, NamedTuple, cast

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from pipeline.instance_states import DONE
from pipeline.partitions import Partition
from pipeline.tasks import TASKS, task_settings, with_registered_versions
from pipeline.tasks.built_with import built_with
from pipeline.window.library import TAIL
from reporting import tables as t
from reporting.effective import EffectivePlans
from reporting.key import ALL
from reporting.plans import Leaf, Plan
from reporting.stores.sql import SqlStore
from reporting.topology import Topology

_c = t.instance.c
Kind = Literal["code", "settings", "model", "detector", "gallery", "input", "late_day"]
"""What of a leaf is older than now: one of what it was built with, an input that was replaced, a day that came late."""


class Stale(BaseModel):
    """The stale leaves of one task on one day, for one reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: Date
    task: str
    leaves: int
    why: str
    categories: tuple[str, ...] = ()
    """Of the leaves; () where they are not split by category."""
    inherited: bool = False
    """Not by itself, but by what it was built from."""

    def __str__(self) -> str:
        return f"{self.task} of {self.date}: {self.why}"


class _Built(NamedTuple):
    leaf: Leaf
    planid: str
    attempt: int
    inputs: str | None
    built_with: str | None

    def reads(self) -> list[_Read]:
        """Return what it was built from."""
        rows = json.loads(self.inputs or "[]")
        return [_Read(Leaf(row[0], Date.fromisoformat(row[1]), *row[2:4]), *row[4:]) for row in rows]


class _Read(NamedTuple):
    leaf: Leaf
    planid: str
    attempt: int


class _Group(NamedTuple):
    date: Date
    task: str
    why: str
    inherited: bool


class _World:
    """What is built and counts, and how it would be built now."""

    def __init__(self, store: SqlStore, topology: Topology, plan: Plan | None):
        effective = EffectivePlans(store.plans())
        self.topology = with_registered_versions(topology)
        self.all = {(one.leaf, one.planid): one for one in _all_built(store)}
        self.built: dict[Leaf, _Built] = {}
        for (leaf, planid), one in self.all.items():
            found = effective.of(leaf)
            counts = plan.planid if plan is not None and plan.covers(leaf) else None if found is None else found.planid
            if counts == planid:
                self.built[leaf] = one
        self.days: dict[str, list[Date]] = {}
        for task in {leaf.task for leaf in self.built}:
            self.days[task] = sorted({leaf.date for leaf in self.built if leaf.task == task})
        self._now = cache(self._built_now)

    def _built_now(self, task: str, category: str) -> dict[str, str]:
        return built_with(task, task_settings(self.topology, task), category)

    def knows(self, task: str) -> bool:
        """Tell whether the graph, and this program, have the task."""
        return task in self.topology.tasks and task in TASKS

    def reasons(self, one: _Built, first: Date = Date.min) -> Iterator[tuple[Kind, str]]:
        """Yield what makes a leaf stale by itself; inputs of before the first day do not count."""
        now, then = self._now(one.leaf.task, one.leaf.category), json.loads(one.built_with or "{}")
        for what in sorted(set(now) | set(then)):
            if now.get(what) != then.get(what):
                yield cast(Kind, what), f"{what} changed ({then.get(what, 'none')} then, {now.get(what, 'none')} now)"
        reads = one.reads()
        for read in reads:
            source = self.built.get(read.leaf)
            if read.leaf.date >= first and source is not None and source[1:3] != (read.planid, read.attempt):
                yield "input", f"input {read.leaf.task} of {read.leaf.date} is now that of plan {source.planid}"
        task = self.topology.task(one.leaf.task)
        if task.waits_for_previous_day and not self.topology.continues_itself(one.leaf.task):
            # A day between this one and the one it continued has come since. What a task takes in again of its own is
            # judged by what that was made of.
            before = task.continues or one.leaf.task
            days = [day for day in self.days.get(before, []) if day < one.leaf.date]
            continued = [read.leaf.date for read in reads if read.leaf.task == before]
            if days and days[-1] >= first and (not continued or days[-1] > max(continued)):
                yield "late_day", f"the day {days[-1]} came late, and was not there when this was built"


def find_stale(store: SqlStore, topology: Topology) -> list[Stale]:
    """Return what is stale among the partitions that count, in order of day and task.

    A leaf is stale by itself (code, settings, model, or an input that was replaced or came late), or by what it was
    built from.
    """
    world = _World(store, topology, None)
    stale: set[Leaf] = set()
    rank = {task: number for number, task in enumerate(topology.order)}
    found: dict[_Group, list[Leaf]] = defaultdict(list)
    for leaf in sorted(world.built, key=lambda leaf: (leaf.date, rank.get(leaf.task, 0), leaf)):
        if not world.knows(leaf.task):
            continue
        one = world.built[leaf]
        inherited = (
            f"built from {read.leaf.task} of {read.leaf.date}, which is stale"
            for read in sorted(one.reads())
            if read.leaf in stale
        )
        own = next((why for _, why in world.reasons(one)), None)
        why = own or next(inherited, None)
        if why is not None:
            found[_Group(leaf.date, leaf.task, why, own is None)].append(leaf)
            stale.add(leaf)
    return _listed(found)


def stale_ancestors(
    store: SqlStore,
    topology: Topology,
    merged: Iterable[Partition],
    *,
    plan: Plan | None = None,
    tolerate: Collection[Kind] = (),
) -> list[Stale]:
    """Return what is stale by itself among all that some merged indexes were built from, these included.

    What a task carried over from days before the oldest shard left no row in the index, and is not looked at.

    Args:
        store: Instances and plans.
        topology: What code, settings and models are compared with.
        merged: Partitions of merge.
        plan: What it covers counts, for whoever works in it; None: what is effective.
        tolerate: Kinds of change that do not matter.

    Returns:
        In order of day and task; [] is right.
    """
    world = _World(store, topology, plan)
    todo = [_Read(part.leaf, part.planid, part.attempt) for part in merged]
    first = min((day for root in todo for day in _shard_days(world, root)), default=Date.min)
    seen: set[_Read] = set()
    found: dict[_Group, list[Leaf]] = defaultdict(list)
    while todo:
        at = todo.pop()
        one = world.all.get((at.leaf, at.planid))
        if at in seen or one is None or at.leaf.date < first or not world.knows(at.leaf.task):
            continue
        seen.add(at)
        why = next((why for kind, why in world.reasons(one, first) if kind not in tolerate), None)
        if why is not None:
            found[_Group(at.leaf.date, at.leaf.task, why, False)].append(at.leaf)
        todo += one.reads()
    rank = {task: number for number, task in enumerate(topology.order)}
    return sorted(_listed(found), key=lambda one: (one.date, rank[one.task], one.why))


def _reads_of(world: _World, at: _Read) -> list[_Read]:
    one = world.all.get((at.leaf, at.planid))
    return [] if one is None else one.reads()


def _shard_days(world: _World, at: _Read) -> Iterator[Date]:
    """Yield the days of the shards that a merge has read, those in its tail among them."""
    for read in _reads_of(world, at):
        if read.leaf.task == "index":
            yield read.leaf.date
        elif read.leaf.task == TAIL:
            yield from _shard_days(world, read)


def _listed(found: dict[_Group, list[Leaf]]) -> list[Stale]:
    return [
        Stale(
            date=group.date,
            task=group.task,
            leaves=len(leaves),
            why=group.why,
            categories=tuple(sorted({leaf.category for leaf in leaves} - {ALL})),
            inherited=group.inherited,
        )
        for group, leaves in found.items()
    ]


def _all_built(store: SqlStore) -> list[_Built]:
    columns = (_c.task, _c.date, _c.category, _c.subinstance, _c.planid, _c.attempt, _c.inputs, _c.built_with)
    with store.read() as connection:
        rows = connection.execute(select(*columns).where(_c.state == DONE)).all()
    return [_Built(Leaf(*row[:4]), *row[4:]) for row in rows]


def rebuild_commands(found: list[Stale]) -> list[str]:
    """Return the commands that rebuild it, oldest day first: each redoes the first stale tasks and all downstream.

    Where all that is stale by itself is split by category, only those categories are done again.
    """
    by_day: dict[Date, list[Stale]] = defaultdict(list)
    for one in found:
        by_day[one.date].append(one)
    commands = []
    for day, stale in sorted(by_day.items()):
        causes = [one for one in stale if not one.inherited] or stale
        names = dict.fromkeys(one.task for one in stale)
        categories = sorted({name for one in causes for name in one.categories})
        command = f"funnelgate run --date {day} --kind rerun --promote --tasks {','.join(names)}"
        commands.append(
            f"{command} --categories {','.join(categories)}" if all(c.categories for c in causes) else command
        )
    return commands
