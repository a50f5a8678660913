"""Panels: what stands where on a dashboard."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dashboards.kibana.models.base import Strict
from dashboards.kibana.models.charts import DataTable, Heatmap, MetricChart
from dashboards.kibana.models.columns import Text, Titles
from dashboards.kibana.models.xy import XyChart

COLUMNS = 48
"""A dashboard is so many columns wide."""

PanelId = Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]


class Grid(Strict):
    """Where a panel stands and how large it is; the top left is (0, 0). That it fits is checked in `grid.py`."""

    x: Annotated[int, Field(ge=0, lt=COLUMNS)]
    y: Annotated[int, Field(ge=0)]
    w: Annotated[int, Field(ge=1, le=COLUMNS)]
    h: Annotated[int, Field(ge=1)]


Vis = Annotated[XyChart | MetricChart | DataTable | Heatmap, Field(discriminator="type")]


class VisPanel(Strict):
    """A chart."""

    type: Literal["vis"]
    id: PanelId
    grid: Grid
    config: Vis


class MarkdownSettings(Strict):
    """Required by Kibana."""

    open_links_in_new_tab: bool


class Markdown(Titles):
    """A text."""

    content: str
    settings: MarkdownSettings


class MarkdownPanel(Strict):
    """A text panel."""

    type: Literal["markdown"]
    id: PanelId
    grid: Grid
    config: Markdown


class LinkOptions(Strict):
    """What goes along to another dashboard."""

    open_in_new_tab: bool | None = None
    use_filters: bool | None = None
    use_time_range: bool | None = None


class DashboardLink(Strict):
    """A link to another dashboard, by its id."""

    type: Literal["dashboardLink"]
    destination: Text
    label: str | None = None
    options: LinkOptions | None = None


class Links(Titles):
    """Links in a row or below each other."""

    layout: Literal["horizontal", "vertical"]
    links: Annotated[tuple[DashboardLink, ...], Field(min_length=1, max_length=100, strict=False)]


class LinksPanel(Strict):
    """A panel of links."""

    type: Literal["links"]
    id: PanelId
    grid: Grid
    config: Links


Panel = Annotated[VisPanel | MarkdownPanel | LinksPanel, Field(discriminator="type")]
