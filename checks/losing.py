"""What the books would say if a task had silently lost a part of its items: it and all that comes after book less.

Pure, over the records of one day. Every record that follows still closes, so that the only break is where the items
went: what mutation testing and the demo's second act put into real records. How many of the lost items a later task
would have dropped is not known; it drops in proportion.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from reporting.digest import EMPTY_DIGEST
from reporting.key import RunKey
from reporting.record import Consumed, TaskRecord
from reporting.topology import DIMENSIONS, Dimension, Edge, Law, Topology

Where = Mapping[Dimension, str]
"""Dimension to value; a dimension that is not named is not restricted."""


def lose(
    records: Iterable[TaskRecord], topology: Topology, task: str, where: Where, share: float = 1.0
) -> list[TaskRecord]:
    """Return the records that would be otherwise, as they would be.

    Each unit of the task's work in `where` takes in less by `share`, rounded up to whole items, and books nothing of
    it. Downstream the loss goes along edges of law equal, into what windows consumed of the day, and (in
    proportion) along ratios where a task has no other edge. Behind a task that joins the packages it comes out at the
    packages it went in at. A digest is left out where ids are unknown: the record no longer covers those it did.

    Args:
        records: One a leaf: those that count. Of the day, and of other days what has consumed it through a window.
        topology: The task graph.
        task: Where items get lost; records of the tasks before it stay as they are.
        where: Which of its leaves.
        share: 0..1; 1 loses all.

    Returns:
        Changed records, in the order given, with their versions and times; [] where there was nothing to lose.
    """
    losing = _Losing(list(records), topology, where)
    units: dict[tuple[object, ...], list[TaskRecord]] = defaultdict(list)
    for record in losing.of_task(task):
        if matches(record.key, where):
            units[_group(record, topology.task(task).work_grain)].append(record)
    for unit in units.values():
        taken = [record.input for record in unit]
        for record, less in zip(unit, split(math.ceil(Fraction(str(share)) * sum(taken)), taken), strict=True):
            losing.take(record, less, share)
    for name in topology.closure((task,)):
        if name != task:
            losing.carry_into(name, share)
    return [losing.now[record.key] for record in losing.records if losing.now[record.key] is not record]


def matches(key: RunKey, where: Where) -> bool:
    """Tell whether a record's leaf has the values asked for."""
    return all(getattr(key, dimension) == value for dimension, value in where.items())


