"""Desks for the pages of pictures, incidents, the gate and releases: made cards, or a real project's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from datetime import date as Date
from typing import Any

from dashboards.page.cards import (
    EvictionCard,
    Gallery,
    IncidentCard,
    ReleaseCard,
    StorageCard,
    VerdictCard,
    WindowCard,
)
from dashboards.page.desk import Desk
from dashboards.page.links import Kibana
from dashboards.page.render import Site, render
from dashboards.page.routes import page_at
from reporting.stores.memory import MemoryStore
from reporting.testing import DAY, make_plan, make_record
from reporting.topology import Topology
from tests.dashboards.page.no_sources import NoSources
from tests.dashboards.page.seen import Seen, seen

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
_SPLIT = {"unit_in": "picture", "unit_out": "picture", "grain": ["subinstance"], "drop_reasons": ["blurred"]}
GRAPH = Topology.model_validate(
    {"tasks": {"download": _SPLIT, "quality": _SPLIT}, "edges": [{"from": "download", "to": "quality"}]}
)


class Told(NoSources):
    """Sources that answer with what they were given."""

    def __init__(self, kibana: Kibana | None = None, **cards: Any):
        self.kibana = kibana
        self._cards = cards

    def incidents(self, first: Date, last: Date) -> Sequence[IncidentCard]:
        return [one for one in self._cards.get("incidents", ()) if first <= one.date <= last]

    def open_incidents(self) -> Sequence[IncidentCard]:
        return [one for one in self._cards.get("incidents", ()) if one.is_open]

    def incident(self, episode: str) -> IncidentCard | None:
        return next((one for one in self._cards.get("incidents", ()) if one.episode == episode), None)

    def verdicts(self, first: Date, last: Date) -> Sequence[VerdictCard]:
        return [one for one in self._cards.get("verdicts", ()) if first <= one.date <= last]

    def releases(self) -> Sequence[ReleaseCard]:
        found: Sequence[ReleaseCard] = self._cards.get("releases", ())
        return found

    def window(self) -> WindowCard:
        found: WindowCard = self._cards.get("window", WindowCard())
        return found

    def storage(self) -> Sequence[StorageCard]:
        found: Sequence[StorageCard] = self._cards.get("storage", ())
        return found

    def galleries(self, day: Date) -> Sequence[Gallery]:
        del day
        found: Sequence[Gallery] = self._cards.get("galleries", ())
        return found

    def eviction(self, day: Date) -> EvictionCard | None:
        card: EvictionCard | None = self._cards.get("eviction")
        return card if card is not None and card.date == day else None


def small_store() -> MemoryStore:
    """Return a day of two tasks and two packages, where quality has read half of the second package."""
    store = MemoryStore()
    with store.begin() as work:
        work.put_plan(make_plan("daily"))
        for package, handed, taken in (("0001", 40, 40), ("0002", 45, 22)):
            work.put_record(make_record("download", subinstance=package, input=handed))
            work.put_record(make_record("quality", subinstance=package, input=taken, dropped={"blurred": 2}))
    return store


def made_desk(kibana: Kibana | None = None, **cards: Any) -> Desk:
    """Return a desk over `small_store` with some cards."""
    return Desk(small_store(), GRAPH, Told(kibana, **cards), NOW)


def shown(desk: Desk, path: str, **site: Any) -> Seen:
    """Return a page as it is read, where every page exists."""
    return seen(html_of(desk, path, **site))


def html_of(desk: Desk, path: str, **site: Any) -> str:
    """Return a page, where every page exists."""
    page = page_at(desk, path)
    assert page is not None, f"there is no {path}"
    assert page.path == path
    known: Site = desk.site(live=True)._replace(**site)
    return render(page, known)


SCRIPT = "<script>alert(1)</script>"
_FREE = ("metrics", "group", "values")
"""Fields that map any name to something: their names come from data too."""


def hostile(plain: Mapping[str, Any], *, but: Collection[str] = ()) -> dict[str, Any]:
    """Return a card's fields with a script before each text, also in names that come from data.

    Args:
        plain: The fields of a card.
        but: Fields that keep their words.
    """
    return {name: value if name in but else _hostile(name, value, but) for name, value in plain.items()}


def _hostile(name: str, value: Any, but: Collection[str]) -> Any:
    if isinstance(value, str):
        return value if value.startswith("data:image/") else f"{SCRIPT}'\"{value}"
    if isinstance(value, dict):
        if name in _FREE:
            return {f"{SCRIPT}'\"{key}": _hostile("", one, but) for key, one in value.items()}
        return hostile(value, but=but)
    return [_hostile("", one, but) for one in value] if isinstance(value, list | tuple) else value


__all__ = ["DAY", "GRAPH", "NOW", "SCRIPT", "Told", "hostile", "html_of", "made_desk", "shown", "small_store"]
