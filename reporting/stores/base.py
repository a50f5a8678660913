"""What every store can do, and what it answers with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import date as Date
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from reporting.errors import VersionConflict
from reporting.key import KEY_PARTS, RunKey
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.verdict import Verdict


class PutOutcome(StrEnum):
    """What became of a record that was put."""

    STORED = "stored"
    REPEAT = "repeat"
    """This version arrived before, with equal content: nothing to do."""
    OLDER = "older"
    """A greater version is already there; this one is kept as an event only."""


class RecordQuery(BaseModel):
    """Which records to read; None does not restrict. `as_of` replays from the events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: tuple[str, ...] | None = None
    date_from: Date | None = None
    date_to: Date | None = None
    categories: tuple[str, ...] | None = None
    subinstances: tuple[str, ...] | None = None
    planids: tuple[str, ...] | None = None
    as_of: datetime | None = None

    def selects(self, key: RunKey) -> bool:
        """Tell whether a key is within the query (without `as_of`)."""
        return (
            (self.tasks is None or key.task in self.tasks)
            and (self.date_from is None or key.date >= self.date_from)
            and (self.date_to is None or key.date <= self.date_to)
            and (self.categories is None or key.category in self.categories)
            and (self.subinstances is None or key.subinstance in self.subinstances)
            and (self.planids is None or key.planid in self.planids)
        )


class Totals(BaseModel):
    """Sums over a group of records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: tuple[str, ...]
    records: int
    input: int
    output: int
    produced: int
    dropped: int
    failed: int


class Sums(NamedTuple):
    """Measures added up over a group of records."""

    group: tuple[str, ...]
    """Values of the key parts asked for, as text."""
    records: int
    """How many there are, > 0."""
    values: tuple[float, ...]
    """A sum for each measure: the float nearest to the exact sum (of seconds, to the exact microseconds); 0 where no
    record holds the measure."""
    counted: tuple[int, ...]
    """For each measure, how many of the records hold it: all of them, but for metrics."""


class UnitOfWork(Protocol):
    """One transaction: all of it becomes visible, or nothing."""

    def put_record(self, record: TaskRecord) -> PutOutcome:
        """Store a record with its event and outbox row; the greater version stays.

        Raises:
            VersionConflict: the stored record, or an event of it, has the same version and other content.
        """

    def put_plan(self, plan: Plan) -> None:
        """Store a plan, or its new state."""

    def expect(self, planid: str, leaves: Iterable[Leaf]) -> None:
        """Add leaves to a plan's manifest; repeats are ignored."""

    def put_verdict(self, verdict: Verdict) -> None:
        """Store a verdict; the same id again replaces it."""


class RecordStore(Protocol):
    """Records, plans, manifests, verdicts."""

    def begin(self) -> AbstractContextManager[UnitOfWork]:
        """Open a transaction; it commits when the block ends and rolls back when it raises."""

    def get_record(self, key: RunKey) -> TaskRecord | None:
        """Return the record of a key, or None."""

    def records(self, query: RecordQuery) -> list[TaskRecord]:
        """Return the records of a query, sorted by key."""

    def totals(self, query: RecordQuery, by: Sequence[str]) -> list[Totals]:
        """Return sums grouped by any key parts, sorted by group."""

    def sums(self, query: RecordQuery, by: Sequence[str], measures: Sequence[str]) -> list[Sums]:
        """Return sums of any measures (`reporting.measures`) grouped by any key parts, sorted by group.

        Groups without a record are not there; `by` may be empty. All of it is of one moment.

        Raises:
            ConfigError: one of the measures is none.
            ValueError: `by` names what is no part of the key.
        """

    def history(self, key: RunKey) -> list[TaskRecord]:
        """Return every record ever put under a key, in order of arrival."""

    def plans(self, date_from: Date | None = None, date_to: Date | None = None) -> list[Plan]:
        """Return the plans that touch a span of days, sorted by creation."""

    def get_plan(self, planid: str) -> Plan | None:
        """Return a plan, or None."""

    def expected(self, planid: str) -> set[Leaf]:
        """Return a plan's manifest."""

    def delete_plan_records(self, planid: str) -> int:
        """Delete a plan's records (not its events); return how many."""

    def verdicts(self, planid: str) -> list[Verdict]:
        """Return a plan's verdicts, the latest last."""


def check_parts(by: Sequence[str]) -> None:
    """Refuse to group by what is no part of the key.

    Raises:
        ValueError: it names what was found and what there is.
    """
    unknown = sorted(set(by) - set(KEY_PARTS))
    if unknown:
        raise ValueError(f"grouped by {', '.join(unknown)}: expected parts of the key, {', '.join(KEY_PARTS)}")


def decide_put(stored: tuple[int, str] | None, record: TaskRecord) -> PutOutcome:
    """Return what to do with a record, given the (version, content hash) stored under its key.

    Raises:
        VersionConflict: equal version, different content.
    """
    if stored is None or record.version > stored[0]:
        return PutOutcome.STORED
    if record.version < stored[0]:
        return PutOutcome.OLDER
    if record.content_hash() == stored[1]:
        return PutOutcome.REPEAT
    raise VersionConflict(
        f"{record.key}: version {record.version} (attempt {record.attempt}) is already booked with other content; "
        "a new emit must carry a greater version"
    )
