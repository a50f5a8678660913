"""Conservation: every record accounts for all it took in, and little of it is booked as failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import ConfigDict

from checks.kinds.base import Check, Finding, Instance, Levels, Table, Tolerance
from checks.leaves import MOST, counted, leaf_name, names_of, place_of, planids_of
from checks.reported import unit_of
from checks.result import Status
from checks.selection import Except, GroupBy, Tasks, grain_within, instance_name, require_grain, tasks_of
from checks.sides import table_of
from checks.view import Group, View, group_of
from reporting.balance import booked_out
from reporting.plans import Leaf
from reporting.record import State, TaskRecord
from reporting.topology import DIMENSIONS, Dimension, Topology

_MOST_SAID = 300
"""Characters of an error's message that are told; the record has all of it."""


class Conservation(Check):
    """`{kind: conservation, tasks: "*"}`: input == output + dropped + failed, leaf by leaf.

    Two instances for each task and group. `TASK` sums what its leaves leave over, in absolute values, for signed ones
    cancel: records made with our client cannot leave anything, those of other writers can. `TASK failed` is about
    what is booked as failed. Both judge the records that are there; a leaf without one is the matter of `complete`,
    and a task without any is `not_evaluated`, which does not count while its plan is at work.
    """

    model_config = ConfigDict(populate_by_name=True)

    kind: Literal["conservation"]
    tasks: Tasks = "*"
    """Which tasks."""
    except_: Except = ()
    """Tasks to leave out."""
    group_by: GroupBy = ()
    """Dimensions to judge within; of each task those that it splits by."""
    tolerance: Tolerance = Tolerance()
    """By how much may be left over, of what was taken in."""
    levels: Levels = Levels()
    """By the share of what is left over in what was taken in."""
    max_failed: Levels = Levels(warn=0, page=0.01)
    """By the share of failed items in what was taken in; where nothing was, any failure is a whole one. A record of
    state failed warns at least, whatever it booked."""

    def expand(self, topology: Topology) -> list[Instance]:
        """See `Check.expand`: `TASK` and `TASK failed` for each task."""
        where = f"check {self.id}"
        tasks = tasks_of(topology, self.tasks, self.except_, f"{where}: tasks")
        require_grain(topology, tasks, self.group_by, where)
        return [
            Instance(self.id, self.kind, name, task, None, grain_within(topology, (task,), self.group_by))
            for task in tasks
            for name in (task, f"{task} failed")
        ]

    def judge(self, view: View) -> Iterator[Finding]:
        """See `Check.judge`: two findings for each task and group."""
        for task in tasks_of(view.topology, self.tasks, self.except_, f"check {self.id}: tasks"):
            by = grain_within(view.topology, (task,), self.group_by)
            for group, leaves in view.grouped(task, by).items():
                yield from self._of_group(_Books(view, task, by, group, leaves))
            if task not in view.leaves:
                yield from self._of_group(_Books(view, task, (), (), ()))

    def _of_group(self, books: _Books) -> Iterator[Finding]:
        if not books.there:
            yield from (books.no_record(name) for name in (books.task, f"{books.task} failed"))
            return
        yield self._closed(books)
        yield self._failed(books)

    def _closed(self, books: _Books) -> Finding:
        taken = sum(record.input for record in books.records)
        open_ends = {leaf: abs(record.input - booked_out(record)) for leaf, record in books.there.items()}
        left_over = sum(open_ends.values())
        tolerance = self.tolerance.around(taken)
        status = self.levels.of(left_over, taken, tolerance)
        broken = [leaf for leaf, size in open_ends.items() if size]
        reason = f"{counted(taken, books.unit)} taken in, all booked as output, dropped or failed"
        if left_over:
            many = f"{len(broken)} of {counted(len(open_ends), 'leaves')}"
            reason = f"{counted(left_over, books.unit)} of {taken:,} are not booked exactly once, in {many}"
        rows = ((leaf, booked_out(record), record.input) for leaf, record in books.there.items())
        return books.finding(
            books.task,
            status,
            reason,
            value=sum(booked_out(record) for record in books.records),
            expected=taken,
            tolerance=tolerance,
            numerator=left_over,
            table=books.table(rows) if status in (Status.WARN, Status.FAIL) else None,
            details={"leaves": names_of(broken), "leaves_broken": len(broken)} if broken else {},
        )

    def _failed(self, books: _Books) -> Finding:
        taken, failed = (sum(getattr(r, name) for r in books.records) for name in ("input", "failed_total"))
        attempts = [leaf for leaf, record in books.there.items() if record.state is State.FAILED]
        status = self.max_failed.of(failed, taken, 0)
        if attempts and not taken:
            status = Status.FAIL
        elif attempts and status is Status.PASS:
            status = Status.WARN
        reason = f"{failed:,} of {counted(taken, books.unit)} failed"
        if attempts:
            first = f"{leaf_name(attempts[0])}{_error_of(books.there[attempts[0]])}"
            reason += f"; {counted(len(attempts), 'leaves')} failed as a whole, first {first}"
        errors: Counter[str] = Counter()
        for record in books.records:
            errors.update(record.failed)
        rows = ((leaf, record.input - record.failed_total, record.input) for leaf, record in books.there.items())
        return books.finding(
            f"{books.task} failed",
            status,
            reason,
            value=taken - failed,
            expected=taken,
            tolerance=self.max_failed.page * taken,
            numerator=failed,
            table=books.table(rows) if status in (Status.WARN, Status.FAIL) else None,
            details={
                **({"errors": dict(errors.most_common(MOST))} if errors else {}),
                **({"failed_leaves": names_of(attempts), "failed_leaves_count": len(attempts)} if attempts else {}),
            },
        )


