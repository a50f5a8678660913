"""What the page shows that no record holds: one Protocol, answered by the composition root.

Days are business days, bounds included. What is not there is an empty sequence or None, never an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from typing import Protocol

from dashboards.page.cards import (
    CheckDay,
    EvictionCard,
    Gallery,
    IncidentCard,
    LogCard,
    ReleaseCard,
    StorageCard,
    UnitCard,
    VerdictCard,
    WindowCard,
)
from dashboards.page.links import Kibana


class Sources(Protocol):
    """Everything the page asks of the other folders."""

    @property
    def kibana(self) -> Kibana | None:
        """Where the dashboards are in Kibana; None: no links to it are made."""

    def incidents(self, first: Date, last: Date) -> Sequence[IncidentCard]:
        """Return the incidents of some days without their history: open ones first, then the newest."""

    def open_incidents(self) -> Sequence[IncidentCard]:
        """Return every open incident of any day without its history, the worst first."""

    def incident(self, episode: str) -> IncidentCard | None:
        """Return all of an incident; None: there is no such episode."""

    def checks(self, day: Date) -> CheckDay | None:
        """Return the latest run over a day; None: none was run."""

    def verdicts(self, first: Date, last: Date) -> Sequence[VerdictCard]:
        """Return the gate's verdicts about some days, oldest first."""

    def releases(self) -> Sequence[ReleaseCard]:
        """Return the releases, newest first; the one that serves is marked `current`."""

    def window(self) -> WindowCard:
        """Return which days serve, and what each gives."""

    def storage(self) -> Sequence[StorageCard]:
        """Return the bytes of the lake by kind of file."""

    def galleries(self, day: Date) -> Sequence[Gallery]:
        """Return the day's pictures by task and reason, in the order of the tasks."""

    def eviction(self, day: Date) -> EvictionCard | None:
        """Return what evict decided on a day; None: it has not run."""

    def units(self, day: Date) -> Sequence[UnitCard]:
        """Return the attempts of a day's units of work, sorted by key and attempt."""

    def log_lines(self, day: Date) -> Sequence[LogCard]:
        """Return the newest lines of the log about a day, at most some thousand, oldest first."""
