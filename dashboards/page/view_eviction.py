"""The eviction gallery: what left the library on a day and why, beside what stays; then some of what stays."""

from __future__ import annotations

from datetime import date as Date
from typing import TYPE_CHECKING

from dashboards.page.render import Page
from dashboards.page.routes import parse_day

if TYPE_CHECKING:
    from dashboards.page.cards import EvictionCard, EvictionReason
    from dashboards.page.desk import Desk


def eviction_path(day: Date) -> str:
    """Return the page of one day's eviction; `eviction.html` is the newest one's."""
    return f"eviction/{day.isoformat()}.html"


def newest_page(desk: Desk) -> Page:
    """Return the page of the newest shown day on which evict has run."""
    found = (desk.sources.eviction(day) for day in reversed(desk.shown_days))
    return _page(desk, "eviction.html", next((card for card in found if card is not None), None))


def page(desk: Desk, name: str) -> Page | None:
    """Return the page of a day, which may say that evict has not run; None: it is no day, or none with a plan."""
    day = parse_day(name)
    if day is None or day not in desk.days:
        return None
    return _page(desk, eviction_path(day), desk.sources.eviction(day))


def _page(desk: Desk, path: str, card: EvictionCard | None) -> Page:
    sections = () if card is None else card.sections
    return Page(
        path,
        "eviction.html.j2",
        "Eviction" if card is None else f"Eviction of {card.date.isoformat()}",
        {
            "card": card,
            "sections": [_under_its_heading(one) for one in sections],
            "going": sum(one.count for one in sections if not one.keeps),
            "staying": sum(one.count for one in sections if one.keeps),
            "others": [(day, eviction_path(day)) for day in desk.shown_days if card is None or day != card.date],
        },
    )


def _under_its_heading(section: EvictionReason) -> EvictionReason:
    """Return a section without the word of its heading before each sentence."""
    word = "stays: " if section.keeps else "goes: "
    shown = tuple(one.model_copy(update={"detail": one.detail.removeprefix(word)}) for one in section.shown)
    return section.model_copy(update={"shown": shown})
