"""Bars, lines and areas: one layer of ES|QL a chart (9.5 has no reference lines beside ES|QL)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dashboards.kibana.models.base import Strict
from dashboards.kibana.models.colours import SeriesColour
from dashboards.kibana.models.columns import AxisTitle, Column, Esql, ShownOrNot, TimeRange, Titles

LayerType = Literal[
    "bar",
    "bar_stacked",
    "bar_percentage",
    "bar_horizontal",
    "bar_horizontal_stacked",
    "bar_horizontal_percentage",
    "line",
    "area",
    "area_stacked",
    "area_percentage",
]


class Series(Column):
    """A column drawn as bars or a line."""

    color: SeriesColour | None = None
    axis: Literal["y", "y2"] | None = None


class Breakdown(Column):
    """A column whose values make one series each."""

    collapse_by: Literal["avg", "sum", "max", "min"] | None = None


class Layer(Strict):
    """What is drawn."""

    type: LayerType
    data_source: Esql
    x: Column | None = None
    y: Annotated[tuple[Series, ...], Field(min_length=1, max_length=100, strict=False)]
    breakdown_by: Breakdown | None = None
    sampling: Annotated[float, Field(ge=0, le=1)] | None = None
    ignore_global_filters: bool | None = None

    @model_validator(mode="after")
    def _one_series_to_break_down(self) -> Self:
        if self.breakdown_by is not None and len(self.y) != 1:
            raise ValueError(f"breakdown_by needs exactly one y, found {len(self.y)}")
        return self


class Domain(Strict):
    """From where to where an axis goes."""

    type: Literal["fit", "full", "custom"]
    min: float | None = None
    max: float | None = None
    rounding: bool | None = None

    @model_validator(mode="after")
    def _bounds_only_if_custom(self) -> Self:
        given = (self.min is not None, self.max is not None)
        if given != ((True, True) if self.type == "custom" else (False, False)):
            raise ValueError("min and max belong to domain custom, and it needs both")
        return self


class Orientation(Strict):
    """How an axis' labels stand."""

    orientation: Literal["horizontal", "vertical", "angled"]


class _Axis(Strict):
    title: AxisTitle | None = None
    ticks: ShownOrNot | None = None
    grid: ShownOrNot | None = None
    labels: Orientation | None = None
    domain: Domain | None = None


class XAxis(_Axis):
    """The axis of `x`; dates need scale temporal."""

    scale: Literal["ordinal", "temporal", "linear"] | None = None

    @model_validator(mode="after")
    def _no_full_domain(self) -> Self:
        if self.domain is not None and self.domain.type == "full":
            raise ValueError("domain full is of the y axes; x has fit and custom")
        return self


class YAxis(_Axis):
    """The axis of values, also where bars lie."""

    scale: Literal["linear", "log", "sqrt"] | None = None


class Axes(Strict):
    """All axes."""

    x: XAxis | None = None
    y: YAxis | None = None
    y2: YAxis | None = None


class Truncate(Strict):
    """When a legend's text is cut."""

    max_lines: Annotated[int, Field(ge=1, le=10)]


class LegendLayout(Strict):
    """A list (above or below only), or a grid."""

    type: Literal["list", "grid"]
    truncate: Truncate | None = None

    @model_validator(mode="after")
    def _lists_are_not_cut(self) -> Self:
        if self.type == "list" and self.truncate is not None:
            raise ValueError("truncate belongs to layout grid")
        return self


_ABOVE_BELOW, _BESIDE = ("top", "bottom"), ("left", "right")


class Legend(Strict):
    """Above or below, beside, or inside the chart: each takes other keys."""

    visibility: Literal["auto", "visible", "hidden"] | None = None
    placement: Literal["outside", "inside"] | None = None
    position: (
        Literal["top", "bottom", "left", "right", "top_left", "top_right", "bottom_left", "bottom_right"] | None
    ) = None
    size: Literal["auto", "s", "m", "l", "xl"] | None = None
    columns: Annotated[int, Field(ge=1, le=5)] | None = None
    layout: LegendLayout | None = None

    @model_validator(mode="after")
    def _keys_fit_the_place(self) -> Self:
        inside = self.placement == "inside"
        corner = self.position is not None and self.position not in (*_ABOVE_BELOW, *_BESIDE)
        if self.position is not None and corner != inside:
            raise ValueError(f"position {self.position} does not belong to placement {self.placement or 'outside'}")
        if self.columns is not None and not inside:
            raise ValueError("columns belongs to placement inside")
        if self.size is not None and (inside or self.position in _ABOVE_BELOW):
            raise ValueError("size belongs to a legend on the left or right")
        if self.layout is not None and self.layout.type == "list" and self.position not in _ABOVE_BELOW:
            raise ValueError("layout list belongs to position top or bottom")
        return self


class Fitting(Strict):
    """How gaps in a line are closed."""

    type: Literal["none", "zero", "linear", "carry", "lookahead", "average", "nearest"]


class Points(Strict):
    """Points on a line."""

    visibility: Literal["auto", "visible", "hidden"]


class Bars(Strict):
    """How bars look."""

    minimum_height: Annotated[float, Field(ge=0)] | None = None
    data_labels: ShownOrNot | None = None


class Areas(Strict):
    """How areas look."""

    fill_opacity: Annotated[float, Field(ge=0, le=2)]


class XyStyling(Strict):
    """How the chart looks; only what fits the kind of its layer."""

    fitting: Fitting | None = None
    interpolation: Literal["linear", "smooth", "stepped"] | None = None
    points: Points | None = None
    bars: Bars | None = None
    areas: Areas | None = None


class XyChart(Titles):
    """A chart with axes."""

    type: Literal["xy"]
    time_range: TimeRange | None = None
    axis: Axes | None = None
    legend: Legend | None = None
    styling: XyStyling | None = None
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=1, strict=False)]

    @model_validator(mode="after")
    def _styling_fits(self) -> Self:
        kind, styling = self.layers[0].type, self.styling
        if styling is None:
            return self
        bars = kind.startswith("bar")
        if bars and (styling.fitting or styling.interpolation or styling.points or styling.areas):
            raise ValueError(f"fitting, interpolation, points and areas do not belong to {kind}: Kibana loses them")
        if not bars and styling.bars is not None:
            raise ValueError(f"styling.bars does not belong to {kind}")
        return self
