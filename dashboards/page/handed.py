"""The sources as the composition root hands them over: functions of the other folders, whose answers are validated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date
from typing import Any

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

Plain = Mapping[str, Any]
"""The fields of a card, by name."""


@dataclass(frozen=True)
class Adapters:
    """One function a question; each answers plain mappings, with the fields that `cards.py` has."""

    incidents: Callable[[Date, Date], Iterable[Plain]]
    open_incidents: Callable[[], Iterable[Plain]]
    incident: Callable[[str], Plain | None]
    checks: Callable[[Date], Plain | None]
    verdicts: Callable[[Date, Date], Iterable[Plain]]
    releases: Callable[[], Iterable[Plain]]
    window: Callable[[], Plain]
    storage: Callable[[], Iterable[Plain]]
    galleries: Callable[[Date], Iterable[Plain]]
    eviction: Callable[[Date], Plain | None]
    units: Callable[[Date], Iterable[Plain]]
    log_lines: Callable[[Date], Iterable[Plain]]


class HandedSources:
    """See `Sources`.

    Raises:
        ValidationError: an adapter answers with other fields than the page knows; a test holds them together.
    """

    def __init__(self, adapters: Adapters, kibana: Kibana | None = None):
        self._of = adapters
        self.kibana = kibana

    def incidents(self, first: Date, last: Date) -> Sequence[IncidentCard]:
        """See `Sources.incidents`."""
        return [IncidentCard.model_validate(one) for one in self._of.incidents(first, last)]

    def open_incidents(self) -> Sequence[IncidentCard]:
        """See `Sources.open_incidents`."""
        return [IncidentCard.model_validate(one) for one in self._of.open_incidents()]

    def incident(self, episode: str) -> IncidentCard | None:
        """See `Sources.incident`."""
        found = self._of.incident(episode)
        return None if found is None else IncidentCard.model_validate(found)

    def checks(self, day: Date) -> CheckDay | None:
        """See `Sources.checks`."""
        found = self._of.checks(day)
        return None if found is None else CheckDay.model_validate(found)

    def verdicts(self, first: Date, last: Date) -> Sequence[VerdictCard]:
        """See `Sources.verdicts`."""
        return [VerdictCard.model_validate(one) for one in self._of.verdicts(first, last)]

    def releases(self) -> Sequence[ReleaseCard]:
        """See `Sources.releases`."""
        return [ReleaseCard.model_validate(one) for one in self._of.releases()]

    def window(self) -> WindowCard:
        """See `Sources.window`."""
        return WindowCard.model_validate(self._of.window())

    def storage(self) -> Sequence[StorageCard]:
        """See `Sources.storage`."""
        return [StorageCard.model_validate(one) for one in self._of.storage()]

    def galleries(self, day: Date) -> Sequence[Gallery]:
        """See `Sources.galleries`."""
        return [Gallery.model_validate(one) for one in self._of.galleries(day)]

    def eviction(self, day: Date) -> EvictionCard | None:
        """See `Sources.eviction`."""
        found = self._of.eviction(day)
        return None if found is None else EvictionCard.model_validate(found)

    def units(self, day: Date) -> Sequence[UnitCard]:
        """See `Sources.units`."""
        return [UnitCard.model_validate(one) for one in self._of.units(day)]

    def log_lines(self, day: Date) -> Sequence[LogCard]:
        """See `Sources.log_lines`."""
        return [LogCard.model_validate(one) for one in self._of.log_lines(day)]
