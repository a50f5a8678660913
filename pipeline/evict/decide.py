"""The rule: which stored pictures stay on a day, and why (issue 9; reference 4.7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.decisions import NOBODY, Decisions, Reason
from pipeline.evict.farthest import Distance, spread_out
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.ranking import best_ranks, precedence, ranked_groups
from pipeline.evict.stored import NEVER, Stored
from pipeline.evict.tail import degraded, over_budget


def decide(stored: Stored, policy: EvictPolicy, day: int, *, distance: Distance | None = None) -> Decisions:
    """Decide about every stored picture; no decision depends on the order of rows.

    In this order: what is taken down goes at once. What is gone stays `delist_days` more (pinned: for good), and
    represents nobody. What is alive stays while it is in the window or pinned; without being indexed it then goes at
    once. All others are ranked in each of their groups among the live, indexed ones: in the window first, then pinned,
    then by value, last seen (both downwards) and id; they stay where their best rank is within the cap and their
    category's tail has room. What is to go for its rank or for the budget is marked on the first day that finds so and
    goes on a later one.

    Args:
        stored: n rows; none: none are decided about.
        policy: Window, m, cap, budgets, delisting.
        day: From 1970-01-01, as in `stored`. Days in the future (`last_seen` after it) count as today.
        distance: Between stored rows, to choose representatives that differ; None: by value alone.

    Raises:
        TailFull: Pinned pictures and the first of each group alone do not fit a budget.
        DataError: `distance` gave another shape, or what is no number.

    Example:
        >>> import numpy as np
        >>> from pipeline.evict.policy import EvictPolicy
        >>> none, days = np.zeros(2, np.bool_), np.array([20400, 20000], np.int32)
        >>> stored = Stored(
        ...     ids=np.arange(2), last_seen=days, gone_since=np.full(2, NEVER), marked_on=np.full(2, NEVER),
        ...     taken_down=none, pinned=none, indexed=~none, value=np.zeros(2, np.float32),
        ...     category=np.zeros(2, np.int32), member_rows=np.arange(2), member_groups=np.array([7, 7]),
        ...     categories=("shoes",),
        ... )
        >>> decided = decide(stored, EvictPolicy(min_per_group=1), 20401)
        >>> [Reason(number).label for number in decided.reason], decided.rank.tolist(), decided.better.tolist()
        (['window', 'marked'], [1, 2], [-1, 0])
    """
    in_window = stored.last_seen > day - policy.window_days
    reason = _standing(stored, policy, day, in_window)
    ranked = (stored.gone_since > day) & stored.indexed & ~stored.taken_down
    before = precedence(stored, in_window)
    groups = ranked_groups(stored, ranked, before)
    if distance is not None:
        groups = spread_out(groups, in_window | stored.pinned, policy.cap, distance)
    rank, where = best_ranks(groups)
    candidates = np.flatnonzero((reason == Reason.SUPERSEDED) & (rank <= policy.cap))
    reason[candidates] = Reason.REPRESENTATIVE
    over = over_budget(stored, policy, reason == Reason.PINNED, candidates, rank, before.place)
    del before
    reason[over] = Reason.OVER_BUDGET
    going = np.flatnonzero((reason == Reason.SUPERSEDED) | (reason == Reason.OVER_BUDGET))
    better = np.full(len(stored), NOBODY)
    better[going] = stored.ids[groups.rows[groups.starts[where[going]]]]
    less = degraded(stored, policy, groups, reason < Reason.GONE_LATELY, over)
    group = np.full(len(stored), NOBODY)
    group[ranked] = groups.numbers[where[ranked]]
    return _in_two_phases(stored, day, going, Decisions(reason, reason, rank, group, better, stored.marked_on, less))


def _standing(stored: Stored, policy: EvictPolicy, day: int, in_window: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Return each row's reason as far as its groups have no say in it; `SUPERSEDED` where they have."""
    reason = np.full(len(stored), Reason.SUPERSEDED, np.int8)
    alive = stored.gone_since > day
    reason[alive & ~stored.indexed] = Reason.NOT_INDEXED
    reason[~alive] = Reason.GONE_LATELY
    reason[stored.gone_since < day - policy.delist_days] = Reason.DELISTED
    reason[stored.pinned] = Reason.PINNED
    reason[alive & in_window] = Reason.WINDOW
    reason[stored.taken_down] = Reason.TAKEDOWN
    return reason


def _in_two_phases(stored: Stored, day: int, going: NDArray[np.int64], found: Decisions) -> Decisions:
    """Return the decisions where what is to go for the first time is only marked.

    Between the two days a catalogue may split a group, or a better picture may be taken down: what then has become the
    last of its group is found so on the second day, and stays.
    """
    reason, marked = found.reason.copy(), np.full(len(stored), NEVER)
    marked[going] = np.minimum(stored.marked_on[going], day)
    reason[going[stored.marked_on[going] >= day]] = Reason.MARKED
    return Decisions(reason, found.why, found.rank, found.group, found.better, marked, found.degraded)
