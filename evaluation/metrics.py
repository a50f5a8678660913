"""Retrieval metrics as pure functions on arrays: one value a query, unanswered queries score 0.

Two different things are called "recall@k" in print, so neither is called that alone here:

hit@k     any relevant product group among the first k distinct groups. Also Success@k, CMC@k, and the
          "Recall@k" of metric learning (Stanford Online Products).
recall@k  relevant pictures among the first k distinct pictures / relevant pictures findable in the catalogue.
          The recall of information retrieval (trec_eval's recall_k). A picture that the index lost stays in
          the denominator, so that losing it lowers the value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def hit_at_k(relevant: Bools, k: int) -> Floats:
    """Return 1 for each query with a relevant group among the first k, else 0, in canonical order.

    Args:
        relevant: (n, m) bool by rank of distinct groups, False beyond a list's end; k > m is allowed.
        k: >= 1.

    Returns:
        (n,) float64, 0 or 1.

    Example:
        >>> hit_at_k(np.array([[False, True], [False, False]]), 2).tolist()
        [1.0, 0.0]
    """
    return np.asarray(relevant[:, :k].any(axis=1), np.float64)


def recall_at_k(relevant: Bools, findable: NDArray[np.int64], k: int) -> Floats:
    """Return relevant pictures among the first k / relevant pictures findable in the catalogue.

    At most k / findable: a product with 30 pictures cannot reach 1 at k = 10 (see `capped_recall_at_k`).

    Args:
        relevant: (n, w) bool by rank of distinct pictures, False beyond a list's end; k > w is allowed.
        findable: (n,) int64, counted in the catalogue of record, never in the index. A query with 0 scores 0
            and is not left out.
        k: >= 1.

    Returns:
        (n,) float64 in [0, 1].

    Raises:
        ValueError: More relevant pictures were retrieved than are findable: labels and catalogue disagree.
    """
    return _share(relevant, findable, findable, k)


def capped_recall_at_k(relevant: Bools, findable: NDArray[np.int64], k: int) -> Floats:
    """Return relevant pictures among the first k / min(k, findable); as `recall_at_k` otherwise."""
    return _share(relevant, findable, np.minimum(findable, k), k)


def _share(relevant: Bools, findable: NDArray[np.int64], divisor: NDArray[np.int64], k: int) -> Floats:
    retrieved = relevant.sum(axis=1)
    over = np.flatnonzero(retrieved > findable)
    if over.size:
        raise ValueError(
            f"query {over[0]}: {retrieved[over[0]]} relevant pictures retrieved of {findable[over[0]]} findable"
        )
    share: Floats = relevant[:, :k].sum(axis=1) / np.maximum(divisor, 1)
    return share


def first_relevant_rank(relevant: Bools) -> NDArray[np.int64]:
    """Return the rank, from 1, of each query's first relevant entry, 0 for none; (n,) int64."""
    rank: NDArray[np.int64] = np.where(relevant.any(axis=1), relevant.argmax(axis=1) + 1, 0)
    return rank


@dataclass(frozen=True, slots=True)
class HitBounds:
    """What hit@k would be under other orders of the groups that tie at the cut.

    Attributes:
        worst: (n,) float64, 0 or 1: relevant groups last. This one is gated.
        best: (n,) float64, 0 or 1: relevant groups first.
        expected: (n,) float64 in [0, 1]: mean over all orders.
        is_tied: (n,) bool: the k-th and the (k+1)-th distance are a tie, so that the order mattered.
    """

    worst: Floats
    best: Floats
    expected: Floats
    is_tied: Bools


def hit_bounds_at_k(relevant: Bools, distances: Floats, k: int, *, tolerance: float = 1e-6) -> HitBounds:
    """Bound hit@k over the orders of groups whose distance ties with the k-th.

    Without a tie at the cut all three equal `hit_at_k`. With one, of the b groups in the tie (b_r of them
    relevant) s get a place: worst needs a relevant group above the tie or b - b_r < s; expected is the
    hypergeometric 1 - C(b - b_r, s) / C(b, s). A tie that goes on beyond the list's end is only seen as
    far as the list goes: ask for more than k.

    Args:
        relevant: (n, m) bool by rank of distinct groups.
        distances: (n, m) float64, rising; NaN beyond a list's end.
        k: >= 1.
        tolerance: |a - b| <= tolerance x max(|a|, |b|) is a tie (big-ann-benchmarks).
    """
    hit = hit_at_k(relevant, k)
    if k >= distances.shape[1]:
        return HitBounds(hit, hit, hit, np.zeros(len(hit), np.bool_))
    at_cut = distances[:, k - 1 : k]
    near = np.abs(distances - at_cut) <= tolerance * np.maximum(np.abs(distances), np.abs(at_cut))
    tied: Bools = near[:, k]
    above = (relevant & ~near)[:, :k].any(axis=1)
    size = near.sum(axis=1)
    relevant_in_tie = (relevant & near).sum(axis=1)
    places = near[:, :k].sum(axis=1)
    missed = np.ones(len(hit))
    for place in range(k):
        left = np.maximum(size - relevant_in_tie - place, 0) / np.maximum(size - place, 1)
        missed = np.where(place < places, missed * left, missed)
    worst = above | (size - relevant_in_tie < places)
    best = above | (relevant_in_tie > 0)
    return HitBounds(
        worst=np.where(tied, worst, hit).astype(np.float64),
        best=np.where(tied, best, hit).astype(np.float64),
        expected=np.where(tied, np.where(above, 1.0, 1.0 - missed), hit),
        is_tied=tied,
    )


def answer_rate(answered: Bools) -> float:
    """Return the share of queries that got any answer, in [0, 1]; 0 for no query."""
    return float(answered.mean()) if len(answered) else 0.0


def short_list_rate(counts: NDArray[np.int64], k: int) -> float:
    """Return the share of queries, unanswered ones included, with fewer than k distinct groups; 0 for no query.

    High values mean that hit@k was measured on less than k groups: ask for more raw hits, unless the searched
    category has no more groups.
    """
    return float((counts < k).mean()) if len(counts) else 0.0