def _error_of(record: TaskRecord) -> str:
    """Return what a failed attempt says of itself, for whoever is woken by it; "" where it says nothing."""
    if record.error is None:
        return ""
    message = " ".join(record.error.message.split())
    return f": {record.error.error_class}: {message[:_MOST_SAID]}{'...' if len(message) > _MOST_SAID else ''}"


class _Books:
    """One group of a task: its leaves and the records that are there."""

    def __init__(self, view: View, task: str, by: Sequence[Dimension], group: Group, leaves: Sequence[Leaf]):
        self.view, self.task, self.by, self.group, self.leaves = view, task, by, group, leaves
        self.there = {leaf: view.counting[leaf] for leaf in leaves if leaf in view.counting}
        self.unit = unit_of(view.topology.task(task), "input")

    @property
    def records(self) -> list[TaskRecord]:
        return list(self.there.values())

    def no_record(self, name: str) -> Finding:
        waiting = any(map(self.view.is_open, self.leaves or [Leaf(self.task, self.view.date)]))
        reason = "no record yet, and the plan is still open" if waiting else "no record"
        return self._finding(name, Status.NOT_EVALUATED, reason, counts=not waiting)

    def finding(self, name: str, status: Status, reason: str, details: dict[str, Any], **numbers: Any) -> Finding:
        denominator = sum(record.input for record in self.records)
        planids = planids_of(self.view, self.there)
        return self._finding(
            name, status, reason, denominator=denominator, details={**details, "planids": planids}, **numbers
        )

    def _finding(self, name: str, status: Status, reason: str, **rest: Any) -> Finding:
        place = place_of(self.view, self.task, self.there or self.leaves, by=self.by, group=self.group)
        instance = instance_name(name, self.by, self.group)
        return Finding(instance, place, status, reason, unit=self.unit, **rest)

    def table(self, rows: Iterator[tuple[Leaf, int, int]]) -> Table | None:
        grain = self.view.topology.task(self.task).grain
        dimensions = [dim for dim in DIMENSIONS if dim in grain]
        named = ((group_of(leaf, dimensions), actual, expected) for leaf, actual, expected in rows)
        return table_of(dimensions, named, exact=True)
