"""Equal distances: which neighbours in a list tie, and what their order can change.

Neighbours tie if |a - b| <= 1e-6 x max(|a|, |b|) (big-ann-benchmarks' figure, relative as evaluation-index-eviction.md
4.2 says); a tie reaches as far as each is tied to the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.measured import Bools, Floats

TOLERANCE = 1e-6
Blocks = NDArray[np.int64]
Grades = NDArray[np.int8]


def tie_blocks(distances: Floats) -> Blocks | None:
    """Number the ties along each list: equal numbers tie, numbers rise by one from tie to tie.

    Args:
        distances: (n, w) float64, rising; NaN beyond a list's end, where nothing ties.

    Returns:
        (n, w) int64 from 0; None where nothing ties in any list.
    """
    n, w = distances.shape
    is_tied = np.zeros((n, max(0, w - 1)), np.bool_)
    # A few rows at a time stay in the processor's cache, which is several times faster than the whole at once.
    step = max(1, 32_768 // max(1, w))
    with np.errstate(over="ignore"):  # numbers at both ends of float64 do not tie
        for at in range(0, n, step):
            before, after = distances[at : at + step, :-1], distances[at : at + step, 1:]
            limit = TOLERANCE * np.maximum(np.abs(before), np.abs(after))
            np.less_equal(after - before, limit, out=is_tied[at : at + step])  # NaN compares false
    if not is_tied.any():
        return None
    blocks = np.zeros(distances.shape, np.int64)
    np.cumsum(~is_tied, axis=1, out=blocks[:, 1:])
    return blocks


def worst_first(grades: Grades, blocks: Blocks | None) -> Grades:
    """Put the less relevant first within each tie; (n, w) int8, the ends of the lists stay ends."""
    return _sorted_in_blocks(grades, blocks, 1)


def best_first(grades: Grades, blocks: Blocks | None) -> Grades:
    """Put the more relevant first within each tie."""
    return _sorted_in_blocks(grades, blocks, -1)


def _sorted_in_blocks(grades: Grades, blocks: Blocks | None, sign: int) -> Grades:
    if blocks is None:
        return grades
    # Only lists that a relevant entry is in can change.
    rows = np.flatnonzero((grades > 0).any(axis=1) & (blocks[:, 1:] == blocks[:, :-1]).any(axis=1))
    if not rows.size:
        return grades
    # Grades are -1, 0, 1, 2; beyond the end every block is of one.
    keys = np.sort(blocks[rows] * 8 + sign * grades[rows] + 3, axis=1)
    ordered = grades.copy()
    ordered[rows] = sign * (keys % 8 - 3)
    return ordered


class AtCut(NamedTuple):
    """What the first k hold on average over all orders of ties.

    Attributes:
        count_expected: (n,) float64: relevant entries.
        any_expected: (n,) float64 in [0, 1]: probability of at least one.
    """

    count_expected: Floats
    any_expected: Floats


def relevant_at_cut(relevant: Bools, blocks: Blocks | None, k: int) -> AtCut:
    """Average the first k over all orders of the tie at the cut.

    Of the b entries in the tie, b_r of them relevant, s get a place: b_r s / b of them are expected, and none with
    probability C(b - b_r, s) / C(b, s).

    Args:
        relevant: (n, w) bool by canonical rank.
        blocks: As `tie_blocks` gives them.
        k: >= 1; k >= w means no cut.
    """
    count = np.asarray(relevant[:, :k].sum(axis=1), np.float64)
    none = np.asarray(count == 0, np.float64)
    if blocks is None or k >= relevant.shape[1]:
        return AtCut(count, 1.0 - none)
    rows = np.flatnonzero(blocks[:, k] == blocks[:, k - 1])
    in_tie = blocks[rows] == blocks[rows, k - 1 : k]
    size = in_tie.sum(axis=1)
    hits = (in_tie & relevant[rows]).sum(axis=1)
    places = in_tie[:, :k].sum(axis=1)
    above = (relevant[rows] & ~in_tie)[:, :k].sum(axis=1)
    missed = np.ones(len(rows))
    for place in range(int(places.max(initial=0))):
        left = np.maximum(size - hits - place, 0) / np.maximum(size - place, 1)
        missed = np.where(place < places, missed * left, missed)
    count[rows] = above + hits * places / size
    none[rows] = np.where(above > 0, 0.0, missed)
    return AtCut(count, 1.0 - none)
