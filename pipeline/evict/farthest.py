"""Representatives that differ: the farthest point first, among the best of a group."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.ranking import Groups
from reporting.errors import DataError

LOOKED_AT = 16
"""c: so many candidates of a group, and so many of those that stay anyway, are looked at."""

Distance = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Distances between stored rows: (k,) rows and (l,) rows -> (k, l) float32, finite."""


def spread_out(groups: Groups, settled: NDArray[np.bool_], cap: int, distance: Distance) -> Groups:
    """Return groups whose places beyond the window go to candidates that differ (issue 9; reference 4.7, k-center).

    Only where it matters is `distance` asked, once a group: fewer than `cap` of its pictures stay anyway, and there are
    more candidates than places. Then the first 16 candidates are looked at, and as many as there are places are put in
    front, each the farthest from all chosen before it; the others follow in their order.

    Args:
        groups: Ranked, with all that stay anyway in front.
        settled: Which rows stay anyway (in the window, pinned), (n,) bool. The first 16 of a group count as chosen;
            where there is none, its best candidate is chosen first.
        cap: Places of a group, those taken by settled rows included, >= 1.
        distance: Between rows. Equal distances: the better candidate.

    Raises:
        DataError: `distance` gave another shape, or what is no number.
    """
    sizes, taken = groups.sizes, groups.count(settled)
    rows = groups.rows.copy()
    for number in np.flatnonzero((taken < cap) & (sizes > cap)).tolist():
        start, chosen = int(groups.starts[number]), int(taken[number])
        first, last = start + chosen, start + min(chosen + LOOKED_AT, int(sizes[number]))
        candidates = rows[first:last]
        before = rows[start : start + min(chosen, LOOKED_AT)]
        rows[first:last] = candidates[_farthest_first(candidates, before, cap - chosen, distance)]
    return Groups(rows, groups.starts, groups.numbers, groups.several)


def _farthest_first(
    candidates: NDArray[np.int64], before: NDArray[np.int64], places: int, distance: Distance
) -> list[int]:
    """Return the candidates' order, by their places."""
    asked = np.concatenate([before, candidates])
    apart = np.asarray(distance(candidates, asked), np.float32)
    if apart.shape != (len(candidates), len(asked)) or not np.isfinite(apart).all():
        raise DataError(
            f"distance: gave {apart.shape} for {len(candidates)} and {len(asked)} rows, or what is no number; expected "
            f"{(len(candidates), len(asked))} finite distances"
        )
    picked: list[int] = [] if len(before) else [0]
    nearest = apart[:, : len(before)].min(axis=1) if len(before) else apart[:, 0].copy()
    while len(picked) < min(places, len(candidates)):
        nearest[picked] = -np.inf
        picked.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, apart[:, len(before) + picked[-1]])
    return picked + [place for place in range(len(candidates)) if place not in picked]
