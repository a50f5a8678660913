"""Nearest neighbours in canonical order: by (distance, id), whatever the order in which faiss scans.

faiss computes an inner product by kernels whose rounding depends on where a vector lies in its list, and cuts
ties at k as it finds them. So its answer is only a candidate list here: more than k are fetched, on through
everything that could tie with the k-th, and their distances are computed again by one rule in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.lists import is_in
from pipeline.index.opened import OpenIndex, opened
from pipeline.index.quantizer import NORM_TOLERANCE, checked_vectors
from reporting.errors import DataError

Neighbours: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Distances (n, k) float32 in [0, 2] and ids (n, k) int64; see `search_index` for padding."""


class _Candidates(NamedTuple):
    """What one search gave for n queries: the best rows by faiss' own scores, and what is known of all others.

    Attributes:
        scores: Shape (n, c) float32, falling; anything where there is no row.
        ids: Shape (n, c) int64; -1 where there is no row, which is after all others.
        vectors: Shape (n, c, d) float32; anything where there is no row.
        below: For each of the n: no row that is missing here has a greater score; -inf: none is missing. None: what
            the last score says.
    """

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    below: list[float] | None


Find: TypeAlias = Callable[
    [OpenIndex, NDArray[np.float32], int, int], tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]
]
"""Finds candidates, as `find_candidates` does."""
_Fetch: TypeAlias = Callable[[NDArray[np.float32], int], _Candidates]

# Fetched beyond k at first, so that most ties at the cut need no second search.
_MARGIN = 8
# Two float32 kernels differ by less on the inner product of two unit vectors (d <= 4096).
_SCORE_TOLERANCE = 1e-5
_NOTHING = -math.inf
_FLOAT32 = np.dtype(np.float32)
# No distance of a score between this and its negative can be outside [0, 2].
_NEARLY_ONE = 0.999
# Floats of candidate vectors held at a time, unless one query alone has more ties than that. 8 MB: above 32 MB
# glibc maps fresh pages for every block, which took longer than the search itself.
_BLOCK_FLOATS = 1 << 21
# Where rows do not count, more are fetched from the start; beyond this factor doubling is cheaper on average.
_MOST_FOR_DROPPED = 4


