"""Rows of a live table for the tests of eviction, and stored pictures with names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date as Date
from datetime import timedelta
from typing import Any

import pyarrow as pa

from pipeline.evict.stored import Stored
from pipeline.evict.stored_of import Names
from pipeline.window.live import LIVE_SCHEMA
from tests.pipeline.evict.stored_rows import Picture, stored_of

DAY = Date(2026, 11, 23)


@dataclass(frozen=True)
class Row:
    """One row of the live table; `offers`: the group of each; days before `DAY`."""

    picture: str
    offers: Sequence[str | None] = ()
    group: str | None = ""
    age: int = 0
    first: int | None = None


def live_table(rows: Iterable[Row]) -> Any:
    """Return the rows as dedup writes them."""
    return pa.Table.from_pylist([_document(row) for row in rows], schema=LIVE_SCHEMA)


def _document(row: Row) -> dict[str, Any]:
    seen = DAY - timedelta(days=row.age)
    offers = [
        {"sku": str(place), "merchant": "m", "title": "T", "group": group, "item": "i", "category": "", "seen": seen}
        for place, group in enumerate(row.offers)
    ]
    first = DAY - timedelta(days=row.age if row.first is None else row.first)
    known = {"picture": row.picture, "item": "i", "group": row.group, "title": "T", "offers": offers}
    return known | {"first_day": first, "last_seen": seen, "dhash": None, "thumb": None, "pack": "p", "bytes": 5}


def named(pictures: Iterable[Picture]) -> tuple[Stored, Names]:
    """Return pictures as `stored_of` of the product would: ids are places, names `p<id>` and `g<group>`."""
    rows = sorted(pictures, key=lambda one: one.id)
    groups = max((group for one in rows for group in one.groups), default=-1) + 1
    return (
        stored_of(replace(one, id=place) for place, one in enumerate(rows)),
        Names(
            pa.array([f"p{one.id:06d}" for one in rows], pa.large_string()),
            pa.array([f"g{number:03d}" for number in range(groups)], pa.large_string()),
        ),
    )
