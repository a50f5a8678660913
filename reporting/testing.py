"""Doubles for the tests of whoever keeps books: record and plan factories, and a store that fails on purpose.

Shipped, so that users test with the tools we test with. `reporting.stores.memory.MemoryStore` is the third of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from typing import Any, Literal

from reporting.errors import StoreError
from reporting.key import ALL, RunKey
from reporting.plans import Leaf, Plan, PlanKind, PlanState
from reporting.record import State, TaskFailure, TaskRecord, version_of
from reporting.stores.base import RecordQuery, RecordStore, Sums, Totals, UnitOfWork
from reporting.verdict import Verdict

DAY = Date(2026, 11, 1)
"""The day that factories use unless told otherwise."""

MOMENT = datetime(2026, 11, 1, 6, 0, tzinfo=UTC)
"""The moment that factories use unless told otherwise."""

Fault = Literal["begin", "commit", "acknowledge"]


def make_record(
    task: str = "quality",
    *,
    date: Date = DAY,
    category: str = ALL,
    subinstance: str = ALL,
    planid: str = "daily",
    input: int = 10,
    dropped: Mapping[str, int] | None = None,
    failed: Mapping[str, int] | None = None,
    produced: int | None = None,
    attempt: int = 1,
    emit: int = 0,
    reported_at: datetime = MOMENT,
    **changes: Any,
) -> TaskRecord:
    """Return a record whose books close: what is neither dropped nor failed is output, and is handed on.

    Args:
        task: the key's task; `date`, `category`, `subinstance` and `planid` are its other parts.
        date: the key's day.
        category: the key's category.
        subinstance: the key's subinstance.
        planid: the key's plan.
        input: items taken in; must be at least what is dropped and failed.
        dropped: items by reason.
        failed: items by error class; any makes a failed record.
        produced: items handed on in the output unit; default the output.
        attempt: from 1; it makes the version together with `emit`.
        emit: from 0.
        reported_at: aware; the attempt ended then and began a minute before.
        **changes: any other field of `TaskRecord`.

    Raises:
        ValidationError: the numbers contradict each other.

    Example:
        >>> make_record(input=5, dropped={"blurred": 2}).output
        3
    """
    output = input - sum((dropped or {}).values()) - sum((failed or {}).values())
    fields: dict[str, Any] = {
        "key": RunKey(task=task, date=date, category=category, subinstance=subinstance, planid=planid),
        "state": State.FAILED if failed else State.SUCCEEDED,
        "attempt": attempt,
        "version": version_of(attempt, emit),
        "input": input,
        "output": output,
        "produced": output if produced is None else produced,
        "dropped": dict(dropped or {}),
        "failed": dict(failed or {}),
        "error": TaskFailure(error_class=next(iter(failed)), message="made to fail") if failed else None,
        "started_at": reported_at - timedelta(minutes=1),
        "finished_at": reported_at,
        "reported_at": reported_at,
    }
    return TaskRecord(**{**fields, **changes})


def make_plan(
    planid: str = "daily",
    kind: PlanKind = PlanKind.DAILY,
    *,
    dates: Sequence[Date] = (DAY,),
    created_at: datetime = MOMENT,
    completed_at: datetime | None = None,
    promoted_at: datetime | None = None,
    **changes: Any,
) -> Plan:
    """Return a plan whose state follows from its times: promoted, else complete, else open.

    Example:
        >>> make_plan("r1", PlanKind.RERUN, promoted_at=MOMENT).state.value
        'promoted'
    """
    state = PlanState.OPEN
    if completed_at is not None:
        state = PlanState.COMPLETE
    if promoted_at is not None:
        state = PlanState.PROMOTED
    fields: dict[str, Any] = {
        "planid": planid,
        "kind": kind,
        "state": state,
        "dates": tuple(dates),
        "created_at": created_at,
        "completed_at": completed_at,
        "promoted_at": promoted_at,
    }
    return Plan(**{**fields, **changes})


class FaultyStore:
    """A store whose transactions fail with a given probability; reads pass through.

    Three places, each drawn on its own: `begin` fails before anything was done; `commit` after all was done, so
    that the wrapped store rolls back; `acknowledge` after the commit, so that the caller sees an error although
    everything was kept (a connection lost at the worst moment: only idempotent writers survive it).

    Example:
        >>> from reporting.stores.memory import MemoryStore
        >>> store = FaultyStore(MemoryStore(), probability=1.0, seed=1)
        >>> with store.begin() as work:
        ...     work.put_record(make_record())
        Traceback (most recent call last):
            ...
        reporting.errors.StoreError: store: made to fail at begin (fault 1); try again
    """

    def __init__(
        self, store: RecordStore, *, probability: float, seed: int, at: Sequence[Fault] = ("begin", "commit")
    ) -> None:
        """Wrap a store.

        Args:
            store: what the transactions go to.
            probability: of a fault at each place of each transaction, 0 to 1.
            seed: the same seed gives the same faults.
            at: the places that may fail.

        Raises:
            ValueError: the probability is outside [0, 1].
        """
        if not 0 <= probability <= 1:
            raise ValueError(f"probability {probability} must lie in [0, 1]")
        self._store = store
        self._probability = probability
        self._random = random.Random(seed)  # noqa: S311 - faults to order, no secret
        self._at = frozenset(at)
        self.faults = 0
        """How many transactions were made to fail so far."""

    def _perhaps(self, place: Fault) -> None:
        if place in self._at and self._random.random() < self._probability:
            self.faults += 1
            raise StoreError(f"store: made to fail at {place} (fault {self.faults}); try again")

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """Open a transaction that may fail.

        Raises:
            StoreError: a fault was drawn.
        """
        self._perhaps("begin")
        with self._store.begin() as work:
            yield work
            self._perhaps("commit")
        self._perhaps("acknowledge")

    def get_record(self, key: RunKey) -> TaskRecord | None:
        """See `RecordStore.get_record`."""
        return self._store.get_record(key)

    def records(self, query: RecordQuery) -> list[TaskRecord]:
        """See `RecordStore.records`."""
        return self._store.records(query)

    def totals(self, query: RecordQuery, by: Sequence[str]) -> list[Totals]:
        """See `RecordStore.totals`."""
        return self._store.totals(query, by)

    def sums(self, query: RecordQuery, by: Sequence[str], measures: Sequence[str]) -> list[Sums]:
        """See `RecordStore.sums`."""
        return self._store.sums(query, by, measures)

    def history(self, key: RunKey) -> list[TaskRecord]:
        """See `RecordStore.history`."""
        return self._store.history(key)

    def plans(self, date_from: Date | None = None, date_to: Date | None = None) -> list[Plan]:
        """See `RecordStore.plans`."""
        return self._store.plans(date_from, date_to)

    def get_plan(self, planid: str) -> Plan | None:
        """See `RecordStore.get_plan`."""
        return self._store.get_plan(planid)

    def expected(self, planid: str) -> set[Leaf]:
        """See `RecordStore.expected`."""
        return self._store.expected(planid)

    def delete_plan_records(self, planid: str) -> int:
        """See `RecordStore.delete_plan_records`."""
        return self._store.delete_plan_records(planid)

    def verdicts(self, planid: str) -> list[Verdict]:
        """See `RecordStore.verdicts`."""
        return self._store.verdicts(planid)
