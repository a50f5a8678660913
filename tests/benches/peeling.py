"""The rival: plain peeling as reference section 3.2 describes it, cut at the mirrored extreme of the other side."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from checks.kinds.base import Table
from tests.checks.risk_generator import Element

_MARGIN = 1.1
_PURE = 0.6
"""The best of .6, .8 and .95 on either set."""
_LEAST = 0.01
_MOST = 20


def plain_peeling(table: Table, codes: NDArray[np.int64]) -> set[Element]:
    """Return the purest and heaviest element of the lowest layer, without its leaves the next one, and so on.

    Args:
        table: The leaves.
        codes: (leaves, dimensions) their values.
    """
    total = table.expected + table.actual
    alive = total > 0
    deviation = np.divide(2 * (table.expected - table.actual), total, out=np.zeros(len(total)), where=alive)
    deviation *= 1.0 if table.expected.sum() > table.actual.sum() else -1.0
    abnormal = deviation > max(0.0, -float(deviation.min())) * _MARGIN
    weight, left = np.where(abnormal, deviation, 0.0), alive.copy()
    found: set[Element] = set()
    while weight[left].sum() > _LEAST * weight.sum() and len(found) < _MOST:
        best = _best(codes, weight, abnormal, left)
        if best is None:
            break
        dimensions, rows = best
        row = int(np.flatnonzero(rows)[0])
        found.add(frozenset((table.dimensions[one], table.values[row][one]) for one in dimensions))
        left &= ~rows
    return found


def _best(
    codes: NDArray[np.int64], weight: NDArray[np.float64], abnormal: NDArray[np.bool_], left: NDArray[np.bool_]
) -> tuple[tuple[int, ...], NDArray[np.bool_]] | None:
    sizes = codes.max(axis=0) + 1
    for layer in range(1, codes.shape[1] + 1):
        found = []
        for dimensions in combinations(range(codes.shape[1]), layer):
            cells = np.ravel_multi_index(tuple(codes[:, dimensions].T), tuple(sizes[list(dimensions)]))
            here = cells[left]
            hit = np.bincount(here, abnormal[left])
            pure = np.flatnonzero((hit > 0) & (hit >= _PURE * np.bincount(here)))
            if len(pure):
                weights = np.bincount(here, weight[left])[pure]
                found.append((float(weights.max()), dimensions, cells == pure[np.argmax(weights)]))
        if found:
            _, chosen, rows = max(found, key=lambda one: one[0])
            return chosen, rows
    return None
