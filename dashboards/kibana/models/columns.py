"""What all charts share: their query, columns of its answer, and how a number is written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dashboards.kibana.models.base import Strict

Text = Annotated[str, Field(min_length=1)]


class Esql(Strict):
    """An ES|QL query as the source of a chart."""

    type: Literal["esql"]
    query: Text


class NumberFormat(Strict):
    """A plain number, or with `percent` a fraction shown as per cent."""

    type: Literal["number", "percent"]
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None
    suffix: str | None = None
    compact: bool | None = None


class BytesFormat(Strict):
    """A number of bytes or bits."""

    type: Literal["bytes", "bits"]
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None
    suffix: str | None = None


Unit = Literal["ms", "s", "min", "h", "d", "w", "mo", "y"]


class DurationFormat(Strict):
    """A length of time."""

    type: Literal["duration"]
    from_: Annotated[Unit, Field(alias="from")]
    to: Unit | Literal["auto", "auto-approximate"]
    suffix: str | None = None


class CustomFormat(Strict):
    """A pattern of numeral.js."""

    type: Literal["custom"]
    pattern: Text


Format = Annotated[NumberFormat | BytesFormat | DurationFormat | CustomFormat, Field(discriminator="type")]


class Column(Strict):
    """A column of the query's answer, by its exact name."""

    column: Text
    label: str | None = None
    format: Format | None = None


class TimeRange(Strict):
    """Date math (`now-7d`) or ISO. Kibana drops `mode` on reading: it is not sent."""

    from_: Annotated[Text, Field(alias="from")]
    to: Text


class Titles(Strict):
    """What every panel may be headed by."""

    title: str | None = None
    description: str | None = None
    hide_title: bool | None = None
    hide_border: bool | None = None


class Chart(Titles):
    """What every chart may have."""

    time_range: TimeRange | None = None
    sampling: Annotated[float, Field(ge=0, le=1)] | None = None
    ignore_global_filters: bool | None = None


class ShownOrNot(Strict):
    """`visible`, and nothing else."""

    visible: bool


class AxisTitle(Strict):
    """An axis' own words."""

    text: str | None = None
    visible: bool | None = None
