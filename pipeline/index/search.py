"""Nearest neighbours in canonical order: by (distance, id), whatever the order in which faiss scans.

faiss computes an inner product by kernels whose rounding depends on where a vector lies in its list, and cuts
ties at k as it finds them. So its answer is only a candidate list here: more than k are fetched, on through
everything that could tie with the k-th, and their distances are computed again by one rule in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.lists import decode
from pipeline.index.quantizer import checked_vectors
from reporting.errors import DataError

Neighbours: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Distances (n, k) float32 in [0, 2] and ids (n, k) int64; see `search_index` for padding."""

# (scores (n, k') float32 falling, ids (n, k') int64 with -1 for none, vectors (n, k', d) float32)
_Candidates: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]
_Fetch: TypeAlias = Callable[[NDArray[np.float32], int], _Candidates]

# Fetched beyond k at first, so that most ties at the cut need no second search.
_MARGIN = 16
# Two float32 kernels differ by less on the inner product of two unit vectors (d <= 4096).
_SCORE_TOLERANCE = 1e-5
# Floats of candidate vectors held at a time, unless one query alone has more ties than that. 8 MB: above 32 MB
# glibc maps fresh pages for every block, which took longer than the search itself.
_BLOCK_FLOATS = 1 << 21


def search_index(index: faiss.IndexIVF, queries: NDArray[np.float32], k: int, nprobe: int) -> Neighbours:
    """Search an IVF index for the k nearest rows of the `nprobe` nearest lists.

    Ranked by (distance, id), both rising; where several rows share the k-th distance, the lowest ids are
    returned. The answer to a query depends on the query and the rows probed only, not on its batch.

    Args:
        index: Inner-product IVF index of normalised vectors; not changed.
        queries: Shape (n, d) float32, L2-normalised; n = 0 is allowed.
        k: Neighbours wanted, >= 1.
        nprobe: Lists probed, >= 1; above nlist means all, and then the search is exact.

    Returns:
        (distances, ids), shape (n, k). distance = 1 - inner product of the stored (decoded) vectors, computed
        in float64, rounded to float32 and clipped to [0, 2]. Where fewer than k rows are found, id is -1
        and distance NaN (2 would pass for a bad but real neighbour).

    Raises:
        DataError: Queries of another dimension, not normalised, or k or nprobe below 1.
    """
    if nprobe < 1:
        raise DataError(f"nprobe is {nprobe}, expected at least 1")
    parameters: Any = faiss.SearchParametersIVF()
    parameters.nprobe = min(nprobe, index.nlist)

    def fetch(block: NDArray[np.float32], count: int) -> _Candidates:
        scores, ids, packed = index.search_and_return_codes(block, count, include_listnos=True, params=parameters)
        codes = packed.reshape(-1, packed.shape[-1])
        prefix = codes.shape[1] - index.code_size
        numbers = np.zeros(len(codes), np.int64)
        for byte in range(prefix):  # faiss packs the list number little-endian into the fewest bytes
            numbers |= codes[:, byte].astype(np.int64) << (8 * byte)
        numbers[ids.reshape(-1) < 0] = 0  # padding: decoded from zeros, never read
        vectors = decode(index, numbers, codes[:, prefix:])
        return scores, ids, vectors.reshape(*ids.shape, index.d)

    return _ranked(fetch, queries, k, dim=index.d, rows=index.ntotal)


def exact_search(
    ids: NDArray[np.int64], vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> Neighbours:
    """Search all rows by brute force, with the ranking, distances and padding of `search_index`.

    The reference for ANN loss: `search_index` on the same rows can only miss, never disagree.

    Args:
        ids: Shape (m,) int64, unique, >= 0.
        vectors: Shape (m, d) float32, L2-normalised; `index_vectors` reads both from an index.
        queries: Shape (n, d) float32, L2-normalised.
        k: Neighbours wanted, >= 1.

    Raises:
        DataError: As `search_index`; also if ids and vectors differ in length.
    """
    if vectors.ndim != 2 or ids.shape != vectors.shape[:1]:
        raise DataError(f"{ids.shape} ids with vectors of shape {vectors.shape}; expected (m,) with (m, d)")
    base = np.ascontiguousarray(vectors)

    def fetch(block: NDArray[np.float32], count: int) -> _Candidates:
        scores, rows = faiss.knn(block, base, count, metric=faiss.METRIC_INNER_PRODUCT)
        return scores, np.where(rows >= 0, ids[rows], -1), base[rows]

    return _ranked(fetch, queries, k, dim=base.shape[1], rows=len(base))


def _ranked(fetch: _Fetch, queries: NDArray[np.float32], k: int, *, dim: int, rows: int) -> Neighbours:
    """Rank canonically, fetching twice as many again for the queries whose ties may go on."""
    if k < 1:
        raise DataError(f"k is {k}, expected at least 1")
    queries = checked_vectors(queries)
    if queries.shape[1] != dim:
        raise DataError(f"queries have {queries.shape[1]} dimensions, the index has {dim}")
    distances = np.full((len(queries), k), np.nan, np.float32)
    ids = np.full((len(queries), k), -1, np.int64)
    pending = np.arange(len(queries) if rows else 0)
    count = min(k + _MARGIN, rows)
    while pending.size:
        size = max(1, _BLOCK_FLOATS // (count * dim))
        open_ends: list[NDArray[np.int64]] = []
        for start in range(0, len(pending), size):
            block = pending[start : start + size]
            scores, found, vectors = fetch(queries[block], count)
            is_open = _may_tie_on(scores, found, k, rows)
            open_ends.append(block[is_open])
            for at in np.flatnonzero(~is_open).tolist():
                best = _ranked_one(queries[block[at]], found[at], vectors[at], k)
                distances[block[at], : len(best[0])], ids[block[at], : len(best[1])] = best
        pending = np.concatenate(open_ends)
        count = min(2 * count, rows)
    return distances, ids


def _may_tie_on(scores: NDArray[np.float32], ids: NDArray[np.int64], k: int, rows: int) -> NDArray[np.bool_]:
    """Say for which queries (n,) a row that was not fetched could still tie with the k-th one."""
    if scores.shape[1] >= rows:
        return np.zeros(len(scores), np.bool_)
    is_open: NDArray[np.bool_] = (ids[:, -1] >= 0) & (scores[:, k - 1] - scores[:, -1] <= _SCORE_TOLERANCE)
    return is_open


def _ranked_one(query: NDArray[np.float32], ids: NDArray[np.int64], vectors: NDArray[np.float32], k: int) -> Neighbours:
    """Order one query's candidates by (distance, id) and cut at k; shapes (at most k,)."""
    real = ids >= 0
    ids = ids[real]
    # multiply and sum, not a matrix product: equal vectors get equal distances to the bit
    inner = (vectors[real].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    distances: NDArray[np.float32] = np.clip(1.0 - inner, 0.0, 2.0).astype(np.float32)
    order = np.lexsort((ids, distances))[:k]
    return distances[order], ids[order]
