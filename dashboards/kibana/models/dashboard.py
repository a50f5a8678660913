"""The envelope: the body of `PUT /api/dashboards/{id}`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from dashboards.kibana.models.base import Strict
from dashboards.kibana.models.columns import Text, TimeRange
from dashboards.kibana.models.panels import Panel, PanelId

MAX_ITEMS = 1000
"""Panels, sections and pinned controls of one dashboard."""


class OptionsSort(Strict):
    """The order of a control's options."""

    by: Literal["_count", "_key"]
    direction: Literal["asc", "desc"]


class OptionsList(Strict):
    """Filters on the field that its query groups by; nothing chosen is everything. Needs no saved data view."""

    title: str | None = None
    values_source: Literal["esql"]
    esql_query: Text
    selected_options: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    single_select: bool | None = None
    search_technique: Literal["prefix", "wildcard", "exact"] | None = None
    sort: OptionsSort | None = None


class Control(Strict):
    """A control above all panels."""

    type: Literal["options_list_control"]
    id: PanelId
    width: Literal["small", "medium", "large"] | None = None
    grow: bool | None = None
    config: OptionsList


class Options(Strict):
    """Of the dashboard as a whole."""

    auto_apply_filters: bool | None = None
    hide_panel_borders: bool | None = None
    hide_panel_titles: bool | None = None
    sync_colors: bool | None = None
    sync_cursor: bool | None = None
    sync_tooltips: bool | None = None
    use_margins: bool | None = None


class SectionGrid(Strict):
    """At which row a section stands: it takes one."""

    y: Annotated[int, Field(ge=0)]


class Section(Strict):
    """Panels that fold away together, on a grid of their own."""

    title: Text
    id: PanelId
    collapsed: bool
    grid: SectionGrid
    panels: Annotated[tuple[Panel, ...], Field(min_length=1, max_length=MAX_ITEMS, strict=False)]


class RefreshInterval(Strict):
    """How often it asks anew, in milliseconds."""

    pause: bool
    value: Annotated[float, Field(ge=0)]


class Dashboard(Strict):
    """Everything a dashboard is but its id. Kibana gives panels back before sections: they are sent so too."""

    title: Text
    description: str | None = None
    time_range: TimeRange | None = None
    refresh_interval: RefreshInterval | None = None
    options: Options | None = None
    pinned_panels: Annotated[tuple[Control, ...], Field(max_length=100, strict=False)] = ()
    panels: Annotated[tuple[Panel | Section, ...], Field(min_length=1, max_length=MAX_ITEMS, strict=False)]

    def containers(self) -> Iterator[tuple[str, tuple[Panel, ...]]]:
        """Yield (section's id, its panels); "" names the dashboard itself."""
        yield "", tuple(panel for panel in self.panels if not isinstance(panel, Section))
        for section in self.sections():
            yield section.id, section.panels

    def sections(self) -> tuple[Section, ...]:
        """Return the sections."""
        return tuple(panel for panel in self.panels if isinstance(panel, Section))

    def every_panel(self) -> Iterator[Panel]:
        """Yield all panels, those of sections too."""
        for _, panels in self.containers():
            yield from panels
