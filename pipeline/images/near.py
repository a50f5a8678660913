"""Near duplicates: which pictures show the same photograph, and which one of them stays.

A dHash alone merges different products: of 3,017 grocery pictures the 21 pairs within 4 bits are the same
product in only 29 % (catalogue pictures of one brand on white differ in colour and print, not in outline). So a
match of the hash is only a candidate and the 8 x 8 colour thumbnails must confirm it:

| bits | pairs by hash | same product | confirmed | same product | found again: q50, half size, x 0.7, x 1.3 |
|---|---|---|---|---|---|
| 0 | 1 | 0 % | 0 | - | 74 %, 82 %, 62 %, 33 % |
| 1 | 4 | 0 % | 0 | - | 96 %, 99 %, 91 %, 62 % |
| 2 | 7 | 14 % | 1 | 1 of 1 | 100 %, 100 %, 98 %, 77 % |
| 3 | 14 | 21 % | 3 | 3 of 3 | 100 %, 100 %, 99 %, 84 % |
| 4 | 21 | 29 % | 3 | 3 of 3 | 100 %, 100 %, 99 %, 86 % |

("Found again": hash and confirmation, 336 of the pictures after JPEG quality 50, halving, and brightness times 0.7
and 1.3, where the last clips highlights. Contrast x 1.4 is found in 60 %, saturation x 1.5 hardly: a change of colour
is a variant here.) Hence 4 bits with confirmation: the confirmation, not a smaller distance, keeps products apart.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.images.hamming import MAX_DISTANCE, iter_near_pairs, near_pairs

__all__ = [
    "DEFAULT_DISTANCE",
    "MAX_CELL",
    "MAX_CHROMA",
    "MAX_DISTANCE",
    "MIN_GAIN",
    "Hashed",
    "Survivors",
    "choose_survivors",
    "confirm",
    "confirm_pairs",
    "near_pairs",
]

DEFAULT_DISTANCE = 4
"""Bits two dHashes may differ in, with confirmation; the table of this module says why."""

MAX_CELL = 32.0
"""Grey levels by which one cell may differ in any of R, G, B after the exposure is matched.

Re-encoded, resized, blurred and darker copies stay below 7; different products within 4 bits start at 66."""

MAX_CHROMA = 16.0
"""Distance in the (Cb, Cr) plane by which one cell may differ: copies stay below 4, other products start at 23."""

MIN_GAIN = 0.6
"""Least factor of exposure that is matched: below it a picture is another one, not a darker copy."""

# (R, G, B) to (Cb, Cr), ITU-R BT.601, as JPEG.
_CHROMA = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=np.float32).T

# Items decided together in choose_survivors: were they all alike, 2,048 make 4 million pairs, about 70 MB.
_BLOCK = 2048
# Thumbnails compared at once: 16,384 pairs are 13 MB a temporary in float32.
_CONFIRM = 16_384
_NONE = np.iinfo(np.int64).max


def confirm(thumb_a: NDArray[np.uint8], thumb_b: NDArray[np.uint8]) -> bool:
    """Say whether two thumbnails show one photograph; symmetric.

    Args:
        thumb_a: uint8 (8, 8, 3), from `dhash.dhash64`.
        thumb_b: Likewise.
    """
    return bool(confirm_pairs(thumb_a[None], thumb_b[None])[0])


def confirm_pairs(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Vectorised `confirm`.

    The brighter thumbnail is multiplied by the ratio of the norms (`MIN_GAIN` to 1), since exposure is the edit
    that a re-upload most often carries; then no cell may differ by more than `MAX_CELL` in a channel, nor by
    more than `MAX_CHROMA` in chroma. The worst cell decides and not the mean: variants of one product differ
    in a label or a cap, which a mean over white background hides.

    Args:
        a: uint8 (k, 8, 8, 3).
        b: uint8 (k, 8, 8, 3).

    Returns:
        bool (k,).
    """
    left = a.reshape(len(a), 64, 3).astype(np.float32)
    right = b.reshape(len(b), 64, 3).astype(np.float32)
    norms = [np.maximum(np.sqrt(np.einsum("kcd,kcd->k", x, x)), 1.0) for x in (left, right)]
    left *= np.clip(norms[1] / norms[0], MIN_GAIN, 1.0)[:, None, None]
    right *= np.clip(norms[0] / norms[1], MIN_GAIN, 1.0)[:, None, None]
    residual = left - right
    chroma = residual @ _CHROMA
    cell_fits = np.abs(residual).max(axis=(1, 2), initial=0.0) <= MAX_CELL
    chroma_fits = (chroma * chroma).sum(axis=2).max(axis=1, initial=0.0) <= MAX_CHROMA**2
    fits: NDArray[np.bool_] = cell_fits & chroma_fits
    return fits


