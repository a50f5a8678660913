"""What a category's tail is, and whether today it is made anew and from what; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date as Date
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class DaySource(BaseModel):
    """The partition of `index` that a day's rows were read from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    planid: str
    attempt: int = Field(ge=1)


class Tail(BaseModel):
    """One category's tail after a day (`tail.json`).

    Attributes:
        days: The days it covers, each with the partition that its rows came from; a day whose pictures show nothing of
            the category is covered without a row.
        compacted_on: Day whose run has written it; None: there has been nothing to write yet.
        path: Folder of its shard, relative to the lake; None: it has no row.
        items_sha256: Of its item table, an object of the lake; None: it has no row.
        rows: Rows of the shard, >= 0; the library says which of them live.
        bytes: Of the shard's index, >= 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: dict[Date, DaySource] = Field(default_factory=dict)
    compacted_on: Date | None = None
    path: str | None = None
    items_sha256: str | None = None
    rows: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)

    @property
    def until(self) -> Date:
        """The last day it covers, `date.min` where it covers none."""
        return max(self.days, default=Date.min)


class Step(NamedTuple):
    """How a tail is made of the one before and of shards.

    Attributes:
        keep: Days whose rows come out of the tail before, as far as they live.
        read: Days whose shards are read, rising.
        rebuilt: Covered days whose rows in the tail before are out of date: they are read again, or have no shard of
            the category any more.
    """

    keep: frozenset[Date]
    read: tuple[Date, ...]
    rebuilt: frozenset[Date]


def next_step(
    before: Tail, there: Mapping[Date, DaySource], stored: Collection[Date], day: Date, compact_days: int
) -> Step | None:
    """Say whether a tail is made anew on a day, and from what.

    It is where a covered day was indexed again, with or without the category, or came late, every `compact_days` days,
    and as soon as there is anything to cover at all. A covered day of which the library has no picture left is not
    covered any more.

    Args:
        before: The tail of the nearest earlier day; an empty one where there is none.
        there: What is indexed, of the days before the window and of those covered.
        stored: Days of which the library has pictures.
        day: The day.
        compact_days: >= 1.

    Returns:
        None: the tail before is handed on as it is.
    """
    covered = before.days.keys() & set(stored)
    keep = {one for one in covered if there.get(one) == before.days[one]}
    read = sorted(one for one in there if one in stored and one not in keep)
    since = None if before.compacted_on is None else (day - before.compacted_on).days
    is_due = bool(read) if since is None else since >= compact_days
    if not is_due and keep == covered and not any(one <= before.until for one in read):
        return None
    return Step(frozenset(keep), tuple(read), frozenset(covered - keep))