def search_index(index: Any, queries: NDArray[np.float32], k: int, nprobe: int) -> Neighbours:
    """Search an IVF index for the k nearest rows of the `nprobe` nearest lists.

    Ranked by (distance, id), both rising; where several rows share the k-th distance, the lowest ids are
    returned. The answer to a query depends on the query and the rows probed only, not on its batch.

    Args:
        index: Inner-product index of normalised vectors, `OpenIndex` or faiss' own; not changed. Of an
            `OpenIndex` with `keep` only those rows count. Many threads may search one `OpenIndex`.
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
    return search_by(find_candidates, opened(index), queries, k, nprobe)


def search_one(index: Any, query: NDArray[np.float32], k: int, nprobe: int) -> list[tuple[float, int]]:
    """Search for one query as `search_index` does, with its arguments and errors; what a server asks.

    After a scan everything else is cold: each numpy function that is not called is some microseconds less.

    Args:
        index: As for `search_index`.
        query: Shape (1, d) float32, L2-normalised.
        k: Neighbours wanted, >= 1.
        nprobe: Lists probed, >= 1.

    Returns:
        (distance, id) of the rows found, at most k, rising; the same to the bit, and no padding.
    """
    if len(query) != 1:
        raise DataError(f"{len(query)} queries, expected one; `search_index` takes more")
    source = opened(index)
    if source.keep is None and nprobe >= 1 and source.stored > k + _MARGIN:
        asked = _checked_queries(query, k, source.dim)
        if source.transforms:
            asked = source.transform(asked)
        near = _surely_nearest(*find_candidates(source, asked, k + _MARGIN, min(nprobe, source.nlist)), asked, k)
        if near is not None:
            return near
    distances, ids = search_index(source, query, k, nprobe)
    return [pair for pair in zip(distances[0].tolist(), ids[0].tolist(), strict=True) if pair[1] >= 0]


def _surely_nearest(
    scores: NDArray[np.float32],
    ids: NDArray[np.int64],
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
) -> list[tuple[float, int]] | None:
    """Return the k nearest of more candidates; None where there are not enough to be sure, as `_best` does."""
    numbers: list[int] = ids[0].tolist()
    falling: list[float] = scores[0].tolist()
    reach = falling[k - 1] - _SCORE_TOLERANCE
    if numbers[-1] < 0 or falling[-1] >= reach:
        return None
    width = k
    while falling[width] >= reach:
        width += 1
    distances = _distances(vectors[0, :width], query[0], falling[0], falling[width - 1])
    return sorted(zip(distances.tolist(), numbers[:width], strict=True))[:k]


def search_by(find: Find, source: OpenIndex, queries: NDArray[np.float32], k: int, nprobe: int) -> Neighbours:
    """Search as `search_index` does, with its arguments and errors, by candidates that `find` finds."""
    if nprobe < 1:
        raise DataError(f"nprobe is {nprobe}, expected at least 1")
    queries = _checked_queries(queries, k, source.dim)
    if source.transforms:
        queries = source.transform(queries)
    total = source.stored
    count = k + _MARGIN
    if source.keep is not None and source.rows:
        count = math.ceil(count * min(total / source.rows, _MOST_FOR_DROPPED))
    lists = min(nprobe, source.nlist)

    def fetch(block: NDArray[np.float32], wanted: int) -> _Candidates:
        scores, ids, vectors = find(source, block, wanted, lists)
        below = [_NOTHING] * len(block) if wanted >= total else None
        found = _Candidates(scores, ids, vectors, below)
        return found if source.keep is None else _only(found, source.keep)

    return _ranked(fetch, queries, k, count=count, total=total if source.rows else 0)


def exact_search(
    ids: NDArray[np.int64], vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> Neighbours:
    """Search all rows by brute force, with the ranking, distances and padding of `search_index`.

    The reference for ANN loss: `search_index` on the same rows can only miss, never disagree (behind a rotation
    to within its rounding: the vectors that `index_vectors` gives have been rotated back).

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
    queries = _checked_queries(queries, k, base.shape[1])

    def fetch(block: NDArray[np.float32], count: int) -> _Candidates:
        scores, rows = faiss.knn(block, base, count, metric=faiss.METRIC_INNER_PRODUCT)
        found = np.where(rows >= 0, ids[rows], -1)
        below = [_NOTHING] * len(block) if count >= len(base) else None
        return _Candidates(scores, found, base[rows], below)

    return _ranked(fetch, queries, k, count=k + _MARGIN, total=len(base))


def _checked_queries(queries: NDArray[np.float32], k: int, dim: int) -> NDArray[np.float32]:
    """Return the queries C-contiguous, or raise if they, or k, make no sense."""
    if k < 1:
        raise DataError(f"k is {k}, expected at least 1")
    shape = queries.shape
    if len(shape) == 2 and shape[0] == 1 and queries.dtype is _FLOAT32:
        row = queries[0]
        # A quick look at a single query, well inside the tolerance; what it does not clear is looked at in full.
        if not abs(float(row.dot(row)) - 1.0) <= NORM_TOLERANCE:  # the negation also catches NaN
            queries = checked_vectors(queries)
        elif not queries.flags.c_contiguous:
            queries = np.ascontiguousarray(queries)
    else:
        queries = checked_vectors(queries)
    if queries.shape[1] != dim:
        raise DataError(f"queries have {queries.shape[1]} dimensions, the index has {dim}")
    return queries


