"""The crawl list: queries that found nothing, so that somebody collects what they should have found (coverage)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from evaluation.evalset import EvalSet
from evaluation.slices import relevant_groups
from evaluation.system import View
from reporting.errors import DataError, StoreError

if TYPE_CHECKING:
    from evaluation.measured import Measured, Ranked

_SEPARATOR: Final = ";"


class Nothing(StrEnum):
    """Why a query found nothing."""

    NOTHING_LIVE = "nothing_live"
    """The catalogue has no live picture of its product besides its own: collect some."""
    NOT_FOUND = "not_found"
    """The catalogue has one, but the list, as long as it was asked for, does not hold it."""
    EMPTY = "empty"
    """The system answered with an empty list."""
    UNANSWERED = "unanswered"
    """No answer came: nothing is known of the coverage."""


class Wanted(BaseModel):
    """A query that found nothing.

    Attributes:
        query_id: Of the query.
        path: Its picture, relative to the set's root.
        category: True category.
        groups: What it should have found.
        reason: Why it found nothing.
        findable: Live pictures of those groups in the catalogue, its own not counted.
        returned: Distinct pictures in its list.
        nearest: The nearest picture that was returned, "" without any.
        distance: Of that picture; None without any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    query_id: str
    path: str
    category: str
    groups: tuple[str, ...]
    reason: Nothing
    findable: int = Field(ge=0)
    returned: int = Field(ge=0)
    nearest: str = ""
    distance: float | None = None


def crawl_list(evalset: EvalSet, measured: Measured) -> list[Wanted]:
    """Return the queries whose served list holds no picture of a relevant group, in the order of the set.

    Raises:
        DataError: The measurement is of another set.
    """
    if measured.set_id != evalset.set_id:
        raise DataError(
            f"{measured.system}: was measured on {measured.set_id}, not on {evalset.set_id}; measure it anew"
        )
    ranked = measured.views[View.SERVED]
    groups = relevant_groups(evalset)
    found = np.any(ranked.group_grades >= 1, axis=1).tolist()
    wanted = []
    for row, query in enumerate(evalset.queries):
        if found[row]:
            continue
        returned = int((ranked.image_grades[row] >= 0).sum())
        wanted.append(
            Wanted(
                query_id=query.query_id,
                path=query.path,
                category=query.category,
                groups=tuple(sorted(groups[query.query_id])),
                reason=_reason(ranked, row, returned),
                findable=int(ranked.findable[row]),
                returned=returned,
                nearest=str(ranked.image_names[row, 0]) if returned else "",
                distance=float(ranked.image_distances[row, 0]) if returned else None,
            )
        )
    return wanted


def _reason(ranked: Ranked, row: int, returned: int) -> Nothing:
    if ranked.findable_groups[row] == 0:
        return Nothing.NOTHING_LIVE
    if not ranked.answered[row]:
        return Nothing.UNANSWERED
    return Nothing.NOT_FOUND if returned else Nothing.EMPTY


def write_crawl_list(rows: list[Wanted], path: Path) -> Path:
    """Write a crawl list as CSV, or as Parquet where the name ends in `.parquet`; groups are joined by `;`.

    Raises:
        StoreError: The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    columns: dict[str, list[object]] = {name: [] for name in Wanted.model_fields}
    for row in rows:
        for name, value in {**row.model_dump(mode="json"), "groups": _SEPARATOR.join(row.groups)}.items():
            columns[name].append(value)
    whole = {"findable": pa.int64(), "returned": pa.int64(), "distance": pa.float64()}
    table = pa.table({name: pa.array(values, whole.get(name, pa.string())) for name, values in columns.items()})
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(table, partial)
        else:
            pyarrow.csv.write_csv(table, partial)
        partial.replace(path)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written: {error.strerror or error}; name another place by --out"
        ) from error
    return path
