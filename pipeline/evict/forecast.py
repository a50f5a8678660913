"""How many rows there will be on each of the next days if nothing arrives and nothing else becomes known.

It runs the rule again for every day, and does not count rows by the day they leave the window: who then goes depends
on who else is left, on budgets and on marks. It is made cheap by what cannot change: rows that are in the window to the
last day stay, and of those each group only needs as many as its cap; a group with more keeps no place for older ones.
Values are those of today, so the freshness in them does not age further.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date as Date
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.carried import carried, rows_of
from pipeline.evict.days import day_number
from pipeline.evict.decide import decide
from pipeline.evict.decisions import Decisions
from pipeline.evict.farthest import Among, Distance
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import Stored
from pipeline.evict.tail import TailFull

DAYS = 30


@dataclass(frozen=True)
class DayAhead:
    """One day to come.

    Attributes:
        date: Which.
        rows: Stored pictures after its decisions.
        refused: Why nothing will be evicted on it (`TailFull`), None where something may be.
        bytes: What the pictures take; None: not known.
    """

    date: Date
    rows: int
    refused: str | None = None
    bytes: int | None = None


def forecast(
    stored: Stored,
    decisions: Decisions,
    policy: EvictPolicy,
    day: Date,
    *,
    days: int = DAYS,
    distance: Distance | None = None,
    sizes: NDArray[np.int64] | None = None,
) -> list[DayAhead]:
    """Return the rows on each of the next days.

    What was seen today and is in no index yet counts as indexed from tomorrow on: today's arrivals are.

    Args:
        stored: n rows, before today's decisions.
        decisions: Of today, about them.
        policy: As it is.
        day: Today.
        days: How many; 0: none.
        distance: As `decide` was given it, between rows of `stored`; None: by value alone.
        sizes: Bytes of each picture, (n,); None: not known.
    """
    if not days:
        return []
    today = day_number(day)
    kept = np.flatnonzero(decisions.keep)
    left = carried(stored, decisions)
    left = replace(left, indexed=left.indexed | (left.last_seen >= today))
    counted = _needed(left, policy, today + days)
    settled = np.setdiff1d(kept, kept[counted], assume_unique=True)
    left, rows = rows_of(left, counted), kept[counted]
    ahead: list[DayAhead] = []
    for number in range(1, days + 1):
        refused = None
        try:
            decided = decide(left, policy, today + number, distance=_between(distance, rows))
            left, rows = carried(left, decided), rows[decided.keep]
        except TailFull as error:
            refused = str(error)  # the day is told as it will be: nothing goes, and a person is asked
        taken = None if sizes is None else int(sizes[settled].sum() + sizes[rows].sum())
        ahead.append(DayAhead(day + timedelta(days=number), len(settled) + len(left), refused, taken))
    return ahead


def _between(distance: Distance | None, rows: NDArray[np.int64]) -> Distance | None:
    """Return the distance between rows of the part that is left."""
    if distance is None:
        return None
    return Among(distance, rows)


def _needed(stored: Stored, policy: EvictPolicy, last: int) -> NDArray[np.int64]:
    """Return the rows that a decision until the day `last` can depend on or be about, rising.

    All but those that are alive and in the window on every day, and of these the first `cap` of each group: they come
    before all others there, and only their number matters. Nothing here is taken down: that has gone already.
    """
    young = (stored.last_seen > last - policy.window_days) & (stored.gone_since > last)
    needed = ~young
    mine = np.flatnonzero((young & stored.indexed)[stored.member_rows])
    mine = mine[np.argsort(stored.member_groups[mine], kind="stable")]
    groups = stored.member_groups[mine]
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    place = np.arange(len(mine)) - np.repeat(starts, np.diff(starts, append=len(mine)))
    needed[stored.member_rows[mine[place < policy.cap]]] = True
    return np.flatnonzero(needed)
