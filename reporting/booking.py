"""The open books of one attempt: items are taken in, then kept, dropped or failed, and closed into a record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Protocol

from reporting.digest import EMPTY_DIGEST, Digest
from reporting.errors import RecordError, nearest
from reporting.key import RunKey
from reporting.record import MAX_ERROR_CLASSES, Consumed, State, TaskFailure, TaskRecord, version_of

Items = Iterable[str] | Digest | int
"""Item ids; or their digest, where millions of them are a column; or only their number when the caller has no ids (then
there is no digest)."""

_MAX_MESSAGE = 2000


class TaskRules(Protocol):
    """What a topology declares of a task, as far as booking must know it."""

    @property
    def drop_reasons(self) -> tuple[str, ...]:
        """The closed list of reasons."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The declared metric names; one that ends in `*` stands for every name with this beginning."""


class _Side:
    """One side of the books: a count, and a digest as long as every item came with its id."""

    def __init__(self) -> None:
        self.count = 0
        self.digest: Digest | None = EMPTY_DIGEST

    def add(self, items: Items) -> int:
        if isinstance(items, int):
            added = _count(items)
            if added:
                self.digest = None
        else:
            digest = items if isinstance(items, Digest) else Digest.of(items)
            added = digest.count
            if self.digest is not None:
                self.digest += digest
        self.count += added
        return added

    def text(self) -> str | None:
        return None if self.digest is None else str(self.digest)