def find_candidates(
    source: OpenIndex, block: NDArray[np.float32], count: int, nprobe: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Find the rows with the best scores, by one call into faiss, whether they count or not.

    Args:
        source: The index.
        block: Queries, shape (n, d) float32, C-contiguous, in the inverted file's space.
        count: Rows wanted for each, >= 1.
        nprobe: Lists probed, 1 to nlist.

    Returns:
        Scores (n, count) float32, falling; ids (n, count) int64, -1 where there are no more; the stored vectors
        (n, count, d) float32, anything where there are no more.
    """
    ivf: Any = source.ivf
    flat, n = source.is_flat, len(block)
    scores = np.empty((n, count), np.float32)
    ids = np.empty((n, count), np.int64)
    codes = np.empty((n, count, source.packed_size), np.uint8)
    ivf.search_and_return_codes_c(
        n,
        faiss.swig_ptr(block),
        count,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(ids),
        faiss.swig_ptr(codes),
        not flat,
        source.parameters(nprobe),
    )
    if flat:
        return scores, ids, codes.view(np.float32)
    codes[ids < 0] = 0  # what stands there is no list's number, and faiss would read beyond its lists
    vectors = np.empty((n, count, block.shape[1]), np.float32)
    ivf.sa_decode_c(n * count, faiss.swig_ptr(codes), faiss.swig_ptr(vectors))
    return scores, ids, vectors


def _only(found: _Candidates, keep: NDArray[np.int64]) -> _Candidates:
    """Leave out the rows that do not count, the others moving up."""
    counts = is_in(found.ids.reshape(-1), keep).reshape(found.ids.shape)
    order = np.argsort(~counts, axis=1, kind="stable")
    below = found.below
    if below is None:
        below = [_last_score(found, place) for place in range(len(order))]
    return _Candidates(
        np.take_along_axis(found.scores, order, axis=1),
        np.take_along_axis(np.where(counts, found.ids, -1), order, axis=1),
        np.take_along_axis(found.vectors, order[:, :, None], axis=1),
        below,
    )


def _last_score(found: _Candidates, place: int) -> float:
    """Return the score that no row left out exceeds: the last one's, unless rows ran out before it."""
    return float(found.scores.item(place, -1)) if found.ids.item(place, -1) >= 0 else _NOTHING


def _ranked(fetch: _Fetch, queries: NDArray[np.float32], k: int, *, count: int, total: int) -> Neighbours:
    """Rank canonically, fetching twice as many again for the queries whose ties may go on.

    Args:
        fetch: Gives candidates of a block of queries.
        queries: Shape (n, d) float32.
        k: Neighbours wanted.
        count: Candidates to fetch at first, at most `total`.
        total: Rows there are; 0: nothing is fetched.
    """
    count = min(count, total)
    if len(queries) == 1 and total:  # one query in the first attempt: what a server asks, without the books below
        best = _best(fetch(queries, count), 0, queries[0], k)
        if best is not None and len(best[1]) == k:
            return best[0][np.newaxis], best[1][np.newaxis]
    distances = np.full((len(queries), k), np.nan, np.float32)
    ids = np.full((len(queries), k), -1, np.int64)
    pending = list(range(len(queries) if total else 0))
    while pending:
        size = max(1, _BLOCK_FLOATS // (count * queries.shape[1]))
        left: list[int] = []
        for start in range(0, len(pending), size):
            block = pending[start : start + size]
            asked = queries if len(block) == len(queries) else queries[block]
            found = fetch(asked, count)
            for place, row in enumerate(block):
                best = _best(found, place, asked[place], k)
                if best is None:
                    left.append(row)
                else:
                    distances[row, : len(best[0])], ids[row, : len(best[1])] = best
        pending = left
        count = min(2 * count, total)
    return distances, ids


def _best(found: _Candidates, place: int, query: NDArray[np.float32], k: int) -> Neighbours | None:
    """Order one query's candidates by (distance, id) and cut at k; shapes (at most k,).

    Returns:
        None where a row that was not fetched could still be among them.
    """
    scores, ids = found.scores[place], found.ids[place]
    below = _last_score(found, place) if found.below is None else found.below[place]
    width = len(ids)
    if width >= k and ids.item(k - 1) >= 0:
        reach = scores.item(k - 1) - _SCORE_TOLERANCE
        if below >= reach:
            return None
        # scores fall: what lies beyond reach of the k-th cannot be among the first k
        width = k
        while width < len(ids) and scores.item(width) >= reach and ids.item(width) >= 0:
            width += 1
    elif below > _NOTHING:
        return None
    else:
        width = int(np.count_nonzero(ids >= 0))
    rounded = _distances(
        found.vectors[place, :width], query, scores.item(0) if width else 0.0, scores.item(width - 1) if width else 0.0
    )
    order = np.lexsort((ids[:width], rounded))[:k]
    return rounded[order], ids[order]


def _distances(
    vectors: NDArray[np.float32], query: NDArray[np.float32], greatest: float, least: float
) -> NDArray[np.float32]:
    """Return 1 - inner product of each vector (n, d) float32 with the query, in [0, 2]; faiss' scores bound them."""
    # multiply and sum, not a matrix product: equal vectors get equal distances to the bit
    products = vectors.astype(np.float64)
    products *= query.astype(np.float64)
    distances: NDArray[np.float64] = 1.0 - np.add.reduce(products, axis=1)
    if greatest > _NEARLY_ONE or least < -_NEARLY_ONE:
        distances = distances.clip(0.0, 2.0)
    return distances.astype(np.float32)
