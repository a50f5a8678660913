"""What is still stored after a day's decisions, as the next day, a second pass or a forecast finds it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.decisions import Decisions
from pipeline.evict.stored import Stored


def rows_of(stored: Stored, rows: NDArray[np.int64]) -> Stored:
    """Return some rows with all their memberships; ids, group and category numbers stay.

    Args:
        stored: n rows.
        rows: Rising rows, (k,) int64 in [0, n).
    """
    place = np.full(len(stored), -1, np.int64)
    place[rows] = np.arange(len(rows))
    mine = place[stored.member_rows] >= 0
    return replace(
        stored,
        **{name: getattr(stored, name)[rows] for name in _OF_ROWS},
        member_rows=place[stored.member_rows[mine]],
        member_groups=stored.member_groups[mine],
    )


_OF_ROWS = ("ids", "last_seen", "gone_since", "marked_on", "taken_down", "pinned", "indexed", "value", "category")


def carried(stored: Stored, decisions: Decisions) -> Stored:
    """Return what the decisions keep, with the marks that they give."""
    return rows_of(replace(stored, marked_on=decisions.marked_on), np.flatnonzero(decisions.keep))