@dataclass(frozen=True, slots=True, eq=False)
class Survivors:
    """Who stays, and for whom the others go.

    Attributes:
        leader: int64 (n,): -1 for an item that stays; else the row it is a duplicate of: 0 to m - 1 are rows of
            the base, m + i is item i of this call (always one that stays).
        distance: uint8 (n,): bits between the item and its leader; 0 for an item that stays.
    """

    leader: NDArray[np.int64]
    distance: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Hashed:
    """Pictures to compare, one per row.

    Attributes:
        hashes: uint64 (n,), from `PictureHash.value`; pictures without one are left out by the caller.
        thumbs: uint8 (n, 8, 8, 3).
        rank: (n,), any sortable dtype, no value twice: lower wins.
    """

    hashes: NDArray[np.uint64]
    thumbs: NDArray[np.uint8]
    rank: NDArray[Any]


def choose_survivors(new: Hashed, base: Hashed, *, max_distance: int = DEFAULT_DISTANCE) -> Survivors:
    """Decide greedily, in order of rank, which pictures stay (leader clustering, Hartigan 1975, section 3.2).

    Rows of the base always stay and come before every new item. A new item goes iff it matches (hash within
    `max_distance` bits and thumbnails confirmed) one that stays and comes before it: to match another dropped
    one is not enough, so no chain forms and two members of a cluster differ in at most 2 x max_distance bits.
    Its leader is the best of its matches by (distance, base before new, rank). The answer depends on the
    ranks alone, not on the order of rows.

    Args:
        new: n pictures to decide on.
        base: m pictures that stay (the window's survivors); may be empty.
        max_distance: Bits, 0 to `MAX_DISTANCE`.

    Raises:
        ValueError: arrays of different lengths, a rank twice, or `max_distance` out of range.
    """
    for name, side in (("new", new), ("base", base)):
        if not len(side.hashes) == len(side.thumbs) == len(side.rank) == len(np.unique(side.rank)):
            raise ValueError(f"{name}: hashes, thumbs and rank must have one length and no rank twice")
    base_order, new_order = np.argsort(base.rank, kind="stable"), np.argsort(new.rank, kind="stable")
    greedy = _Greedy(
        np.concatenate([base.hashes[base_order], new.hashes[new_order]]),
        np.concatenate([base.thumbs[base_order], new.thumbs[new_order]]),
        len(base_order),
        max_distance,
    )
    best = greedy.run()
    dropped = best != _NONE
    rows = np.concatenate([base_order, len(base_order) + new_order])
    leader = np.full(len(new_order), -1, dtype=np.int64)
    distance = np.zeros(len(new_order), dtype=np.uint8)
    leader[new_order[dropped]] = rows[best[dropped] % len(rows)]
    distance[new_order[dropped]] = best[dropped] // len(rows)
    return Survivors(leader, distance)


class _Greedy:
    """One pass over rows sorted by precedence: first the base, then the new items, each by rank.

    A match is kept as one integer, distance x rows + position, whose minimum is the best leader.
    """

    def __init__(self, hashes: NDArray[np.uint64], thumbs: NDArray[np.uint8], base: int, max_distance: int) -> None:
        self.hashes, self.thumbs, self.base, self.max_distance = hashes, thumbs, base, max_distance
        self.best = np.full(len(hashes), _NONE, dtype=np.int64)

    def run(self) -> NDArray[np.int64]:
        """Return the best match of every new item, or `_NONE`."""
        rows = np.arange(len(self.hashes))
        # The base is joined once and not block by block: sorting its bands is the larger part of the work.
        self._offer(rows[self.base :], rows[: self.base])
        for start in range(self.base, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            stayed = rows[self.base : start]
            self._offer(block, stayed[self.best[stayed] == _NONE])
            self._within(block)
        return self.best[self.base :]

    def _offer(self, items: NDArray[np.int64], leaders: NDArray[np.int64]) -> None:
        """Match `items` against `leaders`, all of which stay and come before them."""
        pairs = iter_near_pairs(self.hashes[items], self.hashes[leaders], self.max_distance)
        for i, j, distance in pairs:
            for at in range(0, len(i), _CONFIRM):
                part = slice(at, at + _CONFIRM)
                self._keep(leaders[j[part]], items[i[part]], distance[part])

    def _keep(self, leaders: NDArray[np.int64], items: NDArray[np.int64], distance: NDArray[np.uint8]) -> None:
        """Keep the confirmed ones of these candidates where they beat what the items have."""
        confirmed = confirm_pairs(self.thumbs[leaders], self.thumbs[items])
        match = distance[confirmed].astype(np.int64) * len(self.hashes) + leaders[confirmed]
        np.minimum.at(self.best, items[confirmed], match)

    def _within(self, block: NDArray[np.int64]) -> None:
        """Decide a block in order, against itself."""
        alive = block[self.best[block] == _NONE]
        i, j, distance = near_pairs(self.hashes[alive], self.hashes[block], self.max_distance)
        leaders, items = alive[i], block[j]
        later = items > leaders
        leaders, items, distance = leaders[later], items[later], distance[later]
        cuts = np.flatnonzero(np.diff(leaders, prepend=-1, append=-1)).tolist()  # leaders are sorted
        for start, stop in itertools.pairwise(cuts):
            # Thumbnails are compared only once the leader is known to stay: many alike cost one row of pairs.
            if self.best[leaders[start]] == _NONE:
                self._keep(leaders[start:stop], items[start:stop], distance[start:stop])
