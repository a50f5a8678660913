"""The figures of tasks and days: the same sums and the same balance that the pages show."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from datetime import date as Date
from datetime import time as Clock
from functools import cache
from typing import TYPE_CHECKING

from dashboards.metrics.families import LEAF_STATES, OTHER, Figure
from dashboards.page.facts import DayFacts
from dashboards.page.sums import Reasons, TaskSum
from reporting.effective import leaf_of

if TYPE_CHECKING:
    from dashboards.page.desk import Desk
    from dashboards.shelf import Serving

CLOSED_DAYS = 2
"""Days whose books are closed record by record: the one at work, and the last whole one."""

ReasonsOf = Callable[[Date], Reasons]


def book_figures(serving: Serving, days: int) -> Iterator[Figure]:
    """Yield what the newest day and some before it have booked; nothing where there is no plan.

    Args:
        serving: Of this moment.
        days: How many of the newest planned days have figures of their own, >= 1.
    """
    desk, reasons = serving.desk, cache(lambda day: serving.kept.reasons(day, day))
    if not desk.days:
        return
    newest = desk.days[-1]
    yield Figure("day_timestamp_seconds", datetime.combine(newest, Clock(), UTC).timestamp())
    closed = [desk.day(day) for day in desk.days[-CLOSED_DAYS:]]
    yield from _newest(desk, closed[-1], reasons)
    yield from _last_records(desk, closed)
    for facts in closed:
        label = (facts.date.isoformat(),)
        yield Figure("day_unexplained_items", facts.unexplained, label)
        yield Figure("day_missing_leaves", facts.missing, label)
    shown = desk.days[-days:]
    for (day, task), sums in sorted(desk.sums(shown[0], newest).items()):
        if task in desk.topology.tasks:
            labels = (day.isoformat(), task)
            yield from _task(desk, "day", task, sums, reasons(day).get(task, {}), labels)
            yield Figure("day_leaves", sums.leaves, labels)


def _newest(desk: Desk, facts: DayFacts, reasons: ReasonsOf) -> Iterator[Figure]:
    """Yield what is told of each task of the newest day, also of those that have not begun."""
    nothing = TaskSum(0, 0, 0, 0, 0, 0.0, 0)
    sums = desk.sums(facts.date, facts.date)
    leaves = _leaves(desk, facts)
    unexplained = _unexplained(desk, facts)
    for task in desk.topology.order:
        dropped = reasons(facts.date).get(task, {})
        yield from _task(desk, "task", task, sums.get((facts.date, task), nothing), dropped, (task,))
        yield Figure("task_unexplained_items", unexplained[task], (task,))
        for state, count in zip(LEAF_STATES, leaves[task], strict=True):
            yield Figure("task_leaves", count, (task, state))


def _task(
    desk: Desk, prefix: str, task: str, sums: TaskSum, dropped: Mapping[str, int], label: tuple[str, ...]
) -> Iterator[Figure]:
    """Yield the figures that a task of the newest day and one of any day have alike."""
    for name in ("input", "output", "produced", "failed"):
        yield Figure(f"{prefix}_{name}_items", getattr(sums, name), label)
    by_reason = dict.fromkeys(desk.topology.tasks[task].drop_reasons, 0) | dict(dropped)
    rest = sums.dropped - sum(by_reason.values())
    for reason, count in (by_reason | ({OTHER: rest} if rest else {})).items():
        yield Figure(f"{prefix}_dropped_items", count, (*label, reason))
    if sums.kept is not None:
        yield Figure(f"{prefix}_kept_ratio", sums.kept, label)
    yield Figure(f"{prefix}_work_seconds", sums.seconds, label)
    if sums.seconds > 0:
        yield Figure(f"{prefix}_items_per_second", sums.input / sums.seconds, label)


def _leaves(desk: Desk, facts: DayFacts) -> dict[str, tuple[int, int, int]]:
    """Return for each task how many leaves are expected, and how many of these have a record that counts, or none.

    Expected is what the manifest of a leaf's effective plan names; before its deadline too.
    """
    there = {leaf_of(record.key) for record in facts.counting}
    expected = Counter(leaf.task for leaf in facts.expected)
    done = Counter(leaf.task for leaf in facts.expected if leaf in there)
    return {task: (expected[task], done[task], expected[task] - done[task]) for task in desk.topology.order}


def _unexplained(desk: Desk, facts: DayFacts) -> Counter[str]:
    """Return what no book explains, by the task whose own books or whose way in do not close."""
    found: Counter[str] = Counter()
    for residual in facts.balance.residuals:
        _, arrow, target = residual.where.partition(" -> ")
        where = target if arrow else residual.where
        tasks = [task for task in desk.topology.tasks if where == task or where.startswith(f"{task} ")]
        found[max(tasks, key=len, default=OTHER)] += residual.residual
    return found


def _last_records(desk: Desk, closed: Iterable[DayFacts]) -> Iterator[Figure]:
    last: dict[str, float] = defaultdict(float)
    for facts in closed:
        for record in facts.counting:
            last[record.key.task] = max(last[record.key.task], record.reported_at.timestamp())
    for task in desk.topology.order:
        if task in last:
            yield Figure("task_last_record_timestamp_seconds", last[task], (task,))
