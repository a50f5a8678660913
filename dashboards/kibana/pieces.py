"""Panels in one line each: what boards are made of, with the looks that all of them share."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.kibana.models.charts import (
    CellLabels,
    DataTable,
    Density,
    HeatAxes,
    Heatmap,
    HeatMetric,
    HeatStyling,
    HeatXAxis,
    MetricChart,
    Primary,
    RowColumn,
    TableStyling,
    ValueColumn,
)
from dashboards.kibana.models.colours import ColourByValue, NumberColour, SeriesColour, StaticColour, Step
from dashboards.kibana.models.columns import (
    AxisTitle,
    BytesFormat,
    Column,
    DurationFormat,
    Esql,
    Format,
    NumberFormat,
    ShownOrNot,
    TimeRange,
)
from dashboards.kibana.models.dashboard import Control, OptionsList, OptionsSort
from dashboards.kibana.models.panels import Grid, Markdown, MarkdownPanel, MarkdownSettings, Vis, VisPanel
from dashboards.kibana.models.xy import (
    Axes,
    Bars,
    Breakdown,
    Layer,
    LayerType,
    Legend,
    Series,
    XAxis,
    XyChart,
    XyStyling,
    YAxis,
)

COUNT: Format = NumberFormat(type="number", decimals=0)
DECIMAL: Format = NumberFormat(type="number", decimals=3)
PERCENT: Format = NumberFormat(type="percent", decimals=1)
SECONDS: Format = DurationFormat.model_validate({"type": "duration", "from": "s", "to": "auto-approximate"})
BYTES: Format = BytesFormat(type="bytes", decimals=1)

GOOD, FAIR, BAD, CALM = "#24c292", "#fcd883", "#f6726a", "#6092c0"


def steps(*colours: tuple[str, float | None]) -> ColourByValue:
    """Return a colour by value: pairs of a colour and where it ends; the last one has no end.

    Example:
        >>> [(step.gte, step.lt) for step in steps((GOOD, 1), (BAD, None)).steps]
        [(None, 1.0), (1.0, None)]
    """
    begin, found = None, []
    for colour, end in colours:
        found.append(Step(gte=begin, lt=end, color=colour))
        begin = end
    return ColourByValue(type="dynamic", range="absolute", steps=tuple(found))


KEPT_COLOUR = steps((BAD, 0.5), (FAIR, 0.9), (GOOD, None))
NONE_IS_GOOD = steps((GOOD, 1), (BAD, None))
"""For counts of what should not be."""


def value(column: str, label: str, form: Format | None = COUNT, colour: ColourByValue | None = None) -> ValueColumn:
    """Return a table's column of values."""
    return ValueColumn(
        column=column, label=label, format=form, color=colour, apply_color_to=None if colour is None else "badge"
    )


def name(column: str, label: str, *, click: bool = False) -> RowColumn:
    """Return a table's column that names the row; with `click`, a click on a cell filters by it."""
    return RowColumn(column=column, label=label, click_filter=click or None)


def vis(panel: str, grid: Grid, chart: Vis) -> VisPanel:
    """Return a panel of a chart."""
    return VisPanel(type="vis", id=panel, grid=grid, config=chart)


def at(x: int, y: int, w: int, h: int) -> Grid:
    """Return a place: left, top, width, height."""
    return Grid(x=x, y=y, w=w, h=h)


def table(
    panel: str, grid: Grid, title: str, query: str, rows: Sequence[RowColumn], values: Sequence[ValueColumn] = ()
) -> VisPanel:
    """Return a table in the query's order."""
    styling = TableStyling(density=Density(mode="compact"), paging=50)
    chart = DataTable(
        type="data_table",
        title=title,
        data_source=Esql(type="esql", query=query),
        rows=tuple(rows) or None,
        metrics=tuple(values) or None,
        styling=styling,
    )
    return vis(panel, grid, chart)


def series(column: str, label: str, form: Format | None = COUNT, colour: str | None = None) -> Series:
    """Return a column drawn as bars or a line."""
    painted: SeriesColour | None = None if colour is None else StaticColour(type="static", color=colour)
    return Series(column=column, label=label, format=form, color=painted)


