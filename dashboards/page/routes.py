"""Which pages there are: the static folder writes all of `paths`, the live server answers any that `make` knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date as Date
from typing import TYPE_CHECKING, NamedTuple

from dashboards.page.render import Page

if TYPE_CHECKING:
    from dashboards.page.desk import Desk


class Route(NamedTuple):
    """One kind of page."""

    pattern: str
    """Of the whole path; what its groups match is handed to `make`."""
    make: Callable[..., Page | None]
    """(desk, *groups) -> the page; None: there is none of that name."""
    paths: Callable[[Desk], Iterable[str]]
    """Those that a static folder holds."""


DAY = r"(\d{4}-\d\d-\d\d)"
NAME = r"([a-z0-9._-]+)"
EPISODE = r"([A-Za-z0-9._-]+)"


def only(*paths: str) -> Callable[[Desk], Iterable[str]]:
    """Return what names these paths whatever the desk holds."""
    return lambda _: paths


def routes() -> tuple[Route, ...]:
    """Return the table; one row a kind of page."""
    from dashboards.page import (
        view_day,
        view_days,
        view_eviction,
        view_gate,
        view_incident,
        view_index,
        view_leaves,
        view_plans,
        view_release,
    )

    return (
        Route(r"index\.html", view_index.page, only("index.html")),
        Route(rf"day/{DAY}\.html", view_day.page, view_day.paths),
        Route(rf"day/{DAY}-leaves\.html", view_leaves.page, view_leaves.paths),
        Route(rf"days/{DAY}_{DAY}\.html", view_days.page, view_days.paths),
        Route(rf"plans/{NAME}\.\.{NAME}\.html", view_plans.comparison_page, view_plans.comparison_paths),
        Route(rf"plans/{NAME}\.html", view_plans.page, view_plans.paths),
        Route(r"incidents\.html", view_incident.list_page, only("incidents.html")),
        Route(rf"incident/{EPISODE}\.html", view_incident.page, view_incident.paths),
        Route(r"gate\.html", view_gate.page, only("gate.html")),
        Route(r"release\.html", view_release.page, only("release.html")),
        Route(r"eviction\.html", view_eviction.newest_page, only("eviction.html")),
        Route(rf"eviction/{DAY}\.html", view_eviction.page, only()),
    )


def page_at(desk: Desk, path: str) -> Page | None:
    """Return the page of a path; None: there is none, or a name in it is unknown."""
    for route in routes():
        found = re.fullmatch(route.pattern, path)
        if found is not None:
            return route.make(desk, *found.groups())
    return None


def static_paths(desk: Desk) -> list[str]:
    """Return the pages of a static folder, in the order in which they are written."""
    found = [path for route in routes() for path in route.paths(desk)]
    # All that is made of a day's records in a row, so that few days are held at a time; the newest first.
    return sorted(found, key=lambda path: (re.findall(DAY, path) or ["9999"])[-1], reverse=True)


def parse_day(text: str) -> Date | None:
    """Return a day as a path names it; None: there is no such day in the calendar."""
    try:
        return Date.fromisoformat(text)
    except ValueError:
        return None
