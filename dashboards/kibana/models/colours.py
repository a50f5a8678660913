"""Colours: one, Kibana's own choice, or by value."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dashboards.kibana.models.base import Strict


class StaticColour(Strict):
    """One colour."""

    type: Literal["static"]
    color: Annotated[str, Field(min_length=1)]


class AutoColour(Strict):
    """Kibana's choice."""

    type: Literal["auto"]


class NoColour(Strict):
    """None."""

    type: Literal["none"]


class Step(Strict):
    """A colour for the values from `gte` up to `lt` (the last one: up to and with `lte`)."""

    gte: float | None = None
    lt: float | None = None
    lte: float | None = None
    color: Annotated[str, Field(min_length=1)]


class ColourByValue(Strict):
    """Steps without gap or overlap."""

    type: Literal["dynamic"]
    range: Literal["absolute", "percentage"]
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=100, strict=False)]

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        last = len(self.steps) - 1
        for number, step in enumerate(self.steps):
            where = f"colour step {number}"
            if step.gte is None and step.lt is None and step.lte is None:
                raise ValueError(f"{where}: has no bound")
            if number > 0 and step.gte is None:
                raise ValueError(f"{where}: needs gte, as all but the first")
            if number < last and (step.lt is None or step.lte is not None):
                raise ValueError(f"{where}: needs lt and no lte, as all but the last")
            if step.lt is not None and step.lte is not None:
                raise ValueError(f"{where}: has both lt and lte")
        for one, other in pairwise(self.steps):
            if one.lt != other.gte:
                raise ValueError(f"colour steps: {one.lt} ends one and {other.gte} begins the next; they must be equal")
        return self


CellColour = Annotated[ColourByValue | AutoColour, Field(discriminator="type")]
"""Of a table's or heat map's cell."""
NumberColour = Annotated[ColourByValue | StaticColour | AutoColour, Field(discriminator="type")]
"""Of a metric's number."""
SeriesColour = Annotated[StaticColour | AutoColour, Field(discriminator="type")]
"""Of a line or bar."""
SecondColour = Annotated[StaticColour | NoColour, Field(discriminator="type")]
"""Of a metric's second number."""
