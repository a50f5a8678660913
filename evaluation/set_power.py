"""How much a set can prove: the smallest margin of non-inferiority that each slice carries."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from evaluation.evalset import EvalSet
from evaluation.power import detectable_margin
from evaluation.slices import slices_of

FLIPPED: Final = (0.01, 0.02, 0.05)
"""Shares of queries whose hit flips between two systems, for which margins are stated."""
MARGIN_PP: Final = 2.0
"""A slice is under-powered if it cannot prove this margin, in percentage points, where 2 % flip: below 429 queries."""


class SlicePower(BaseModel):
    """What a slice can prove at one-sided alpha 0.05 with power 0.90.

    Attributes:
        slice: Its name.
        queries: In it.
        clusters: Products among them.
        margin_pp: Share of flipped queries (`0.01`) -> smallest margin in percentage points, if the queries were
            independent: the best case.
        margin_pp_worst: The same if the queries of a product always flipped together: as many as there are products
            count. What a gate finds lies between the two.
        underpowered: `margin_pp` at 2 % exceeds `MARGIN_PP`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slice: str
    queries: int = Field(ge=0)
    clusters: int = Field(ge=0)
    margin_pp: dict[str, float]
    margin_pp_worst: dict[str, float]
    underpowered: bool


def power_rows(evalset: EvalSet) -> list[SlicePower]:
    """Return what each slice of a set can prove, in the order of `slices_of`."""
    rows = []
    for name, mask in slices_of(evalset).items():
        clusters = [query.cluster for query, held in zip(evalset.queries, mask, strict=True) if held]
        best, worst = _margins(len(clusters)), _margins(len(set(clusters)))
        rows.append(
            SlicePower(
                slice=name,
                queries=len(clusters),
                clusters=len(set(clusters)),
                margin_pp=best,
                margin_pp_worst=worst,
                underpowered=100 * detectable_margin(len(clusters), 0.02) > MARGIN_PP,
            )
        )
    return rows


def _margins(count: int) -> dict[str, float]:
    return {str(flipped): round(100 * detectable_margin(count, flipped), 3) for flipped in FLIPPED}
