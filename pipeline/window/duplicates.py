"""Exact and near duplicates among the day's pictures and against the live window."""

from __future__ import annotations

from datetime import date as Date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.images.near import Hashed, choose_survivors

_THUMB = (8, 8, 3)


class Duplicate(NamedTuple):
    """One dropped item and the picture that stands for it from now on."""

    item: str
    picture: str
    survivor: str
    """sha256 of the surviving picture."""
    survivor_day: Date | None
    """Day whose shard holds the survivor; None: the day in hand."""
    reason: str
    distance: int


def find_duplicates(rows: pa.Table, live: pa.Table, max_distance: int) -> list[Duplicate]:
    """Return the rows to drop, sorted by item.

    A picture in the window goes before the day's; within the day the lowest item id survives. Equal bytes are
    `exact_duplicate`. The rest are compared by dHash and colour thumbnail; only survivors attract (no chains).

    Args:
        rows: columns item, picture, dhash (uint64, null: not hashed), thumb; sorted by item.
        live: `LIVE_SCHEMA`.
        max_distance: bits in which near duplicates may differ.
    """
    in_window = dict(zip(live["picture"].to_pylist(), live["first_day"].to_pylist(), strict=True))
    exact: list[Duplicate] = []
    firsts: list[int] = []
    seen: dict[str, str] = {}
    for number, (item, picture) in enumerate(zip(rows["item"].to_pylist(), rows["picture"].to_pylist(), strict=True)):
        if picture in in_window:
            exact.append(Duplicate(item, picture, picture, in_window[picture], "exact_duplicate", 0))
        elif picture in seen:
            exact.append(Duplicate(item, picture, picture, None, "exact_duplicate", 0))
        else:
            seen[picture] = item
            firsts.append(number)
    near = _near(rows.take(pa.array(firsts, pa.int64())), live, max_distance)
    # The first of some equal pictures may itself be a near duplicate: its followers go to the same survivor.
    moved = {dup.picture: dup for dup in near}
    exact = [
        dup._replace(survivor=moved[dup.picture].survivor, survivor_day=moved[dup.picture].survivor_day)
        if dup.survivor_day is None and dup.picture in moved
        else dup
        for dup in exact
    ]
    return sorted(exact + near)


def _near(rows: pa.Table, live: pa.Table, max_distance: int) -> list[Duplicate]:
    new, base = rows.filter(rows["dhash"].is_valid()), live.filter(live["dhash"].is_valid())
    found = choose_survivors(_hashed(new, "item"), _hashed(base, "picture"), max_distance=max_distance)
    pictures, days = base["picture"].to_pylist(), base["first_day"].to_pylist()
    items, own = new["item"].to_pylist(), new["picture"].to_pylist()
    duplicates = []
    for number in np.flatnonzero(found.leader >= 0).tolist():
        leader, distance = int(found.leader[number]), int(found.distance[number])
        survivor, day = (
            (pictures[leader], days[leader]) if leader < len(pictures) else (own[leader - len(pictures)], None)
        )
        duplicates.append(Duplicate(items[number], own[number], survivor, day, "near_duplicate", distance))
    return duplicates


def _hashed(table: pa.Table, rank: str) -> Hashed:
    thumbs = np.frombuffer(b"".join(table["thumb"].to_pylist()), np.uint8).reshape(-1, *_THUMB)
    hashes: NDArray[np.uint64] = np.asarray(table["dhash"].to_numpy(), np.uint64)
    return Hashed(hashes, thumbs, np.asarray(table[rank].to_pylist(), dtype=np.str_))
