"""Staleness: what was built from an older code, setting, model or input than the present one.

Stale is not failed: it is shown, and rebuilt on request.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import date as Date
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from pipeline.instance_states import DONE
from pipeline.tasks import TASKS, task_settings
from pipeline.tasks.built_with import built_with
from reporting import tables as t
from reporting.effective import EffectivePlans
from reporting.plans import Leaf
from reporting.stores.sql import SqlStore
from reporting.topology import Topology

_c = t.instance.c


class Stale(BaseModel):
    """The stale leaves of one task on one day, for one reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: Date
    task: str
    leaves: int
    why: str


class _Built(NamedTuple):
    leaf: Leaf
    planid: str
    attempt: int
    inputs: str | None
    built_with: str | None


def find_stale(store: SqlStore, topology: Topology) -> list[Stale]:
    """Return what is stale among the partitions that count, in order of day and task.

    A leaf is stale by itself (code, settings, model, or an input that was replaced or came late); everything
    downstream of it on its day, and of a task that carries state on later days, is stale by it.
    """
    effective = EffectivePlans(store.plans())
    built = {
        one.leaf: one
        for one in _all_built(store)
        if (found := effective.of(one.leaf)) is not None and found.planid == one.planid
    }
    counts: dict[tuple[Date, str, str], int] = defaultdict(int)
    stale_on: dict[tuple[Date, str], str] = {}
    rank = {task: number for number, task in enumerate(topology.order)}
    for leaf in sorted(built, key=lambda leaf: (leaf.date, rank.get(leaf.task, 0), leaf)):
        if leaf.task not in topology.tasks or leaf.task not in TASKS:
            continue
        why = next(_reasons(topology, built, built[leaf], stale_on), None)
        if why is not None:
            counts[(leaf.date, leaf.task, why)] += 1
            stale_on.setdefault((leaf.date, leaf.task), why)
    return [Stale(date=day, task=task, leaves=count, why=why) for (day, task, why), count in counts.items()]


def _reasons(
    topology: Topology, built: dict[Leaf, _Built], one: _Built, stale_on: dict[tuple[Date, str], str]
) -> Iterator[str]:
    now = built_with(one.leaf.task, task_settings(topology, one.leaf.task), one.leaf.category)
    then = json.loads(one.built_with or "{}")
    for what in sorted(set(now) | set(then)):
        if now.get(what) != then.get(what):
            yield f"{what} changed ({then.get(what, 'none')} then, {now.get(what, 'none')} now)"
    read = json.loads(one.inputs or "[]")
    for task, day, category, package, planid, attempt in read:
        source = built.get(Leaf(task, Date.fromisoformat(day), category, package))
        if source is not None and (source.planid, source.attempt) != (planid, attempt):
            yield f"input {task} of {day} is now that of plan {source.planid}"
    for task, day in sorted({(r[0], Date.fromisoformat(r[1])) for r in read}):
        if (day, task) in stale_on:
            yield f"built from {task} of {day}, which is stale"
    if topology.task(one.leaf.task).waits_for_previous_day:
        yield from _late_day(built, one, read)


def _late_day(built: dict[Leaf, _Built], one: _Built, read: list[list[str]]) -> Iterator[str]:
    """A day between this one and the one it continued has come since."""
    days = [leaf.date for leaf in built if leaf.task == one.leaf.task and leaf.date < one.leaf.date]
    continued = [Date.fromisoformat(r[1]) for r in read if r[0] == one.leaf.task]
    if days and (not continued or max(days) > max(continued)):
        yield f"the day {max(days)} came late, and was not there when this was built"


def _all_built(store: SqlStore) -> list[_Built]:
    with store.read() as connection:
        rows = connection.execute(
            select(
                _c.task, _c.date, _c.category, _c.subinstance, _c.planid, _c.attempt, _c.inputs, _c.built_with
            ).where(_c.state == DONE)
        ).all()
    return [_Built(Leaf(*row[:4]), *row[4:]) for row in rows]


def rebuild_commands(found: list[Stale]) -> list[str]:
    """Return the commands that rebuild it, oldest day first: each redoes the first stale tasks and all downstream."""
    tasks: dict[Date, list[str]] = defaultdict(list)
    for one in found:
        if one.task not in tasks[one.date]:
            tasks[one.date].append(one.task)
    return [
        f"funnelgate run --date {day} --kind rerun --promote --tasks {','.join(names)}"
        for day, names in sorted(tasks.items())
    ]
