"""Stored pictures for the tests of eviction, written as one line each; also what is stored after a day's decisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.decisions import Decisions
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import NEVER, Stored

POLICY = EvictPolicy(window_days=10, min_per_group=1, delist_days=5)
"""A window of ten days, one picture of a product: histories by hand stay short."""


@dataclass(frozen=True)
class Picture:
    """One stored picture; days as whole numbers, None: never."""

    id: int
    last_seen: int = 0
    groups: tuple[int, ...] = (0,)
    value: float = 0.0
    pinned: bool = False
    taken_down: bool = False
    indexed: bool = True
    gone_since: int | None = None
    marked_on: int | None = None
    category: str = "shoes"


def stored_of(pictures: Iterable[Picture]) -> Stored:
    """Return the columns of these pictures, in their order; categories are numbered by name."""
    rows = list(pictures)
    names = tuple(sorted({row.category for row in rows}))
    return Stored(
        ids=np.array([row.id for row in rows], np.int64),
        last_seen=np.array([row.last_seen for row in rows], np.int32),
        gone_since=_days([row.gone_since for row in rows]),
        marked_on=_days([row.marked_on for row in rows]),
        taken_down=np.array([row.taken_down for row in rows], np.bool_),
        pinned=np.array([row.pinned for row in rows], np.bool_),
        indexed=np.array([row.indexed for row in rows], np.bool_),
        value=np.array([row.value for row in rows], np.float32),
        category=np.array([names.index(row.category) for row in rows], np.int32),
        member_rows=np.array([place for place, row in enumerate(rows) for _ in row.groups], np.int64),
        member_groups=np.array([group for row in rows for group in row.groups], np.int64),
        categories=names,
    )


def pictures_of(stored: Stored) -> list[Picture]:
    """Return each row as a picture, in their order."""
    groups: list[list[int]] = [[] for _ in range(len(stored))]
    for row, group in zip(stored.member_rows.tolist(), stored.member_groups.tolist(), strict=True):
        groups[row].append(group)
    return [
        Picture(
            id=int(stored.ids[row]),
            last_seen=int(stored.last_seen[row]),
            groups=tuple(groups[row]),
            value=float(stored.value[row]),
            pinned=bool(stored.pinned[row]),
            taken_down=bool(stored.taken_down[row]),
            indexed=bool(stored.indexed[row]),
            gone_since=_day(stored.gone_since[row]),
            marked_on=_day(stored.marked_on[row]),
            category=stored.categories[int(stored.category[row])],
        )
        for row in range(len(stored))
    ]


def after(stored: Stored, decisions: Decisions) -> list[Picture]:
    """Return what is stored after a day's decisions: what they keep, with the marks they give."""
    return [
        replace(picture, marked_on=_day(marked))
        for picture, keep, marked in zip(pictures_of(stored), decisions.keep, decisions.marked_on, strict=True)
        if keep
    ]


def kept_ids(stored: Stored, decisions: Decisions) -> set[int]:
    """Return the ids that stay."""
    return set(stored.ids[decisions.keep].tolist())


def _days(days: Sequence[int | None]) -> NDArray[np.int32]:
    return np.array([NEVER if day is None else day for day in days], np.int32)


def _day(day: np.int32) -> int | None:
    return None if day == NEVER else int(day)
