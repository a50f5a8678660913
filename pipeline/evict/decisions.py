"""What was decided about each stored picture, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

NOBODY = np.int64(-1)


class Reason(IntEnum):
    """Why a picture stays (below 10) or goes; stored as a number, printed as `label`."""

    WINDOW = 0
    """Seen within the window."""
    REPRESENTATIVE = 1
    """One of the best of a group, within m or the cap."""
    PINNED = 2
    GONE_LATELY = 3
    """None of its offers is alive, but not for `delist_days` yet."""
    MARKED = 4
    """It would go, and is marked today; it goes on the next day that finds the same (two phases)."""
    TAKEDOWN = 10
    DELISTED = 11
    """None of its offers has been alive for longer than `delist_days`."""
    SUPERSEDED = 12
    """Older than the window, and enough better ones of each of its groups stay."""
    OVER_BUDGET = 13
    """Within the cap of a group, but its category's tail has no room; never the first of a group."""
    NOT_INDEXED = 14
    """Older than the window, and no index holds an object of it: nothing was found in it, or it could not be cut."""

    @property
    def keeps(self) -> bool:
        """Whether the picture stays."""
        return self < 10

    @property
    def label(self) -> str:
        """As it is booked and printed: lower case."""
        return self.name.lower()


@dataclass(frozen=True, eq=False)
class Decisions:
    """One decision for each row of `Stored`, in its order; n rows.

    Attributes:
        reason: `Reason`, (n,) int8.
        why: For `MARKED` the reason for which it will go; else `reason` itself, (n,) int8.
        rank: Its best rank among the live pictures of its groups, from 1, in-window ones first, (n,) int32; 0 for what
            is not ranked (taken down, gone, not indexed).
        group: The group in which it has that rank, the lowest number where there are several, (n,) int64; NOBODY where
            rank is 0.
        better: For what is superseded or over budget a picture of that group that stays instead (the best one),
            (n,) int64 id; else NOBODY.
        marked_on: The day that it was first said to go, (n,) int32; `NEVER` where it is not.
        degraded: Category -> the least m that its budget left some group, below the policy's m; only those degraded.
    """

    reason: NDArray[np.int8]
    why: NDArray[np.int8]
    rank: NDArray[np.int32]
    group: NDArray[np.int64]
    better: NDArray[np.int64]
    marked_on: NDArray[np.int32]
    degraded: dict[str, int]

    @property
    def keep(self) -> NDArray[np.bool_]:
        """Whether each row stays, (n,) bool."""
        return self.reason < 10
