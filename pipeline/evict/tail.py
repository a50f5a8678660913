"""The budget of a category's tail: what stays beyond the window, and no row more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.packed_sort import order_of
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.ranking import Groups
from pipeline.evict.stored import Stored
from reporting.errors import EXIT_FAILED, FunnelgateError

UNLIMITED = np.iinfo(np.int64).max


class TailFull(FunnelgateError):
    """Pinned pictures and the first of each product alone are more than a tail may hold; nothing goes (exit 1).

    Attributes:
        fill: Of the fullest tail: what must stay over its budget, > 1.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, fill: float = 1.0):
        super().__init__(message)
        self.fill = fill


def over_budget(
    stored: Stored,
    policy: EvictPolicy,
    pinned: NDArray[np.bool_],
    candidates: NDArray[np.int64],
    rank: NDArray[np.int32],
    place: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the candidates for which their category's tail has no room.

    By rank, then by precedence: all first of a group fit, then the second, ..., until the budget is full.

    Args:
        stored: n rows.
        policy: With the budgets.
        pinned: Which rows stay for being pinned, (n,) bool; they take room first.
        candidates: Rows that are within the cap of a group, (k,) int64.
        rank: Best rank of each row, (n,) int32.
        place: Precedence of each row, (n,) int64; lower is better.

    Raises:
        TailFull: Of a category the pinned and the first of the groups alone are more than its budget.
    """
    budgets = np.array(
        [UNLIMITED if (rows := policy.budget_of(name)) is None else rows for name in stored.categories], np.int64
    )
    if (budgets == UNLIMITED).all():
        return candidates[:0]
    first = rank[candidates] == 1
    room = budgets - np.bincount(stored.category[pinned], minlength=len(budgets))
    room -= np.bincount(stored.category[candidates[first]], minlength=len(budgets))
    _require_room(stored.categories, budgets, room)
    others = candidates[~first]
    tight = np.bincount(stored.category[others], minlength=len(budgets)) > room
    others = others[tight[stored.category[others]]]
    keys = (column[others].astype(np.uint64) for column in (stored.category, rank, place))
    others = others[order_of(*keys)]
    category = stored.category[others]
    starts = np.searchsorted(category, np.arange(len(budgets)))
    no_room = np.arange(len(others)) - starts[category] >= room[category]
    left_out: NDArray[np.int64] = others[no_room]
    return left_out


def degraded(
    stored: Stored, policy: EvictPolicy, groups: Groups, stays: NDArray[np.bool_], over: NDArray[np.int64]
) -> dict[str, int]:
    """Return the categories whose budget left a group with fewer than m pictures, with the fewest it left one.

    A group with pictures of several categories is charged to those whose budget had no room for one of them.

    Args:
        stored: n rows.
        policy: With m.
        groups: Of the ranked rows.
        stays: Which rows stay for good: in the window, pinned, representatives; (n,) bool.
        over: Rows that are over budget, (k,) int64.
    """
    if not len(over):
        return {}
    sizes, left = groups.sizes, groups.count(stays)
    short = left < np.minimum(sizes, policy.min_per_group)
    left_out = np.zeros(len(stored), np.bool_)
    left_out[over] = True
    charged = np.repeat(short, sizes) & left_out[groups.rows]
    fewest = np.full(len(stored.categories), UNLIMITED)
    np.minimum.at(fewest, stored.category[groups.rows[charged]], np.repeat(left, sizes)[charged])
    return {stored.categories[at]: int(fewest[at]) for at in np.flatnonzero(fewest < UNLIMITED).tolist()}


def _require_room(categories: tuple[str, ...], budgets: NDArray[np.int64], room: NDArray[np.int64]) -> None:
    full = [
        f"{categories[at]}: {int(budgets[at] - room[at])} rows that must stay (pinned, or the last of a product), "
        f"tail_budget {int(budgets[at])}"
        for at in np.flatnonzero(room < 0).tolist()
    ]
    if full:
        raise TailFull(
            f"the tail is full; {'; '.join(full)}. Nothing was evicted. Raise the budget in the policy, unpin pictures "
            "or groups, or delist products.",
            float(((budgets - room) / budgets).max()),
        )


def fullest(stored: Stored, policy: EvictPolicy, stays: NDArray[np.bool_]) -> float:
    """Return how full the fullest tail is, rows over its budget; 0 where no category that is stored has a budget.

    Args:
        stored: n rows.
        policy: With the budgets.
        stays: Which rows are in a tail after the decisions: pinned, or representatives; (n,) bool.
    """
    rows = np.bincount(stored.category[stays], minlength=len(stored.categories)).tolist()
    budgets = [policy.budget_of(name) for name in stored.categories]
    return max((row / budget for row, budget in zip(rows, budgets, strict=True) if budget is not None), default=0.0)
