"""What a plan says in numbers: the JSON of `funnelgate evict plan --json`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.evict.days import day_number
from pipeline.evict.decisions import Decisions, Reason
from pipeline.evict.farthest import Distance
from pipeline.evict.forecast import DAYS, forecast
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.signals import SignalsUsed
from pipeline.evict.stored import Stored
from pipeline.evict.stored_of import Names

EXAMPLES = 20


class ForecastRow(BaseModel):
    """Rows on a day to come.

    Attributes:
        date: The day.
        rows: Stored pictures after its decisions.
        bytes: What these take; null where it is not known.
        refused: Why nothing will be evicted on it; null where something may be.
    """

    model_config = ConfigDict(frozen=True)

    date: Date
    rows: int
    bytes: int | None = None
    refused: str | None = None


class Tail(BaseModel):
    """What a category keeps beyond the window.

    Attributes:
        rows: Pinned pictures and representatives after the decisions; marked ones apart.
        budget: B; null: no limit.
        degraded_to: The fewest pictures that the budget left a group, where that is below m; null: nowhere.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    budget: int | None
    degraded_to: int | None


class PlanSummary(BaseModel):
    """The plan of one day.

    Attributes:
        date: Of the decisions.
        rows: Stored pictures before them.
        keep: Of these stay.
        drop: Reason -> rows that go; every reason, 0 where there is none.
        keep_by: Reason -> rows that stay, likewise.
        groups: Product groups with at least one live, indexed picture that is not taken down.
        groups_at_risk: Of these: with exactly one such picture, or left with fewer than min(m, such ones) by a
            budget (what is marked today is then no longer counted).
        at_risk: Their first names, sorted, at most `EXAMPLES`.
        forecast_rows: The next days, if nothing arrives; see `pipeline.evict.forecast`.
        tail: By category; all that there are.
        bytes_now: Of the stored pictures; 0 where it is not known.
        bytes_freed: Of those that go.
        signals: The file whose clicks and qualities it was decided with; null: there is none, and clicks had no weight.
    """

    model_config = ConfigDict(frozen=True)

    date: Date
    rows: int
    keep: int
    drop: dict[str, int]
    keep_by: dict[str, int]
    groups: int
    groups_at_risk: int
    at_risk: tuple[str, ...]
    forecast_rows: tuple[ForecastRow, ...]
    tail: dict[str, Tail]
    bytes_now: int
    bytes_freed: int
    signals: SignalsUsed | None = None


def plan_summary(
    stored: Stored,
    decisions: Decisions,
    names: Names,
    policy: EvictPolicy,
    day: Date,
    *,
    bytes_of: NDArray[Any] | None = None,
    days: int = DAYS,
    distance: Distance | None = None,
) -> PlanSummary:
    """Sum up a day's decisions.

    Args:
        stored: n rows, before them.
        decisions: About these.
        names: Of the groups.
        policy: By which they were made.
        day: On which.
        bytes_of: What each picture takes, (n,) integer; None: not known.
        days: Of the forecast.
        distance: As `decide` was given it.
    """
    by_reason = np.bincount(decisions.reason, minlength=max(Reason) + 1)
    counts = {reason: int(by_reason[reason]) for reason in Reason}
    live, risky = _groups(stored, decisions, policy, day_number(day))
    sizes = np.zeros(len(stored), np.int64) if bytes_of is None else np.asarray(bytes_of, np.int64)
    known = None if bytes_of is None else sizes
    ahead = forecast(stored, decisions, policy, day, days=days, distance=distance, sizes=known)
    return PlanSummary(
        date=day,
        rows=len(stored),
        keep=int(decisions.keep.sum()),
        drop={reason.label: count for reason, count in counts.items() if not reason.keeps},
        keep_by={reason.label: count for reason, count in counts.items() if reason.keeps},
        groups=live,
        groups_at_risk=len(risky),
        at_risk=tuple(sorted(names.group(number) for number in risky[:EXAMPLES])),
        forecast_rows=tuple(
            ForecastRow(date=one.date, rows=one.rows, bytes=one.bytes, refused=one.refused) for one in ahead
        ),
        tail=_tails(stored, decisions, policy),
        bytes_now=int(sizes.sum()),
        bytes_freed=int(sizes[~decisions.keep].sum()),
    )


def _groups(stored: Stored, decisions: Decisions, policy: EvictPolicy, day: int) -> tuple[int, NDArray[np.int64]]:
    """Return how many groups live, and the numbers, rising, of those at risk."""
    live = (stored.gone_since > day) & stored.indexed & ~stored.taken_down
    stays = live & decisions.keep & (decisions.reason != Reason.MARKED)
    groups, places = np.unique(stored.member_groups, return_inverse=True)
    had = np.bincount(places[live[stored.member_rows]], minlength=len(groups))
    has = np.bincount(places[stays[stored.member_rows]], minlength=len(groups))
    risky = (had == 1) | (has < np.minimum(had, policy.min_per_group))
    return int((had > 0).sum()), groups[risky]


def _tails(stored: Stored, decisions: Decisions, policy: EvictPolicy) -> dict[str, Tail]:
    in_tail = (decisions.reason == Reason.PINNED) | (decisions.reason == Reason.REPRESENTATIVE)
    rows: Sequence[int] = np.bincount(stored.category[in_tail], minlength=len(stored.categories)).tolist()
    return {
        name: Tail(rows=rows[number], budget=policy.budget_of(name), degraded_to=decisions.degraded.get(name))
        for number, name in enumerate(stored.categories)
    }
