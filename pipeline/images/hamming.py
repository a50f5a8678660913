"""Exact Hamming join of 64-bit hashes: every pair within a distance, without comparing all with all.

Pigeonhole (multi-index hashing, Norouzi, Punjani and Fleet, CVPR 2012): cut the 64 bits into max_distance + 1
bands; two hashes that differ in at most max_distance bits agree in at least one whole band. So the candidates
are the pairs that share a band, and each is then checked by its popcount: nothing is missed, nothing false.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 31  # bands of 2 bits: still exact, but by then no faster than comparing all with all

# Candidates checked at once: 2**20 of them are 30 MB of temporaries, whatever the skew of the buckets.
_CHUNK = 1 << 20

PairChunk = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]


def near_pairs(
    hashes: NDArray[np.uint64], base: NDArray[np.uint64], max_distance: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Return every pair of a hash and a base hash within `max_distance` bits.

    Args:
        hashes: uint64 (n,).
        base: uint64 (m,). To join a set with itself pass it twice and keep the pairs with i < j.
        max_distance: Bits allowed to differ, 0 to `MAX_DISTANCE`.

    Returns:
        i int64 (k,), j int64 (k,), distance uint8 (k,): hashes[i] and base[j] differ in `distance` bits; each
        pair once, sorted by (i, j). Memory is that of the answer plus a constant.

    Raises:
        ValueError: `max_distance` is out of range or an array is not one-dimensional uint64.

    Example:
        >>> a = np.array([0b1011], dtype=np.uint64)
        >>> b = np.array([0b0000, 0b1010], dtype=np.uint64)
        >>> [x.tolist() for x in near_pairs(a, b, 1)]
        [[0], [1], [1]]
    """
    chunks = list(iter_near_pairs(hashes, base, max_distance))
    i = np.concatenate([c[0] for c in chunks]) if chunks else np.empty(0, np.int64)
    j = np.concatenate([c[1] for c in chunks]) if chunks else np.empty(0, np.int64)
    distance = np.concatenate([c[2] for c in chunks]) if chunks else np.empty(0, np.uint8)
    order = np.lexsort((j, i))
    return i[order], j[order], distance[order]


def iter_near_pairs(hashes: NDArray[np.uint64], base: NDArray[np.uint64], max_distance: int) -> Iterator[PairChunk]:
    """Yield the pairs of `near_pairs` in bounded chunks, each pair once, in no particular order.

    Raises:
        ValueError: as `near_pairs`.
    """
    _check(hashes, base, max_distance)
    if not len(hashes) or not len(base):
        return
    earlier: list[np.uint64] = []
    for low, high in _bands(max_distance + 1):
        mask = np.uint64(((1 << (high - low)) - 1) << low)
        keys = base & mask
        by_key = np.argsort(keys, kind="stable")
        keys = keys[by_key]
        wanted = hashes & mask
        first = np.searchsorted(keys, wanted, side="left")
        ends = np.cumsum(np.searchsorted(keys, wanted, side="right") - first)
        # Candidates are numbered through all rows, so that a chunk may cut through a crowded bucket.
        for start in range(0, int(ends[-1]), _CHUNK):
            number = np.arange(start, min(start + _CHUNK, int(ends[-1])))
            i = np.searchsorted(ends, number, side="right")
            within = number - np.where(i > 0, ends[i - 1], 0)
            j = by_key[first[i] + within]
            differing = hashes[i] ^ base[j]
            keep = np.bitwise_count(differing) <= max_distance
            i, j, differing = i[keep], j[keep], differing[keep]
            new = _agree_in_none(differing, earlier)
            if new.any():
                yield i[new], j[new], np.bitwise_count(differing[new])
        earlier.append(mask)


def _agree_in_none(differing: NDArray[np.uint64], masks: list[np.uint64]) -> NDArray[np.bool_]:
    """Keep the pairs that no earlier band found already."""
    new = np.ones(len(differing), dtype=np.bool_)
    for mask in masks:
        new &= (differing & mask) != 0
    return new


def _bands(count: int) -> list[tuple[int, int]]:
    """Cut bits 0 to 63 into `count` half-open ranges of nearly equal length."""
    cuts = [64 * k // count for k in range(count + 1)]
    return list(itertools.pairwise(cuts))


def _check(hashes: NDArray[np.uint64], base: NDArray[np.uint64], max_distance: int) -> None:
    if not 0 <= max_distance <= MAX_DISTANCE:
        raise ValueError(f"max_distance is {max_distance}, allowed are 0 to {MAX_DISTANCE}")
    for name, array in (("hashes", hashes), ("base", base)):
        if array.dtype != np.uint64 or array.ndim != 1:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, wanted is uint64 (n,)")
