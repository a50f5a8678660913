"""Near copies of queries in the gallery, by perceptual hashes that the sources or the composition root supply."""

from __future__ import annotations

from typing import Final

import numpy as np

from evaluation.evalset import EvalSet

NEAR_BITS: Final = 2
"""Bits of 64 in which the hashes of two pictures differ at most for them to count as copies.

Saving a picture anew as JPEG changes 0.2 bits of the product's own dHash on average (pipeline/images/dhash.py)."""
_PAIRS_AT_ONCE: Final = 1 << 22


def near_copies(evalset: EvalSet) -> list[tuple[str, str, int]]:
    """Return (query_id, image_id, bits) for each query with near copies in the gallery: the nearest, by query.

    A copy of equal bytes is not named here. Of equally near ones the first by id counts. Without hashes on both
    sides nothing is found, see `hashed`. Compares all with all: 10,000 queries with 100,000 pictures take seconds.
    """
    queries = [query for query in evalset.queries if query.near]
    images = [image for image in evalset.catalog if image.near]
    if not queries or not images:
        return []
    left = np.array([int(query.near, 16) for query in queries], np.uint64)
    right = np.array([int(image.near, 16) for image in images], np.uint64)
    hashes = np.array([image.sha256 for image in images])
    step = max(1, _PAIRS_AT_ONCE // len(right))
    found: list[tuple[str, str, int]] = []
    for start in range(0, len(left), step):
        bits = np.bitwise_count(left[start : start + step, None] ^ right[None, :])
        for offset in np.flatnonzero((bits <= NEAR_BITS).any(axis=1)):
            query = queries[start + int(offset)]
            others = np.where((hashes == query.sha256) & bool(query.sha256), 255, bits[offset])
            nearest = int(others.argmin())
            if others[nearest] <= NEAR_BITS:
                found.append((query.query_id, images[nearest].image_id, int(others[nearest])))
    return found


def hashed(evalset: EvalSet) -> tuple[int, int]:
    """Return how many queries and how many rows of the catalogue have a perceptual hash."""
    return sum(bool(query.near) for query in evalset.queries), sum(bool(image.near) for image in evalset.catalog)
