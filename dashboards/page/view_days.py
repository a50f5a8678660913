"""Several days as one funnel, and each of them as a line."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date as Date

from dashboards.page.desk import Desk
from dashboards.page.funnels import funnel_streams, rows_of_sums
from dashboards.page.links import days_path
from dashboards.page.render import Page
from dashboards.page.routes import parse_day
from dashboards.page.view_index import heat_rows


def page(desk: Desk, first_text: str, last_text: str) -> Page | None:
    """Return the page of some days; None: they are no days, or none of them has a plan."""
    first, last = parse_day(first_text), parse_day(last_text)
    if first is None or last is None or not any(first <= day <= last for day in desk.days):
        return None
    sums = desk.sums(first, last)
    topology = desk.topology
    named = {name for _, name in sums}
    tasks = tuple(task for task in topology.order if task in named)
    context = {
        "first": first,
        "last": last,
        "days": _planned(desk, first, last),
        "streams": funnel_streams(topology, rows_of_sums(topology, sums, desk.reasons(first, last))),
        "tasks": tasks,
        "heat": heat_rows(sums, tasks),
        "incidents": desk.sources.incidents(first, last),
    }
    return Page(days_path(first, last), "days.html.j2", f"{first} to {last}", context)


def paths(desk: Desk) -> Iterable[str]:
    """Return the one page of a static folder: all of its days."""
    return [] if desk.span is None else [days_path(*desk.span)]


def _planned(desk: Desk, first: Date, last: Date) -> list[Date]:
    return [day for day in desk.days if first <= day <= last]
