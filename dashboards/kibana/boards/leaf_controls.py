"""The controls of boards over leaves: the parts of the key (the day is the time range)."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.kibana.esql import Names
from dashboards.kibana.models.dashboard import Control
from dashboards.kibana.pieces import control
from reporting.elastic.names import Kind

_TITLES = {"task": "Task", "category": "Category", "subinstance": "Package", "planid": "Plan"}


def leaf_controls(
    names: Names, columns: Sequence[str] = ("task", "category", "subinstance", "planid"), kind: Kind = Kind.RECORDS
) -> tuple[Control, ...]:
    """Return a control for each part of the key; its options are those of a kind's documents."""
    return tuple(control(column, _TITLES[column], names.source(kind)) for column in columns)
