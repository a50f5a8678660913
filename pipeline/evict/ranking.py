"""Which picture of a product group comes first: all groups ranked at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.packed_sort import KEY_BITS, falling, order_of
from pipeline.evict.stored import Stored

UNRANKED = np.int64(np.iinfo(np.int64).max)
_GROUP_BITS = np.int64(32)


@dataclass(frozen=True, eq=False)
class Precedence:
    """One order over all pictures, whatever their groups; that of each group is a part of it. n rows.

    Attributes:
        rows: The rows, the best first, (n,) int64.
        place: Where in it each row is, from 0, (n,) int64.
    """

    rows: NDArray[np.int64]
    place: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Groups:
    """Product groups with their ranked pictures; g groups with at least one, q memberships.

    Attributes:
        rows: Group by group the rows of their pictures, the best first, (q,) int64; no row twice in a group.
        starts: Where each group starts in it, (g,) int64.
        numbers: Of each group as in `Stored.member_groups`, (g,) int64, rising.
        several: Whether a row is of more than one group, (n,) bool.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    numbers: NDArray[np.int64]
    several: NDArray[np.bool_]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of ranked pictures of each group, (g,) int64, >= 1."""
        return np.diff(self.starts, append=len(self.rows))

    def count(self, counted: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return how many of each group's pictures are among those `counted`, (n,) bool; (g,) int64."""
        if not len(self.rows):
            return np.zeros(0, np.int64)
        return np.add.reduceat(counted[self.rows], self.starts, dtype=np.int64)


def precedence(stored: Stored, in_window: NDArray[np.bool_]) -> Precedence:
    """Return the order of the rule: in the window, then pinned, value, last seen, each downwards, then id upwards.

    Args:
        stored: n rows.
        in_window: (n,) bool.
    """
    standing = 2 * (~in_window).astype(np.uint8) + ~stored.pinned
    newest = np.uint32(int(stored.last_seen.max(initial=0)) & 0xFFFFFFFF)
    age = newest - stored.last_seen.view(np.uint32)  # whatever days these are, the difference fits 32 bits
    if (stored.ids[1:] > stored.ids[:-1]).all():  # rows are in order of ids already: equal ones stay so
        rows = order_of(standing, falling(stored.value), age)
    else:
        rows = order_of(standing, falling(stored.value), age, stored.ids.view(np.uint64))
    place = np.empty(len(stored), np.int64)
    place[rows] = np.arange(len(stored))
    return Precedence(rows, place)


def ranked_groups(stored: Stored, ranked: NDArray[np.bool_], before: Precedence) -> Groups:
    """Return each group's ranked pictures in their order.

    Args:
        stored: n rows, p memberships. The same membership twice counts once.
        ranked: Which rows are ranked, (n,) bool; groups without any do not appear.
        before: Their order.
    """
    rows, groups = stored.member_rows, stored.member_groups
    if not ranked.all():
        some = ranked[rows]
        rows, groups = rows[some], groups[some]
    several = np.zeros(len(stored), np.bool_)
    several[rows[1:][rows[1:] == rows[:-1]]] = True
    low = max(len(stored) - 1, 0).bit_length()
    names: NDArray[np.int64] | None = None
    if len(groups) and int(groups.max()).bit_length() + low > KEY_BITS:
        names, groups = np.unique(groups, return_inverse=True)
    key = groups.astype(np.uint64)
    key <<= np.uint64(low)
    key |= before.place[rows].view(np.uint64)
    key.sort()
    again = key[1:] == key[:-1]
    if again.any():
        key = key[np.concatenate([[True], ~again])]
    rows = before.rows[(key & np.uint64((1 << low) - 1)).view(np.int64)]
    key >>= np.uint64(low)
    starts = np.flatnonzero(np.concatenate([np.ones(min(len(key), 1), np.bool_), key[1:] != key[:-1]]))
    numbers = key[starts].view(np.int64)
    return Groups(rows, starts, numbers if names is None else names[numbers], several)


def best_ranks(groups: Groups) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return each row's best rank over its groups, and where in `groups` the group is in which it has it.

    Returns:
        (n,) int32 ranks from 1, 0 for a row of no group; (n,) int32 places in `groups.numbers`, the lowest where the
        rank is the same in several, -1 for a row of no group.
    """
    sizes = groups.sizes
    # One number holds both: the least of a row's is its best rank, and among equal ranks the lowest group.
    ranks = np.arange(1, len(groups.rows) + 1)
    ranks -= np.repeat(groups.starts, sizes)
    ranks <<= _GROUP_BITS
    ranks |= np.repeat(np.arange(len(sizes)), sizes)
    best = np.full(len(groups.several), UNRANKED)
    best[groups.rows] = ranks
    of_several = groups.several[groups.rows]
    np.minimum.at(best, groups.rows[of_several], ranks[of_several])
    unranked = best == UNRANKED
    where = best.astype(np.int32)  # the low half
    best >>= _GROUP_BITS
    rank = best.astype(np.int32)
    rank[unranked], where[unranked] = 0, -1
    return rank, where
