"""Searches of a made-up year by exact inner product, judged by the catalogue of record.

What a policy has forgotten stays in the denominators: a lost product is a miss, not a vanished query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.looks import Looks, Vectors
from pipeline.evict.simulate_result import SLICES, Sample
from pipeline.evict.world import Ids
from pipeline.evict.world_state import Library, Members, WorldState

_AT_A_TIME = 128
"""Queries: their scores of 40,000 pictures are 20 MB."""


class Queries(NamedTuple):
    """Searches for some of the products that are live on a day; q of them.

    Attributes:
        vectors: (q, d) float32.
        groups: Product group that each should find, (q,) int64.
        live: For each the pictures by which it could be found, (q,) int64, >= 1.
        slices: Slice -> which rows, (s,) int64; empty where there are too few groups.
    """

    vectors: Vectors
    groups: Ids
    live: Ids
    slices: Mapping[str, Ids]


def queries_of(state: WorldState, looks: Looks, each: int) -> Queries:
    """Choose live products to search for: up to `each` of every slice, as far as it goes the same ones on each day.

    Slices: the product groups that are live on the day, ordered by the offers booked for them so far (most first, then
    by number) and cut in three equal parts, head, torso and tail; the first ones take what is left over. A group of
    several products is asked for by one of those that still have a live picture.
    """
    pictures = state.findable()
    members = state.members(pictures)
    groups, live = np.unique(members.groups, return_counts=True)
    rng = np.random.default_rng([state.world.settings.seed, 2])
    turn, order = rng.random(len(state.group)), rng.random(len(state.group))
    arrivals = np.bincount(state.group, weights=state.arrivals, minlength=len(state.group))[groups]
    thirds = np.array_split(np.lexsort((groups, -arrivals)), len(SLICES))
    chosen = [third[np.argsort(turn[groups[third]])[:each]] for third in thirds]
    shuffled = np.argsort(order[members.products], kind="stable")
    _, first = np.unique(members.groups[shuffled], return_index=True)
    product = members.products[shuffled[first]]
    rows = np.concatenate(chosen)
    ends = np.cumsum([len(part) for part in chosen])
    slices = {
        name: np.arange(end - len(part), end) for name, end, part in zip(SLICES, ends.tolist(), chosen, strict=True)
    }
    return Queries(looks.queries[product[rows]], groups[rows], live[rows], slices)


def judge(state: WorldState, library: Library, looks: Looks, queries: Queries, k: int) -> Sample:
    """Search what a policy has stored for each query, and judge the answers.

    hit@1 and hit@k: a picture of the group leads, or its best picture is among the best of the first k groups.
    recall: of the group's live pictures in the catalogue, those among the first k pictures / min(k, all of them). Ties
    count against the group. A slice without queries has None.
    """
    pictures = library.searchable(state)
    members = state.members(pictures)
    truly = np.zeros(len(state.booked), np.bool_)
    truly[state.findable()] = True
    rank = np.zeros(len(queries.groups), np.int64)
    recall = np.zeros(len(queries.groups))
    for start in range(0, len(rank), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        scores = queries.vectors[part] @ looks.pictures[pictures].T
        rank[part] = _rank_of_group(scores, members, queries.groups[part])
        found = _found(scores, members, truly[pictures], queries.groups[part], k)
        recall[part] = found / np.minimum(queries.live[part], k)
    return Sample(
        day=state.day + 1,
        queries={name: len(rows) for name, rows in queries.slices.items()},
        recall=_means(recall, queries.slices),
        hit_at_1=_means(rank == 1, queries.slices),
        hit_at_k=_means((rank > 0) & (rank <= k), queries.slices),
    )


def _rank_of_group(scores: Vectors, members: Members, wanted: Ids) -> Ids:
    """Return the place, from 1, of each wanted group among all by their best picture; 0: it has none."""
    rank = np.zeros(len(wanted), np.int64)
    if not len(members.groups):
        return rank
    order = np.argsort(members.groups, kind="stable")
    groups, starts = np.unique(members.groups[order], return_index=True)
    best = np.maximum.reduceat(scores[:, members.rows[order]], starts, axis=1)
    at = np.minimum(np.searchsorted(groups, wanted), len(groups) - 1)
    there = groups[at] == wanted
    own = best[np.arange(len(wanted)), at]
    rank[there] = (best >= own[:, None]).sum(axis=1)[there]
    return rank


def _found(scores: Vectors, members: Members, live: NDArray[np.bool_], wanted: Ids, k: int) -> Ids:
    """Return how many live pictures of the wanted group are among the first k pictures, (q,) int64."""
    count = scores.shape[1]
    if not count:
        return np.zeros(len(wanted), np.int64)
    least = np.partition(scores, count - k, axis=1)[:, count - k] if count > k else np.full(len(scores), -np.inf)
    found = np.zeros(len(wanted), np.int64)
    order = np.argsort(members.groups, kind="stable")
    ordered = members.groups[order]
    first, last = np.searchsorted(ordered, wanted), np.searchsorted(ordered, wanted, side="right")
    for query, (start, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        own = members.rows[order[start:end]]
        found[query] = np.count_nonzero((scores[query, own] >= least[query]) & live[own])
    return np.minimum(found, k)


def _means(values: NDArray[np.float64] | NDArray[np.bool_], slices: Mapping[str, Ids]) -> dict[str, float | None]:
    return {name: float(values[rows].mean()) if len(rows) else None for name, rows in slices.items()}
