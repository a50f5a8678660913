"""What a picture is worth among others of equal standing: freshness, clicks, quality, uniqueness.

It only orders: no value, however wrong, costs the last copy of a product (G1).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.groups import normalised
from pipeline.evict.places import Places
from pipeline.evict.policy import ValueWeights
from pipeline.evict.stored import Stored
from reporting.errors import DataError

# Rows whose cosines to a chunk of all others are taken at once: 1,024 x 8,192 float32 are 32 MB.
_BLOCK = 1024
_CHUNK = 8192


def value_of(
    weights: ValueWeights,
    day: int,
    last_seen: NDArray[Any],
    *,
    clicks: NDArray[Any] | None = None,
    quality: NDArray[Any] | None = None,
    uniqueness: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """Return the weighted mean of the shares that are known.

    The weight of a column that is not given falls out, and that of a row's NaN for this row; where nothing that
    weighs is known of a row, its value is 0.

    Args:
        weights: Of the four shares, and the half-life of freshness.
        day: Number of the day that is decided.
        last_seen: Numbers of days, (n,) integer; what was seen later than `day` counts as seen on it.
        clicks: Counts, (n,) >= 0. The share is log(1 + clicks) over that of the most clicked row; all 0: 0.
        quality: Scores in [0, 1], (n,).
        uniqueness: 1 - cosine, (n,); cut to [0, 1].

    Returns:
        (n,) float32 in [0, 1], finite.

    Raises:
        DataError: A column of another length, a negative or infinite count, or a quality outside [0, 1].

    Example:
        >>> value_of(ValueWeights(quality=0, half_life_days=10), 100, np.array([100, 90]), clicks=np.array([0, 7]))
        array([0.5 , 0.75], dtype=float32)
    """
    rows = len(last_seen)
    age = np.maximum(day - np.asarray(last_seen, np.float64), 0)
    shares = [(weights.freshness, 0.5 ** (age / weights.half_life_days))]
    if clicks is not None:
        shares.append((weights.clicks, _of_clicks(_column("clicks", clicks, rows, np.inf))))
    if quality is not None:
        shares.append((weights.quality, _column("quality", quality, rows, 1.0)))
    if uniqueness is not None:
        shares.append((weights.uniqueness, np.clip(_column("uniqueness", uniqueness, rows, None), 0, 1)))
    total, weighed = np.zeros(rows), np.zeros(rows)
    for weight, share in shares:
        known = ~np.isnan(share)
        total += np.where(known, share, 0) * weight
        weighed += known * weight
    mean = np.divide(total, weighed, out=np.zeros(rows), where=weighed > 0)
    return np.clip(mean, 0, 1).astype(np.float32)


def _column(name: str, values: NDArray[Any], rows: int, most: float | None) -> NDArray[np.float64]:
    """Return a column as floats; refuse one of another length, or out of [0, most] (None: any)."""
    found = np.asarray(values, np.float64)
    if found.shape != (rows,):
        raise DataError(f"value: {name} has shape {found.shape}, expected ({rows},) as last_seen has")
    if most is not None:
        wrong = (found < 0) | (found > most) | np.isinf(found)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            limits = f"0 to {most:g}" if np.isfinite(most) else "a finite number from 0"
            raise DataError(
                f"value: {name} of row {row} is {found[row]}; expected {limits}, or NaN where it is unknown"
            )
    return found


def _of_clicks(clicks: NDArray[np.float64]) -> NDArray[np.float64]:
    logs = np.log1p(clicks)
    most = np.nanmax(logs, initial=0.0)
    found: NDArray[np.float64] = logs / most if most > 0 else logs
    return found


def valued_as(stored: Stored, places: Places, valued: Any) -> Stored:
    """Return the same pictures with the values of an earlier decision, where that knew them.

    For a second look at a day: files of clicks and indexes may have come or changed since, and what a value was does
    not matter to what is guaranteed.

    Args:
        stored: n rows, of `stored_of`: a row is its id.
        places: Of its pictures, `Names.places`.
        valued: Columns picture and value, as of the audit; no picture twice.
    """
    rows = places.rows_of(valued["picture"])
    values = stored.value.copy()
    values[rows[rows >= 0]] = np.asarray(valued["value"].to_numpy(), np.float32)[rows >= 0]
    return replace(stored, value=values)


def uniqueness(
    vectors: NDArray[np.float32], member_rows: NDArray[np.int64], member_groups: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return 1 - cosine to the nearest vector that shares no group, cut to [0, 1]; exact, in blocks of 32 MB.

    Time is n^2 d: for a large category call it per list of its index (reference/evaluation-index-eviction.md 4.7).

    Args:
        vectors: (n, d) float32 of one space, of any length.
        member_rows: Row of each membership, (p,) int64 in [0, n), rising.
        member_groups: Its group, (p,) int64.

    Returns:
        (n,) float32; 1 where every other vector shares a group; NaN (unknown) for a zero or not finite vector, which
        makes nobody less unique either.
    """
    unit, usable = normalised(vectors)
    rows = len(unit)
    # Memberships by (group, row) as one number each: a group's rows within a chunk are then a range of them.
    ranks = np.unique(member_groups, return_inverse=True)[1].astype(np.int64)
    keys = np.sort(ranks * max(rows, 1) + member_rows)
    nearest = np.full(rows, -np.inf, np.float32)
    for start in range(0, rows, _BLOCK):
        block = slice(start, min(start + _BLOCK, rows))
        mine = slice(*np.searchsorted(member_rows, [block.start, block.stop]))
        for at in range(0, rows, _CHUNK):
            stop = min(at + _CHUNK, rows)
            cosines = unit[block] @ unit[at:stop].T
            mates = _mates(keys, ranks[mine] * rows, at, stop)
            cosines[np.repeat(member_rows[mine] - start, mates.counts), mates.rows - at] = -np.inf
            nearest[block] = np.maximum(nearest[block], cosines.max(axis=1))
    found = np.where(np.isneginf(nearest), np.float32(1), np.clip(1 - nearest, 0, 1))
    return np.where(usable, found, np.nan).astype(np.float32)


class _Mates(NamedTuple):
    """Rows of one chunk that share a group with each of some memberships: how many, and which, one run a membership."""

    counts: NDArray[np.int64]
    rows: NDArray[np.int64]


def _mates(keys: NDArray[np.int64], bases: NDArray[np.int64], at: int, stop: int) -> _Mates:
    """Return for memberships in groups (`bases`: rank x rows) the mates in [at, stop), one run after the other."""
    low, high = np.searchsorted(keys, bases + at), np.searchsorted(keys, bases + stop)
    counts = high - low
    offsets = np.repeat(low - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) if len(counts) else counts
    places = offsets + np.arange(counts.sum())
    return _Mates(counts, keys[places] - np.repeat(bases, counts))
