"""What there is to decide about, in columns: 20 million pictures are arrays, not objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reporting.errors import DataError

NEVER = np.int32(np.iinfo(np.int32).max)
"""A day that has not come."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Stored pictures of one day, before that day's decisions; n rows, p memberships.

    Days are counted from 1970-01-01 (`date.toordinal() - 719163`), int32.

    Attributes:
        ids: Of pictures, (n,) int64, >= 0, no two alike; in any order: no decision depends on the order of rows.
        last_seen: Day on which an offer of it was last seen, (n,) int32.
        gone_since: Day since which none of its offers is alive, (n,) int32; NEVER while one is.
        marked_on: Day on which it was first said to go, (n,) int32; NEVER where it was not.
        taken_down: Whether it must not be kept, (n,) bool.
        pinned: Whether it must be kept, (n,) bool.
        indexed: Whether an index holds an object of it, (n,) bool; only such a picture represents its groups. What has
            arrived today is in none yet.
        value: What it is worth among pictures of equal standing, (n,) float32, finite.
        category: Number of its category, (n,) int32, >= 0.
        member_rows: Row of each membership, (p,) int64 in [0, n); rising. Every row has at least one.
        member_groups: Product group of each membership, (p,) int64, >= 0. A picture may show offers of several.
        categories: Name of each category by its number.
    """

    ids: NDArray[np.int64]
    last_seen: NDArray[np.int32]
    gone_since: NDArray[np.int32]
    marked_on: NDArray[np.int32]
    taken_down: NDArray[np.bool_]
    pinned: NDArray[np.bool_]
    indexed: NDArray[np.bool_]
    value: NDArray[np.float32]
    category: NDArray[np.int32]
    member_rows: NDArray[np.int64]
    member_groups: NDArray[np.int64]
    categories: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse columns that do not fit each other.

        Raises:
            DataError: With the column and what is wrong with it.
        """
        rows = len(self.ids)
        for name in ("last_seen", "gone_since", "marked_on", "taken_down", "pinned", "indexed", "value", "category"):
            if len(getattr(self, name)) != rows:
                raise DataError(f"stored.{name}: has {len(getattr(self, name))} rows, expected {rows} as `ids` has")
        if len(self.member_rows) != len(self.member_groups):
            raise DataError(
                f"stored.member_groups: has {len(self.member_groups)} entries, expected {len(self.member_rows)} as "
                "`member_rows` has"
            )
        has_group = np.zeros(rows, np.bool_)
        if len(self.member_rows):
            if self.member_rows[0] < 0 or self.member_rows[-1] >= rows or (np.diff(self.member_rows) < 0).any():
                raise DataError(f"stored.member_rows: expected rising rows of [0, {rows})")
            has_group[self.member_rows] = True
        if not has_group.all():
            first = int(self.ids[~has_group][0])
            raise DataError(f"stored.member_rows: picture {first} is in no group; one without is a group of its own")
        if not np.isfinite(self.value).all():
            raise DataError("stored.value: a value is not finite")
        self._refuse_twice()

    def _refuse_twice(self) -> None:
        if (self.ids[1:] > self.ids[:-1]).all():  # as `stored_of` numbers them
            return
        ids = np.sort(self.ids)
        twice = np.flatnonzero(ids[1:] == ids[:-1])
        if len(twice):
            raise DataError(
                f"stored.ids: picture {ids[twice[0]]} is there twice; expected one row a picture, with all its groups"
            )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)
