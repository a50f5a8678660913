"""A single number, a table, a heat map."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dashboards.kibana.models.base import Strict
from dashboards.kibana.models.colours import CellColour, ColourByValue, NumberColour, SecondColour
from dashboards.kibana.models.columns import AxisTitle, Chart, Column, Esql, ShownOrNot


class Primary(Column):
    """The number; its label is its caption."""

    type: Literal["primary"]
    subtitle: str | None = None
    color: NumberColour | None = None
    apply_color_to: Literal["value", "background"] | None = None


class Secondary(Column):
    """A smaller number beside it."""

    type: Literal["secondary"]
    color: SecondColour | None = None


class Tiles(Column):
    """One number for each value of a column."""

    columns: Annotated[int, Field(ge=1)] | None = None


class MetricChart(Chart):
    """A number, perhaps with a second one, perhaps for each value of a column."""

    type: Literal["metric"]
    data_source: Esql
    metrics: Annotated[tuple[Primary | Secondary, ...], Field(min_length=1, max_length=2, strict=False)]
    breakdown_by: Tiles | None = None

    @model_validator(mode="after")
    def _primary_first(self) -> Self:
        if [one.type for one in self.metrics] != ["primary", "secondary"][: len(self.metrics)]:
            raise ValueError("metrics: the first is primary, a second one secondary")
        first = self.metrics[0].color
        if isinstance(first, ColourByValue) and first.range == "percentage" and self.breakdown_by is None:
            raise ValueError("colour by percentage needs breakdown_by")
        return self


class TableColumn(Column):
    """A column of a table."""

    visible: bool | None = None
    width: Annotated[float, Field(ge=0)] | None = None
    alignment: Literal["left", "center", "right"] | None = None
    apply_color_to: Literal["value", "background", "badge"] | None = None
    color: CellColour | None = None

    @model_validator(mode="after")
    def _colour_goes_somewhere(self) -> Self:
        if self.color is not None and self.apply_color_to is None:
            raise ValueError(f"column {self.column}: a colour takes effect only with apply_color_to")
        return self


class RowColumn(TableColumn):
    """A column that names the row."""

    click_filter: bool | None = None


class Summary(Strict):
    """A figure below a column."""

    type: Literal["sum", "avg", "count", "min", "max"]
    label: str | None = None


class ValueColumn(TableColumn):
    """A column of values."""

    summary: Summary | None = None


class SortBy(Strict):
    """Which column sorts the table at first: a place, from 0, among the rows or the metrics."""

    column_type: Literal["row", "metric"]
    index: Annotated[int, Field(ge=0)]
    direction: Literal["asc", "desc"]


class Density(Strict):
    """How close the lines are."""

    mode: Literal["compact", "default", "expanded"]


class TableStyling(Strict):
    """How a table looks."""

    density: Density | None = None
    paging: Literal[10, 20, 30, 50, 100] | None = None
    row_numbers: ShownOrNot | None = None
    sort_by: SortBy | None = None


class DataTable(Chart):
    """A table: columns that name the row, then columns of values."""

    type: Literal["data_table"]
    data_source: Esql
    rows: Annotated[tuple[RowColumn, ...], Field(min_length=1, max_length=50, strict=False)] | None = None
    metrics: Annotated[tuple[ValueColumn, ...], Field(min_length=1, max_length=1000, strict=False)] | None = None
    styling: TableStyling | None = None

    @model_validator(mode="after")
    def _has_columns(self) -> Self:
        if not self.rows and not self.metrics:
            raise ValueError("a table needs rows or metrics")
        order = self.styling.sort_by if self.styling else None
        if order is not None:
            there = self.rows if order.column_type == "row" else self.metrics
            if order.index >= len(there or ()):
                raise ValueError(f"sort_by: there is no {order.column_type} {order.index}")
        return self


class CellLabels(Strict):
    """Whether numbers stand in the cells."""

    labels: ShownOrNot


class HeatStyling(Strict):
    """How a heat map looks."""

    cells: CellLabels


class HeatLabels(Strict):
    """Labels below a heat map."""

    orientation: Literal["horizontal", "vertical", "angled"] | None = None
    visible: bool | None = None


class HeatXAxis(Strict):
    """Below a heat map; `scale` is required."""

    scale: Literal["ordinal", "temporal", "linear"]
    title: AxisTitle | None = None
    labels: HeatLabels | None = None
    sort: Literal["asc", "desc"] | None = None


class HeatYAxis(Strict):
    """Beside a heat map."""

    title: AxisTitle | None = None
    labels: ShownOrNot | None = None
    sort: Literal["asc", "desc"] | None = None


class HeatAxes(Strict):
    """Both axes."""

    x: HeatXAxis | None = None
    y: HeatYAxis | None = None


class HeatLegend(Strict):
    """The scale of colours."""

    visibility: Literal["visible", "hidden"]
    position: Literal["top", "bottom", "left", "right"] | None = None


class HeatMetric(Column):
    """The number in a cell."""

    color: CellColour | None = None


class Heatmap(Chart):
    """One coloured cell for each pair of x and y."""

    type: Literal["heatmap"]
    data_source: Esql
    x: Column
    y: Column | None = None
    metric: HeatMetric
    axis: HeatAxes | None = None
    legend: HeatLegend | None = None
    styling: HeatStyling | None = None