class Booking:
    """Collects what one attempt did. Not thread-safe; one booking belongs to one attempt.

    Example:
        >>> from datetime import UTC, datetime
        >>> key = RunKey(task="filter", date="2026-11-01", planid="p1")
        >>> books = Booking(key, started_at=datetime(2026, 11, 1, tzinfo=UTC))
        >>> books.take(["a", "b", "c"]); books.drop("blurred", ["b"]); books.keep(["a", "c"])
        >>> record = books.close(finished_at=datetime(2026, 11, 1, 0, 1, tzinfo=UTC))
        >>> record.input, record.output, record.dropped
        (3, 2, {'blurred': 1})
    """

    def __init__(self, key: RunKey, *, started_at: datetime, rules: TaskRules | None = None, attempt: int = 1):
        self.key = key
        self.attempt = attempt
        self.started_at = started_at
        self._rules = rules
        self._input, self._output, self._produced = _Side(), _Side(), _Side()
        self._unit_changes = False
        self._dropped: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._consumed: list[Consumed] = []
        self._versions: dict[str, str] = {}
        self._metrics: dict[str, float] = {}

    @property
    def input_count(self) -> int:
        """Items taken in so far."""
        return self._input.count

    def take(self, items: Items) -> None:
        """Book items as input."""
        self._input.add(items)

    def keep(self, items: Items) -> None:
        """Book items as output, in the input unit; they are also what is handed on unless `produce` is called."""
        self._output.add(items)

    def produce(self, items: Items) -> None:
        """Book items handed on in the output unit, where it differs from the input unit."""
        self._unit_changes = True
        self._produced.add(items)

    def drop(self, reason: str, items: Items) -> None:
        """Book items as left out on purpose.

        Raises:
            RecordError: the topology does not declare the reason for this task.
        """
        if self._rules is not None and reason not in self._rules.drop_reasons:
            raise RecordError(
                f"{self.key}: drop reason {reason!r} is not declared for task {self.key.task!r}; "
                f"{nearest(reason, self._rules.drop_reasons)} (drop_reasons in pipeline.yaml)"
            )
        self._dropped[reason] += _count(items)

    def fail(self, error: BaseException | str, items: Items) -> None:
        """Book items that met an error, under its class; at most MAX_ERROR_CLASSES classes are kept apart."""
        name = error if isinstance(error, str) else type(error).__name__
        if name not in self._failed and len(self._failed) >= MAX_ERROR_CLASSES:
            name = "other"
        self._failed[name] += _count(items)

    def consume(self, consumed: Consumed) -> None:
        """Book which upstream partition was read."""
        self._consumed.append(consumed)

    def use(self, what: str, version: str) -> None:
        """Book the version of a model, feature space, code or dictionary that was used."""
        self._versions[what] = version

    def measure(self, name: str, value: float) -> None:
        """Book a metric.

        Raises:
            RecordError: the topology does not declare the metric for this task, or the value is not a finite number
                (JSON has no other ones: the record could not be read back).
        """
        if self._rules is not None and not is_declared(name, self._rules.metrics):
            raise RecordError(
                f"{self.key}: metric {name!r} is not declared for task {self.key.task!r}; "
                f"{nearest(name, self._rules.metrics)} (metrics in pipeline.yaml)"
            )
        if not math.isfinite(value):
            raise RecordError(f"{self.key}: metric {name!r} is {value}; book a finite number, or leave the metric out")
        self._metrics[name] = float(value)

    def close(
        self,
        *,
        finished_at: datetime,
        error: BaseException | None = None,
        state: State | None = None,
        emit: int = 0,
        input_if_unread: int = 0,
    ) -> TaskRecord:
        """Return the record. With an error, everything not yet booked counts as failed by it.

        Books of a failed attempt in which more went out than came in cannot be trusted in any line: then all
        that was taken in counts as failed, and nothing as handed on.

        Args:
            finished_at: when the attempt ended, aware.
            error: the exception that ended the attempt, if one did.
            state: overrides succeeded/failed (for `skipped`).
            emit: rises with every emit of the same attempt.
            input_if_unread: input to book when the attempt failed before it took anything.

        Raises:
            RecordError: items were taken in but not kept, dropped or failed.
        """
        if error is not None and self._input.count == 0 and input_if_unread:
            self._input.add(input_if_unread)
        self._settle(error)
        produced = self._produced if self._unit_changes else self._output
        return TaskRecord(
            key=self.key,
            state=state or (State.FAILED if error is not None else State.SUCCEEDED),
            attempt=self.attempt,
            version=version_of(self.attempt, emit),
            input=self._input.count,
            output=self._output.count,
            produced=produced.count,
            dropped=dict(self._dropped),
            failed=dict(self._failed),
            error=_failure(error),
            consumed=tuple(self._consumed),
            digest_in=self._input.text(),
            digest_out=produced.text(),
            versions=self._versions,
            metrics=self._metrics,
            started_at=self.started_at,
            finished_at=finished_at,
            reported_at=finished_at,
        )

    def _settle(self, error: BaseException | None) -> None:
        """Book as failed what an error left unbooked; without an error, refuse books that do not close."""
        booked = self._output.count + self._dropped.total() + self._failed.total()
        missing = self._input.count - booked
        if error is not None and missing:
            if missing < 0:
                self._output, self._produced = _Side(), _Side()
                self._dropped.clear()
                self._failed.clear()
                missing = self._input.count
            if missing:
                self.fail(error, missing)
            missing = 0
        if missing:
            raise RecordError(
                f"{self.key}: {self._input.count} items were taken in but {booked} booked out "
                f"(kept {self._output.count}, dropped {dict(self._dropped)}, failed {dict(self._failed)}); "
                "book every item exactly once before the task ends"
            )


def is_declared(metric: str, declared: Collection[str]) -> bool:
    """Tell whether a metric is among the declared names; one that ends in `*` declares what begins as it does.

    Example:
        >>> is_declared("declared_as_hats", ["fell_back", "declared_as_*"]), is_declared("declared", ["declared_as_*"])
        (True, False)
    """
    return metric in declared or any(name.endswith("*") and metric.startswith(name[:-1]) for name in declared)


def _count(items: Items) -> int:
    if isinstance(items, Digest):
        return items.count
    count = items if isinstance(items, int) else sum(1 for _ in items)
    if count < 0:
        raise RecordError(f"cannot book {count} items: a count is 0 or more")
    return count


def _failure(error: BaseException | None) -> TaskFailure | None:
    if error is None:
        return None
    # A path that is no UTF-8 comes as lone surrogates, which JSON cannot carry: the failure would go unbooked.
    message = str(error)[:_MAX_MESSAGE].encode("utf-8", "backslashreplace").decode("utf-8")
    return TaskFailure(error_class=type(error).__name__, message=message)
