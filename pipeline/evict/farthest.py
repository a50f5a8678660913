"""Representatives that differ: the farthest point first, among the best of a group."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.ranking import Groups
from reporting.errors import DataError

LOOKED_AT = 16
"""c: so many candidates of a group, and so many of those that stay anyway, are looked at."""

Distance = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Distances between stored rows: (k,) rows and (l,) rows -> (k, l) float32, finite."""
AHEAD = 1 << 22
"""Rows that a distance is told ahead at a time: 0.8 GB of thumbnails."""


@runtime_checkable
class ReadsAhead(Protocol):
    """A distance that fetches what it compares, and is told all rows of many groups before it is asked about them."""

    def read_ahead(self, rows: NDArray[np.int64]) -> None:
        """Fetch what belongs to these rows, (k,) int64; what was fetched before may be forgotten."""


@dataclass(frozen=True, eq=False)
class Among:
    """A distance between the rows of a part of what is stored.

    Attributes:
        distance: Between all of it.
        rows: Those of the part, (k,) int64.
    """

    distance: Distance
    rows: NDArray[np.int64]

    def __call__(self, some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the distances of rows of the part."""
        return self.distance(self.rows[some], self.rows[others])

    def read_ahead(self, rows: NDArray[np.int64]) -> None:
        """Tell the distance, where it wants to be told."""
        tell_ahead(self.distance, self.rows[rows])


def tell_ahead(distance: object, rows: NDArray[np.int64]) -> None:
    """Tell a distance which rows it will be asked about, where it wants to be told."""
    if isinstance(distance, ReadsAhead):
        distance.read_ahead(rows)


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
    asked = np.flatnonzero((taken < cap) & (sizes > cap))
    starts, taken = groups.starts[asked], taken[asked]
    before, candidates = np.minimum(taken, LOOKED_AT), np.minimum(sizes[asked] - taken, LOOKED_AT)
    firsts, lasts = starts + taken, starts + taken + candidates
    for block in _blocks(before + candidates):
        runs = [(starts[block], starts[block] + before[block]), (firsts[block], lasts[block])]
        tell_ahead(distance, np.concatenate([rows[_every(*run)] for run in runs]))
        for number in range(block.start, block.stop):
            start, first, last = int(starts[number]), int(firsts[number]), int(lasts[number])
            some, chosen = rows[first:last], rows[start : start + int(before[number])]
            rows[first:last] = some[_farthest_first(some, chosen, cap - int(taken[number]), distance)]
    return Groups(rows, groups.starts, groups.numbers, groups.several)


def _blocks(sizes: NDArray[np.int64]) -> Iterator[slice]:
    """Yield groups, one run after the other, with at most `AHEAD` rows in each run, or one group."""
    run = (np.cumsum(sizes) - 1) // AHEAD
    edges = [*np.flatnonzero(np.diff(run, prepend=-1)).tolist(), len(sizes)]
    yield from (slice(first, last) for first, last in itertools.pairwise(edges))


def _every(firsts: NDArray[np.int64], lasts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return every number of the runs [first, last), one run after the other."""
    sizes = lasts - firsts
    return np.repeat(firsts - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())


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
