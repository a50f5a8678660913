"""The record: what one attempt of one task on one leaf took in, handed on, dropped and failed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from datetime import date as Date
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    field_validator,
    model_validator,
)

from reporting.digest import Digest
from reporting.key import Name, RunKey

SCHEMA_VERSION = 1
EMITS_PER_ATTEMPT = 1 << 32
MAX_ERROR_CLASSES = 20
"""Error texts are unbounded input: at most this many classes are kept, the rest is summed in `other`."""

Count = Annotated[int, Field(ge=0)]


class State(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class TaskFailure(BaseModel):
    """Why an attempt failed as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error_class: str
    message: str


class Consumed(BaseModel):
    """Which upstream partition was read, and how many items of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Name
    date: Date
    planid: Name
    count: Count


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


UtcTime = Annotated[AwareDatetime, AfterValidator(_utc)]


class TaskRecord(BaseModel):
    """Totals of one attempt; never increments. Zero is written: 0 and missing are different facts.

    Conservation holds for every record: `input == output + sum(dropped) + sum(failed)`, all in the
    task's input unit. `produced` is in the output unit and equals `output` where the unit stays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: RunKey
    state: State
    attempt: Annotated[int, Field(ge=1)] = 1
    version: Annotated[int, Field(ge=0)]
    input: Count
    output: Count
    produced: Count
    dropped: dict[Name, Count] = Field(default_factory=dict)
    failed: dict[str, Count] = Field(default_factory=dict)
    error: TaskFailure | None = None
    consumed: tuple[Consumed, ...] = ()
    digest_in: str | None = None
    digest_out: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, FiniteFloat] = Field(default_factory=dict)
    started_at: UtcTime
    finished_at: UtcTime
    reported_at: UtcTime
    schema_version: int = SCHEMA_VERSION

    @field_validator("dropped", "failed", "versions", "metrics")
    @classmethod
    def _in_order(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Sort by name: a repeat that met its reasons in another order is still the same record, byte for byte."""
        return dict(sorted(value.items()))

    @field_validator("digest_in", "digest_out")
    @classmethod
    def _is_digest(cls, value: str | None) -> str | None:
        if value is not None:
            Digest.parse(value)
        return value

    @model_validator(mode="after")
    def _books_close(self) -> Self:
        out = self.output + sum(self.dropped.values()) + sum(self.failed.values())
        if self.input != out:
            raise ValueError(
                f"{self.key}: input {self.input} != output {self.output} + dropped {dict(self.dropped)}"
                f" + failed {dict(self.failed)} (= {out}); every item must be booked exactly once"
            )
        for name, text, count in (("in", self.digest_in, self.input), ("out", self.digest_out, self.produced)):
            if text is not None and (covered := Digest.count_of(text)) != count:
                raise ValueError(f"{self.key}: digest_{name} covers {covered} ids, booked are {count}")
        if not self.attempt * EMITS_PER_ATTEMPT <= self.version < (self.attempt + 1) * EMITS_PER_ATTEMPT:
            raise ValueError(f"{self.key}: version {self.version} does not belong to attempt {self.attempt}")
        if self.finished_at < self.started_at:
            raise ValueError(f"{self.key}: finished_at {self.finished_at} is before started_at {self.started_at}")
        return self

    @property
    def dropped_total(self) -> int:
        """Items dropped for any reason, in the input unit."""
        return sum(self.dropped.values())

    @property
    def failed_total(self) -> int:
        """Items that met an error, in the input unit."""
        return sum(self.failed.values())

    @property
    def seconds(self) -> float:
        """Wall time of the attempt in seconds."""
        return (self.finished_at - self.started_at).total_seconds()

    def to_document(self) -> dict[str, Any]:
        """Return the record as JSON-ready values, the key's parts flattened to the top level."""
        document = self.model_dump(mode="json")
        return {**document.pop("key"), **document}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> TaskRecord:
        """Read what `to_document` wrote."""
        rest = dict(document)
        key = RunKey(**{part: rest.pop(part) for part in RunKey.model_fields})
        return cls(key=key, **rest)

    def content_hash(self) -> str:
        """Return a hash of all that is booked, without the time of reporting (repeats differ only there)."""
        return hashlib.sha256(self.model_dump_json(exclude={"reported_at"}).encode()).hexdigest()[:32]


def version_of(attempt: int, emit: int) -> int:
    """Return the record's version: attempt x 2^32 + emit number, so that order of arrival does not matter.

    Example:
        >>> version_of(2, 1) > version_of(1, 999)
        True
    """
    if attempt < 1 or not 0 <= emit < EMITS_PER_ATTEMPT:
        raise ValueError(f"attempt {attempt} must be >= 1 and emit {emit} in [0, 2^32)")
    return attempt * EMITS_PER_ATTEMPT + emit
