"""The outbox: what waits to be shipped, and the contract between where it waits and where it goes.

An entry is written in the transaction of the fact it carries, and leaves the outbox only after the other side
has acknowledged it. So a crash anywhere repeats a delivery, and never loses one; deliveries are idempotent.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict


class Topic(StrEnum):
    """What an entry carries; `body` is JSON."""

    RECORD = "record"
    """A `TaskRecord`; delivered as its event and its record document."""
    PLAN = "plan"
    """A `Plan`; `version` is its revision in the registry."""
    EXPECTED = "expected"
    """`{"planid": ..., "leaves": [[task, date, category, subinstance], ...]}`: leaves added to a manifest."""
    VERDICT = "verdict"
    """A `Verdict`; `version` is its revision."""
    EVALUATION = "evaluation"
    """`{"run_id": ..., "result": {...}}`: what one check said in one run; written once."""
    INCIDENT = "incident"
    """An incident as the checks keep it; `version` is its revision."""
    DELETE = "delete"
    """`{"key": {...}}`: the record document of a key goes; its events stay."""


class Entry(NamedTuple):
    """One row of an outbox."""

    seq: int
    topic: str
    document_id: str
    version: int
    body: str
    created_at: str
    """ISO-8601, UTC."""


class Fate(StrEnum):
    """What became of an entry that was handed over."""

    DELIVERED = "delivered"
    STALE = "stale"
    """A greater version is already there: nothing to do, and a success."""
    POISON = "poison"
    """The other side will never take it: to be put aside with its error."""
    CONFLICT = "conflict"
    """Its version is there with other content: put aside too, and counted apart."""
    RETRY = "retry"
    """Not now (429, connection lost): it stays where it is."""
    BLOCKED = "blocked"
    """Not before an operator acts (write block, wrong key, setup not run): it stays where it is."""


class Outcome(NamedTuple):
    """The fate of one entry, with the error where it is not a success."""

    entry: Entry
    fate: Fate
    error: str = ""


class OutboxStatus(BaseModel):
    """How much waits, since when, and what was put aside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pending: int
    oldest_seconds: float | None
    """Age of the oldest waiting entry; None when nothing waits."""
    quarantined: int
    shipped: int
    """Entries acknowledged since the outbox was made."""
    bytes: int
    """Size of what waits."""


class Outbox(Protocol):
    """Where entries wait: the outbox table of a SQL store, or a spool folder."""

    def peek(self, limit: int, max_bytes: int) -> list[Entry]:
        """Return the oldest entries, at most `limit` and about `max_bytes` of bodies (but at least one)."""

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """In one step: remove the delivered and stale, put the poisonous and conflicting aside, keep the rest."""

    def status(self) -> OutboxStatus:
        """Return how much waits."""

    def lead(self, owner: str, seconds: float) -> bool:
        """Take or keep the one shipper's lease; False while another holds it."""

    def resign(self, owner: str) -> None:
        """Give the lease back."""

    def dead(self) -> list[Outcome]:
        """Return what was put aside, the oldest first, with its error."""

    def revive(self) -> int:
        """Queue what was put aside again, after its cause was mended; return how many."""


class Sink(Protocol):
    """Where entries go."""

    def deliver(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Hand entries over; return one outcome for each, in order.

        Raises:
            FunnelgateError: the other side could not be asked at all; everything stays where it is.
        """
