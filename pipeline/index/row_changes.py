"""What differs between the rows of two sets of indexes: which ids came, which went, and which hold another code."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.index.opened import OpenIndex
from pipeline.index.quantizer import fingerprint

Opened = Sequence[OpenIndex]
"""The indexes of one day; () where the day is not there."""


class RowChanges(BaseModel):
    """How the rows of one side became those of the other.

    Attributes:
        before: Rows of the first side.
        after: Rows of the second side.
        added: Ids that only the second has.
        removed: Ids that only the first has.
        changed: Ids of both whose list or code differs; all of both where the training differs, because codes of
            two trainings say nothing of each other.
    """

    model_config = ConfigDict(frozen=True)

    before: int
    after: int
    added: int
    removed: int
    changed: int

    @property
    def any(self) -> bool:
        """Say whether anything differs."""
        return bool(self.added or self.removed or self.changed)


class DayChanges(RowChanges):
    """The same for a day; None: the side is one index whose days are not known."""

    date: dt.date | None


def changes_by_day(
    first: Mapping[dt.date | None, Opened], second: Mapping[dt.date | None, Opened]
) -> tuple[DayChanges, ...]:
    """Compare day by day, in rising order; a day that only one side has counts with all its rows."""
    return tuple(
        DayChanges(date=day, **row_changes(first.get(day, ()), second.get(day, ())).model_dump())
        for day in sorted({*first, *second}, key=lambda day: (day is not None, day))
    )


def row_changes(first: Opened, second: Opened) -> RowChanges:
    """Compare the rows of two sides, list by list; where an id stands does not matter, nor in which file.

    Memory: the largest list of both sides, and the ids that are in one list of one side only.
    """
    before, after = _rows(first), _rows(second)
    if not (first and second):
        return RowChanges(before=before, after=after, added=after, removed=before, changed=0)
    trainings = {fingerprint(index.index) for index in (*first, *second)}
    if len(trainings) > 1:
        ids_before, ids_after = _all_ids(first), _all_ids(second)
        both = len(np.intersect1d(ids_before, ids_after))
        return RowChanges(
            before=before, after=after, added=len(ids_after) - both, removed=len(ids_before) - both, changed=both
        )
    changed = 0
    gone, came = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number in range(max((index.nlist for index in (*first, *second)), default=0)):
        ids_before, codes_before = _list(first, number)
        ids_after, codes_after = _list(second, number)
        _, here, there = np.intersect1d(ids_before, ids_after, return_indices=True)
        changed += int(np.any(codes_before[here] != codes_after[there], axis=1).sum())
        gone.append(np.delete(ids_before, here))
        came.append(np.delete(ids_after, there))
    removed, added = np.concatenate(gone), np.concatenate(came)
    moved = len(np.intersect1d(removed, added))  # into another list
    return RowChanges(
        before=before, after=after, added=len(added) - moved, removed=len(removed) - moved, changed=changed + moved
    )


def list_ids(index: OpenIndex, number: int) -> NDArray[np.int64]:
    """Copy the ids of one list, (n,) int64, in stored order."""
    lists: Any = index.ivf.invlists
    size = int(lists.list_size(number))
    if not size:
        return np.zeros(0, np.int64)  # a null pointer for an empty list in a mapped file
    held = lists.get_ids(number)
    ids: NDArray[np.int64] = faiss.rev_swig_ptr(held, size).copy()
    lists.release_ids(number, held)  # stacked lists hand out copies
    return ids


def list_rows(index: OpenIndex, number: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Copy one list: ids (n,) int64 and codes (n, code_size) uint8, in stored order."""
    lists: Any = index.ivf.invlists
    size, width = int(lists.list_size(number)), int(index.ivf.code_size)
    if not size:
        return np.zeros(0, np.int64), np.zeros((0, width), np.uint8)
    packed = lists.get_codes(number)
    codes: NDArray[np.uint8] = faiss.rev_swig_ptr(packed, size * width).reshape(size, width).copy()
    lists.release_codes(number, packed)
    return list_ids(index, number), codes


def _list(indexes: Opened, number: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return one list of all indexes together."""
    parts = [list_rows(index, number) for index in indexes]
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([codes for _, codes in parts])


def _all_ids(indexes: Opened) -> NDArray[np.int64]:
    parts = [list_ids(index, number) for index in indexes for number in range(index.nlist)]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *parts]))


def _rows(indexes: Opened) -> int:
    return sum(int(index.ivf.ntotal) for index in indexes)
