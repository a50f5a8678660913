"""A project of which only the records are known, for tests of what the page says of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date

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


class NoSources:
    """Answers `dashboards.page.sources.Sources` with nothing."""

    kibana: Kibana | None = None

    def incidents(self, first: Date, last: Date) -> Sequence[IncidentCard]:
        return ()

    def open_incidents(self) -> Sequence[IncidentCard]:
        return ()

    def incident(self, episode: str) -> IncidentCard | None:
        return None

    def checks(self, day: Date) -> CheckDay | None:
        return None

    def verdicts(self, first: Date, last: Date) -> Sequence[VerdictCard]:
        return ()

    def releases(self) -> Sequence[ReleaseCard]:
        return ()

    def window(self) -> WindowCard:
        return WindowCard()

    def storage(self) -> Sequence[StorageCard]:
        return ()

    def galleries(self, day: Date) -> Sequence[Gallery]:
        return ()

    def eviction(self, day: Date) -> EvictionCard | None:
        return None

    def units(self, day: Date) -> Sequence[UnitCard]:
        return ()

    def log_lines(self, day: Date) -> Sequence[LogCard]:
        return ()
