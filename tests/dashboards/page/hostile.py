"""Cards whose every text is markup: what the models allow, the pages must show as text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from datetime import date as Date
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

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
from tests.dashboards.page.world import NEWEST

SCRIPT = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"


def filled(wanted: Any, day: Date) -> Any:  # of whatever type is wanted
    """Return a value of a type: each text is `SCRIPT`, each choice its first, each sequence one long."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, UnionType):
        return filled(arguments[0], day)
    if origin is tuple:
        return (filled(arguments[0], day),) if arguments[-1] is ... else tuple(filled(one, day) for one in arguments)
    if origin is not None and issubclass(origin, Mapping):
        return {SCRIPT: filled(arguments[1], day)}
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        return wanted(**{name: filled(field.annotation, day) for name, field in wanted.model_fields.items()})
    plain = {str: SCRIPT, int: 7, float: 0.5, bool: True, datetime: datetime(2026, 10, 27, tzinfo=UTC), Date: day}
    return plain[wanted]


class HostileSources:
    """Every source answers with one card that is full of markup."""

    kibana: Kibana | None = Kibana("https://kibana.example/s/x", "shop")

    def incidents(self, first: Date, last: Date) -> list[IncidentCard]:
        return [filled(IncidentCard, NEWEST)]

    def open_incidents(self) -> list[IncidentCard]:
        return [filled(IncidentCard, NEWEST)]

    def incident(self, episode: str) -> IncidentCard | None:
        found: IncidentCard = filled(IncidentCard, NEWEST)
        return found

    def checks(self, day: Date) -> CheckDay | None:
        found: CheckDay = filled(CheckDay, day)
        return found

    def verdicts(self, first: Date, last: Date) -> list[VerdictCard]:
        return [filled(VerdictCard, NEWEST)]

    def releases(self) -> list[ReleaseCard]:
        return [filled(ReleaseCard, NEWEST).model_copy(update={"marks": ("current", SCRIPT)})]

    def window(self) -> WindowCard:
        found: WindowCard = filled(WindowCard, NEWEST)
        return found

    def storage(self) -> list[StorageCard]:
        return [filled(StorageCard, NEWEST)]

    def galleries(self, day: Date) -> list[Gallery]:
        return [filled(Gallery, day)]

    def eviction(self, day: Date) -> EvictionCard | None:
        found: EvictionCard = filled(EvictionCard, day)
        return found

    def units(self, day: Date) -> list[UnitCard]:
        same = {"task": "split", "category": "all", "subinstance": "0002", "planid": "repair of 0002"}
        return [filled(UnitCard, day).model_copy(update=same)]

    def log_lines(self, day: Date) -> list[LogCard]:
        same = {"task": "split", "category": "hats", "subinstance": "0002", "planid": "repair of 0002"}
        return [filled(LogCard, day).model_copy(update=same)]