class _Losing:
    """The records as they become, task by task from the fault on."""

    def __init__(self, records: list[TaskRecord], topology: Topology, where: Where):
        self.records = records
        self.topology = topology
        self.where = where
        self.now = {record.key: record for record in records}
        self._by_task: dict[str, list[TaskRecord]] = defaultdict(list)
        for record in records:
            self._by_task[record.key.task].append(record)

    def of_task(self, task: str) -> list[TaskRecord]:
        """Return a task's records as they were."""
        return self._by_task[task]

    def carry_into(self, task: str, share: float) -> None:
        """Let a task take in less by what is handed on less to it."""
        edges = self.topology.upstream(task)
        carrying = [edge for edge in edges if edge.law is Law.EQUAL] or [e for e in edges if e.law is Law.RATIO]
        for edge in carrying:
            if self._carry(edge, share):
                return
        self._carry_windows(task, share)

    def _handed_on_less(self, record: TaskRecord) -> int:
        return record.produced - self.now[record.key].produced

    def _carry(self, edge: Edge, share: float) -> bool:
        grain = self.topology.common_grain(edge)
        less: dict[tuple[object, ...], int] = defaultdict(int)
        handed: dict[tuple[object, ...], int] = defaultdict(int)
        for record in self.of_task(edge.source):
            less[_group(record, grain)] += self._handed_on_less(record)
            handed[_group(record, grain)] += record.produced
        for group, amount in less.items():
            targets = [record for record in self.of_task(edge.target) if _group(record, grain) == group]
            taken = sum(record.input for record in targets)
            goes_on = amount if edge.law is Law.EQUAL else round(Fraction(amount * taken, handed[group] or 1))
            self._spread(targets, goes_on, share)
        return any(less.values())

    def _spread(self, targets: Sequence[TaskRecord], amount: int, share: float) -> None:
        """Take an amount from some leaves, from those of the fault first."""
        for chosen in (True, False):
            part = [record for record in targets if matches(record.key, self._restricting(record)) is chosen]
            mine = min(amount, sum(record.input for record in part))
            for record, less in zip(part, split(mine, [record.input for record in part]), strict=True):
                self.take(record, less, share)
            amount -= mine

    def _restricting(self, record: TaskRecord) -> dict[Dimension, str]:
        """Return what of the fault's place a record's task splits by."""
        grain = self.topology.task(record.key.task).grain
        return {dimension: value for dimension, value in self.where.items() if dimension in grain}

    def _carry_windows(self, task: str, share: float) -> None:
        """Let a task take in less by what it reads less of several days, its own output of the day before included."""
        sources = self.topology.window_sources(task)
        less: dict[tuple[object, ...], int] = defaultdict(int)
        for source in sources:
            for record in self.of_task(source):
                less[self._read_as(record.key, source, task)] += self._handed_on_less(record)
        for record in sorted(self.of_task(task) if sources else (), key=lambda record: record.key.date):
            consumed = []
            for read in record.consumed:
                of_it = record.key.model_copy(update={"date": read.date, "planid": read.planid})
                lost = less[self._read_as(of_it, read.task, task)] if read.task in sources else 0
                consumed.append(read.model_copy(update={"count": read.count - min(lost, read.count)}))
            fewer = sum(read.count for read in record.consumed) - sum(read.count for read in consumed)
            self.take(record, min(fewer, record.input), share, tuple(consumed))
            if task in sources:
                less[self._read_as(record.key, task, task)] += self._handed_on_less(record)

    def _read_as(self, key: RunKey, source: str, target: str) -> tuple[object, ...]:
        """Return what names a source's partition for a leaf of the target; the key has its day, plan and group."""
        grain = self.topology.shared_grain(source, target)
        return (source, key.date, key.planid, *(getattr(key, dimension) for dimension in grain))

    def take(self, record: TaskRecord, less: int, share: float, consumed: tuple[Consumed, ...] | None = None) -> None:
        """Let a record take in less, and book all the less of what it does with it."""
        if less == 0:
            return
        booked = [*record.dropped.values(), *record.failed.values()]
        kept_less = self._kept_less(record, less, sum(booked), share)
        booked_less = split(min(less - kept_less, sum(booked)), booked)
        left = [count - fewer for count, fewer in zip(booked, booked_less, strict=True)]
        output = record.output - kept_less
        produced = output if record.produced == record.output else _in_proportion(record.produced, output, record)
        if consumed is None:
            fewer_read = split(min(less, _read(record)), [read.count for read in record.consumed])
            pairs = zip(record.consumed, fewer_read, strict=True)
            consumed = tuple(read.model_copy(update={"count": read.count - n}) for read, n in pairs)
        changes = {
            "input": record.input - less,
            "output": output,
            "produced": produced,
            "dropped": dict(zip(record.dropped, left, strict=False)),
            "failed": dict(zip(record.failed, left[len(record.dropped) :], strict=True)),
            "consumed": consumed,
            "digest_in": _digest(record.digest_in, record.input - less),
            "digest_out": _digest(record.digest_out, produced),
            "metrics": record.metrics if record.input > less else {},
        }
        self.now[record.key] = record.model_copy(update=changes)

    def _kept_less(self, record: TaskRecord, less: int, booked: int, share: float) -> int:
        """Return how much smaller the output gets: what the fault's leaves after a join took in, else in proportion."""
        if less >= record.input:
            return record.output
        wanted = self._behind_join(record, share) if record.produced == record.output else None
        if wanted is None:
            wanted = round(Fraction(less * record.output, record.input))
        return max(less - booked, 0, min(wanted, less, record.output))

    def _behind_join(self, record: TaskRecord, share: float) -> int | None:
        """Return what goes missing at the fault's leaves of the next task, where only that one splits by them."""
        task = record.key.task
        mine = self.topology.task(task).grain
        for edge in self.topology.downstream(task):
            theirs = self.topology.task(edge.target).grain
            if edge.law is not Law.EQUAL or not any(dim in theirs and dim not in mine for dim in self.where):
                continue
            grain = self.topology.common_grain(edge)
            behind = [one for one in self.of_task(edge.target) if _group(one, grain) == _group(record, grain)]
            chosen = [one.input for one in behind if matches(one.key, self._restricting(one))]
            return sum(math.ceil(Fraction(str(share)) * count) for count in chosen)
        return None


def _group(record: TaskRecord, grain: Sequence[Dimension]) -> tuple[object, ...]:
    return (record.key.date, *(getattr(record.key, dimension) for dimension in DIMENSIONS if dimension in grain))


def _read(record: TaskRecord) -> int:
    return sum(read.count for read in record.consumed)


def _in_proportion(produced: int, output: int, record: TaskRecord) -> int:
    return round(Fraction(produced * output, record.output)) if output else 0


def _digest(text: str | None, count: int) -> str | None:
    """Return the digest of no ids, or None where it is not known which are left."""
    return str(EMPTY_DIGEST) if text is not None and count == 0 else None


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """Divide an amount among weights in proportion, each part at most its weight; largest remainders first.

    Args:
        amount: 0 <= amount <= sum(weights).
        weights: >= 0.

    Example:
        >>> split(5, [10, 5, 0])
        [3, 2, 0]
    """
    total = sum(weights)
    if total == 0:
        return [0] * len(weights)
    parts = [amount * weight // total for weight in weights]
    order = sorted(range(len(weights)), key=lambda n: (-(amount * weights[n] % total), n))
    for n in order[: amount - sum(parts)]:
        parts[n] += 1
    return parts
