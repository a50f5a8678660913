"""Which days of a merged index changed, from what its manifest notes of each: equal hashes are equal rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray


class RowsOfDay(Protocol):
    """What a manifest or a merge notes of a day."""

    @property
    def rows(self) -> int:
        """Rows taken from the day's shard."""

    @property
    def rows_sha256(self) -> str:
        """Their `pipeline.index.lists.rows_sha256`."""


IdsOfDay: TypeAlias = Callable[[dt.date], NDArray[np.int64]]
"""Gives the ids that a day gave, (n,) int64, unique, in any order."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How one index became another.

    Attributes:
        days_changed: Days whose rows differ, days of one side only among them, rising.
        rows_added: Rows of these days that only the second has.
        rows_removed: Rows of these days that only the first has.
    """

    days_changed: tuple[dt.date, ...]
    rows_added: int
    rows_removed: int


def changed_days(
    first: Mapping[dt.date, RowsOfDay],
    second: Mapping[dt.date, RowsOfDay],
    *,
    first_ids: IdsOfDay | None = None,
    second_ids: IdsOfDay | None = None,
) -> Changes:
    """Compare two indexes day by day.

    A day without a row and a day that is not there are the same. Where the rows of a day differ on both sides, ids tell
    which came and went: a row that kept its id but changed its code or list is neither. Without ids such a day is taken
    to be replaced as a whole.

    Args:
        first: Rows by day of the index before.
        second: Rows by day of the index after.
        first_ids: Ids of a day of the first; only asked where needed.
        second_ids: Ids of a day of the second.
    """
    days = [day for day in sorted({*first, *second}) if _facts(first, day) != _facts(second, day)]
    added = removed = 0
    for day in days:
        before, after = _facts(first, day)[0], _facts(second, day)[0]
        both = 0
        if before and after and first_ids is not None and second_ids is not None:
            both = len(np.intersect1d(first_ids(day), second_ids(day)))
        added += after - both
        removed += before - both
    return Changes(tuple(days), added, removed)


def _facts(days: Mapping[dt.date, RowsOfDay], day: dt.date) -> tuple[int, str]:
    """Return the rows of a day and their hash; (0, "") where there is none."""
    noted = days.get(day)
    return (noted.rows, noted.rows_sha256) if noted is not None and noted.rows else (0, "")
