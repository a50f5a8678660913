"""A funnel for the eye: rows of one stream drawn on one scale, with why the rest did not go on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dashboards.page.sums import DaySums, TaskSum
from reporting.funnel import FunnelRow
from reporting.topology import Law, Topology


class Stage(NamedTuple):
    """One task: its totals, and how its bar is split; shares are of the stream's widest input."""

    row: FunnelRow
    dropped: int
    failed: int
    bar: tuple[tuple[str, float, str], ...]
    """(class, share, words)."""
    note: str
    """"" or how the output unit differs."""


class Stream(NamedTuple):
    """Tasks that pass the same items on, in order."""

    stages: tuple[Stage, ...]


def streams(topology: Topology) -> list[tuple[str, ...]]:
    """Return the tasks in groups that edges with counts join; windows and mere order begin a new group."""
    group = {task: task for task in topology.order}
    for edge in topology.edges:
        if edge.law in (Law.EQUAL, Law.RATIO):
            one, other = group[edge.source], group[edge.target]
            group = {task: one if mine == other else mine for task, mine in group.items()}
    found: dict[str, list[str]] = {}
    for task in topology.order:
        found.setdefault(group[task], []).append(task)
    return [tuple(tasks) for tasks in found.values()]


def funnel_streams(topology: Topology, rows: Iterable[FunnelRow]) -> list[Stream]:
    """Return rows as they are drawn; a stream without a row is left out."""
    by_task = {row.task: row for row in rows}
    found = []
    for tasks in streams(topology):
        mine = [by_task[task] for task in tasks if task in by_task]
        widest = max((row.input for row in mine), default=0)
        if mine:
            found.append(Stream(tuple(_stage(row, widest) for row in mine)))
    return found


def _stage(row: FunnelRow, widest: int) -> Stage:
    dropped, failed = sum(row.dropped.values()), sum(row.failed.values())
    scale = 1 / widest if widest else 0.0
    bar = (
        ("kept", row.output * scale, f"{row.output:,} kept"),
        ("dropped", dropped * scale, f"{dropped:,} dropped"),
        ("failed", failed * scale, f"{failed:,} failed"),
    )
    note = "" if row.unit_in == row.unit_out else f"{row.unit_in} → {row.unit_out}"
    return Stage(row, dropped, failed, bar, note)


def rows_of_sums(topology: Topology, sums: DaySums, dropped: Mapping[str, Mapping[str, int]]) -> list[FunnelRow]:
    """Return the funnel of some days from sums of the database, which do not say which errors there were.

    Args:
        topology: Its tasks in order.
        sums: By day and task.
        dropped: Task to reason to items, over these days.
    """
    rows = []
    totals = add_by_task(sums)
    for task in topology.order:
        total = totals.get(task)
        if total is None:
            continue
        spec = topology.task(task)
        rows.append(
            FunnelRow(
                task=task,
                input=total.input,
                output=total.output,
                produced=total.produced,
                kept_ratio=total.kept,
                dropped=dict(dropped.get(task, {})),
                failed={"errors": total.failed} if total.failed else {},
                unit_in=spec.unit_in,
                unit_out=spec.unit_out,
                leaves=total.leaves,
            )
        )
    return rows


def add_by_task(sums: DaySums) -> dict[str, TaskSum]:
    """Return each task's sum over all days."""
    found: dict[str, list[TaskSum]] = {}
    for (_, task), one in sums.items():
        found.setdefault(task, []).append(one)
    return {task: TaskSum(*(sum(column) for column in zip(*mine, strict=True))) for task, mine in found.items()}
