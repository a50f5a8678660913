"""What a sink is handed, and what sending comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from checks.incidents import Event, Incident
from reporting.record import UtcTime


class Notice(BaseModel):
    """One notice on its way to one sink.

    Attributes:
        notice_id: Unique for ever, and the same where a crash between sending and noting it has it sent twice.
        sink: The sink's name.
        event: What happened.
        number: Counts the notices of an episode and event, from 1.
        incident: As it was when the notice was written.
        created_at: When that was.
        attempts: How often it was tried before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    notice_id: str
    sink: str
    event: Event
    number: int
    incident: Incident
    created_at: UtcTime
    attempts: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Sent:
    """The other side has taken it."""


@dataclass(frozen=True)
class Retry:
    """Not now.

    Attributes:
        error: Why, without any secret.
        after: Seconds that the other side asks to be left alone, by this sink as a whole; None: it does not say.
    """

    error: str
    after: float | None = None


@dataclass(frozen=True)
class Dead:
    """Never: the other side refuses this notice as it is, whatever time passes.

    Attributes:
        error: Why, without any secret.
    """

    error: str


Fate = Sent | Retry | Dead


class Sink(Protocol):
    """One place that notices go to. Used by one thread at a time."""

    @property
    def name(self) -> str:
        """Its name in the settings."""

    @property
    def timeout_seconds(self) -> float:
        """The longest that one `send` takes."""

    def send(self, notice: Notice) -> Fate:
        """Send one notice, within the sink's time; never raises for what the other side or the network does."""
