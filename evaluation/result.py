"""One metric with what it rests on, as measured of detection and of categories."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

IntervalKind: TypeAlias = Literal["wilson", "wilson_clustered", "none"]


class MetricValue(BaseModel):
    """A metric with what it rests on.

    Attributes:
        name: What is measured.
        value: Mean over n, in [0, 1].
        n: Pictures or boxes.
        ci_low: Lower 95 % bound.
        ci_high: Upper 95 % bound.
        interval: `wilson` for shares; `wilson_clustered` where several values of one picture are not independent;
            `none` for facts about this run, whose bounds are the value itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float = Field(ge=0, le=1)
    n: int = Field(ge=0)
    ci_low: float = Field(ge=0, le=1)
    ci_high: float = Field(ge=0, le=1)
    interval: IntervalKind