def bars(
    panel: str,
    grid: Grid,
    title: str,
    query: str,
    x: str,
    y: Sequence[Series],
    by: str | None = None,
    *,
    kind: LayerType = "bar_horizontal",
    temporal: bool = False,
) -> VisPanel:
    """Return bars; lying ones by default."""
    labels = Bars(data_labels=ShownOrNot(visible=True)) if by is None and not temporal else None
    return vis(panel, grid, _xy(title, kind, query, x, y, by, XyStyling(bars=labels) if labels else None, temporal))


def lines(
    panel: str, grid: Grid, title: str, query: str, x: str, y: Sequence[Series], by: str | None = None
) -> VisPanel:
    """Return lines over time."""
    return vis(panel, grid, _xy(title, "line", query, x, y, by, None, temporal=True))


def _xy(
    title: str,
    kind: LayerType,
    query: str,
    x: str,
    y: Sequence[Series],
    by: str | None,
    styling: XyStyling | None,
    temporal: bool,
) -> XyChart:
    several = by is not None or len(y) > 1
    untitled = AxisTitle(visible=False)
    return XyChart(
        type="xy",
        title=title,
        axis=Axes(x=XAxis(title=untitled, scale="temporal" if temporal else None), y=YAxis(title=untitled)),
        legend=Legend(visibility="visible" if several else "hidden"),
        styling=styling,
        layers=(
            Layer(
                type=kind,
                data_source=Esql(type="esql", query=query),
                x=Column(column=x),
                y=tuple(y),
                breakdown_by=None if by is None else Breakdown(column=by),
            ),
        ),
    )


def heat(
    panel: str,
    grid: Grid,
    title: str,
    query: str,
    x: str,
    y: str,
    metric: str,
    *,
    form: Format = PERCENT,
    colour: ColourByValue = KEPT_COLOUR,
    temporal: bool = True,
) -> VisPanel:
    """Return a heat map with its numbers in the cells; `x` is a day unless it is said not to be."""
    untitled = AxisTitle(visible=False)
    chart = Heatmap(
        type="heatmap",
        title=title,
        data_source=Esql(type="esql", query=query),
        x=Column(column=x),
        y=Column(column=y),
        metric=HeatMetric(column=metric, format=form, color=colour),
        axis=HeatAxes(x=HeatXAxis(scale="temporal" if temporal else "ordinal", title=untitled)),
        styling=HeatStyling(cells=CellLabels(labels=ShownOrNot(visible=True))),
    )
    return vis(panel, grid, chart)


def since(first: str) -> TimeRange:
    """Return the time range from a moment (date math, `now-7d/d`) until now."""
    return TimeRange.model_validate({"from": first, "to": "now"})


def number(
    panel: str,
    grid: Grid,
    query: str,
    column: str,
    label: str,
    form: Format = COUNT,
    colour: NumberColour | None = None,
) -> VisPanel:
    """Return one number; its label is the caption."""
    primary = Primary(type="primary", column=column, label=label, format=form, color=colour)
    return vis(panel, grid, MetricChart(type="metric", data_source=Esql(type="esql", query=query), metrics=(primary,)))


def text(panel: str, grid: Grid, content: str) -> MarkdownPanel:
    """Return a text."""
    settings = MarkdownSettings(open_links_in_new_tab=True)
    return MarkdownPanel(
        type="markdown", id=panel, grid=grid, config=Markdown(content=content, settings=settings, hide_title=True)
    )


def control(column: str, title: str, source: str) -> Control:
    """Return a control that filters on a field: nothing chosen is everything.

    Args:
        column: the field; every index that a panel reads must have it.
        title: above it.
        source: the command that reads the indices its options come from.
    """
    options = OptionsList(
        title=title,
        values_source="esql",
        esql_query=f"{source} | STATS BY {column}",
        sort=OptionsSort(by="_key", direction="asc"),
    )
    control_id = "control-" + column.replace(".", "-").replace("_", "-")
    return Control(type="options_list_control", id=control_id, width="medium", grow=True, config=options)
