"""The table of dashboards: id, and the function that makes it. Ids are the names under which Kibana keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dashboards.kibana.boards import (
    freshness,
    funnel,
    gate,
    graph,
    heatmap,
    incidents,
    logs,
    plans,
    throughput,
    window,
)
from dashboards.kibana.esql import Names, board_id
from dashboards.kibana.models.dashboard import Dashboard, Section
from dashboards.kibana.models.panels import DashboardLink, Grid, LinkOptions, Links, LinksPanel, Panel

BOARDS: dict[str, Callable[[Names], Dashboard]] = {
    "funnel": funnel.board,
    "plans": plans.board,
    "days": heatmap.board,
    "freshness": freshness.board,
    "incidents": incidents.board,
    "graph": graph.board,
    "logs": logs.board,
    "gate": gate.board,
    "window": window.board,
    "throughput": throughput.board,
}
"""In the order of the links at the top of each."""

_LINKS_HEIGHT = 3


class Built(NamedTuple):
    """A dashboard and its id."""

    id: str
    dashboard: Dashboard


def build_all(names: Names) -> list[Built]:
    """Return every dashboard for a prefix and a task graph, each with links to all."""
    ids = {short: board_id(names.prefix, short) for short in BOARDS}
    made = {short: board(names) for short, board in BOARDS.items()}
    links = tuple(
        DashboardLink(
            type="dashboardLink",
            destination=ids[short],
            label=made[short].title.removeprefix("funnelgate: "),
            # Filters stay behind: the field of one dashboard's control is not a field of every other's indices.
            options=LinkOptions(use_filters=False, use_time_range=True),
        )
        for short in BOARDS
    )
    return [Built(ids[short], _with_links(dashboard, links)) for short, dashboard in made.items()]


def _with_links(dashboard: Dashboard, links: tuple[DashboardLink, ...]) -> Dashboard:
    """Put the links above everything else."""
    panel = LinksPanel(
        type="links",
        id="links",
        grid=Grid(x=0, y=0, w=48, h=_LINKS_HEIGHT),
        config=Links(layout="horizontal", links=links),
    )
    return dashboard.model_copy(update={"panels": (panel, *map(_moved_down, dashboard.panels))})


def _moved_down(panel: Panel | Section) -> Panel | Section:
    grid = panel.grid.model_copy(update={"y": panel.grid.y + _LINKS_HEIGHT})
    return panel.model_copy(update={"grid": grid})
