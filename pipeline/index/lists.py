"""Canonical inverted lists: the one place that reads rows out of an index and writes rows into one.

A list sorted by id is what makes an index a pure function of its content: raw merges give the same answers in
other bytes. Coarse assignment is made independent of the batch as well, because faiss takes another summation
order for fewer than 20 vectors (`distance_compute_blas_threshold`), and a vector half-way between two
centroids could then fall into another list when a day is built alone.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.opened import opened
from pipeline.index.quantizer import centroids, one_thread
from pipeline.index.wrapped import ivf_of, revert_all, transformed, transforms_of
from reporting.errors import DataError

# Float32 inner products of unit vectors are off by less than this; closer centroids are compared in float64.
_NEAR_TIE = 1e-4
# Dimensions a part from which faiss' product quantiser takes a matrix product over the batch, in which a vector
# half-way between two codes gets the one or the other by its place; such vectors are encoded one by one.
_MATRIX_PRODUCT_FROM = 16


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows of an index.

    Attributes:
        list_numbers: Inverted list of each row, shape (n,) int64.
        ids: 63-bit ids, shape (n,) int64.
        codes: Encoded vectors, shape (n, code_size) uint8.
    """

    list_numbers: NDArray[np.int64]
    ids: NDArray[np.int64]
    codes: NDArray[np.uint8]


def checked_ids(ids: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    """Return the ids C-contiguous if they are (n,) int64, not negative and unique, in any order.

    Raises:
        DataError: Names the first bad id.
    """
    if ids.ndim != 1 or ids.dtype != np.int64:
        raise DataError(f"{where}: ids are {ids.dtype} of shape {ids.shape}; expected int64 of shape (n,)")
    ordered = np.sort(ids)
    if ordered.size and ordered[0] < 0:
        raise DataError(f"{where}: id {ordered[0]} is negative; ids are allocated from 0 upwards (63 bits)")
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if twice.size:
        raise DataError(f"{where}: {twice.size} ids occur more than once, first {twice[0]}; an id names one object")
    return np.ascontiguousarray(ids)


def assign(index: Any, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Assign each vector to its list, by a rule that depends on the vector alone and not on its batch.

    The list is that of the nearest centroid; among centroids whose float64 inner products are equal, the
    lowest number. Only for an inner-product index.

    Args:
        index: Trained index.
        vectors: Shape (n, d) float32, as the index takes them (before its transform).

    Returns:
        List numbers, shape (n,) int64.

    Raises:
        DataError: The index measures something else than inner products.
    """
    return _assigned(ivf_of(index), transformed(index, vectors))


def _assigned(ivf: faiss.IndexIVF, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Assign vectors that are in the inverted file's own space."""
    if ivf.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise DataError(f"index has faiss metric {ivf.metric_type}, expected 0 (inner product)")
    if ivf.nlist == 1 or not len(vectors):
        return np.zeros(len(vectors), np.int64)
    near, numbers = ivf.quantizer.search(vectors, 2)
    chosen: NDArray[np.int64] = numbers[:, 0].astype(np.int64)
    close = np.flatnonzero(near[:, 0] - near[:, 1] < _NEAR_TIE)
    if close.size:
        wide = centroids(ivf).astype(np.float64)
        for row in close:
            # multiply and sum, not a matrix product: the order of additions never depends on the batch
            chosen[row] = np.argmax((wide * vectors[row].astype(np.float64)).sum(axis=1))
    return chosen


def encode(index: Any, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> Rows:
    """Encode vectors (n, d) float32 with the index's transform and codec, without adding them.

    Like its list, a vector's code depends on the vector alone and not on its batch.
    """
    ivf = ivf_of(index)
    vectors = transformed(index, vectors)
    numbers = _assigned(ivf, vectors)
    codes = np.empty((len(vectors), ivf.code_size), np.uint8)
    if isinstance(ivf, faiss.IndexIVFPQ) and ivf.pq.dsub >= _MATRIX_PRODUCT_FROM:
        with one_thread():  # a row is too little work to wake others for
            for row in range(len(vectors)):
                _encode_into(ivf, vectors[row : row + 1], numbers[row : row + 1], codes[row : row + 1])
    elif len(vectors):
        _encode_into(ivf, vectors, numbers, codes)
    return Rows(numbers, ids, codes)


def _encode_into(ivf: Any, vectors: NDArray[np.float32], numbers: NDArray[np.int64], codes: NDArray[np.uint8]) -> None:
    ivf.encode_vectors(len(vectors), faiss.swig_ptr(vectors), faiss.swig_ptr(numbers), faiss.swig_ptr(codes))


def read_rows(index: Any) -> Rows:
    """Copy all rows that count of an index (`OpenIndex` or faiss'), list by list in stored order."""
    source = opened(index)
    ivf = source.ivf
    lists: Any = ivf.invlists
    sizes = np.array([lists.list_size(number) for number in range(ivf.nlist)], np.int64)
    ids = np.empty(int(sizes.sum()), np.int64)
    codes = np.empty((len(ids), ivf.code_size), np.uint8)
    start = 0
    for number, size in enumerate(sizes.tolist()):
        if not size:
            continue  # a null pointer for an empty list in a mapped file
        stop = start + size
        held, packed = lists.get_ids(number), lists.get_codes(number)
        ids[start:stop] = faiss.rev_swig_ptr(held, size)
        codes[start:stop] = faiss.rev_swig_ptr(packed, size * ivf.code_size).reshape(size, -1)
        lists.release_ids(number, held)  # stacked lists hand out copies
        lists.release_codes(number, packed)
        start = stop
    rows = Rows(np.repeat(np.arange(ivf.nlist, dtype=np.int64), sizes), ids, codes)
    if source.keep is None:
        return rows
    kept = is_in(ids, source.keep)
    return Rows(rows.list_numbers[kept], ids[kept], codes[kept])


def is_in(ids: NDArray[np.int64], rising: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of each id (n,) whether it is among `rising` (m,), strictly rising; m = 0 says no of all."""
    if not len(rising):
        return np.zeros(len(ids), np.bool_)
    places = np.minimum(np.searchsorted(rising, ids), len(rising) - 1)
    found: NDArray[np.bool_] = rising[places] == ids
    return found


def write_rows(index: Any, rows: Rows) -> None:
    """Write rows into an empty trained index, each list in rising order of id; changes `index`.

    Raises:
        DataError: The index holds rows already, so that the order could not be canonical.
    """
    ivf = ivf_of(index)
    if ivf.ntotal:
        raise DataError(f"index already holds {ivf.ntotal} rows; canonical lists are written once, into none")
    order = np.lexsort((rows.ids, rows.list_numbers))
    numbers = rows.list_numbers[order]
    ids = np.ascontiguousarray(rows.ids[order])
    codes = np.ascontiguousarray(rows.codes[order])
    bounds = np.searchsorted(numbers, np.arange(ivf.nlist + 1))
    lists: Any = ivf.invlists
    for number in np.unique(numbers).tolist():
        start, stop = int(bounds[number]), int(bounds[number + 1])
        lists.add_entries(number, stop - start, faiss.swig_ptr(ids[start:stop]), faiss.swig_ptr(codes[start:stop]))
    ivf.ntotal = index.ntotal = len(ids)


class RowsDigest:
    """The hash of rows, list by list: see `rows_sha256`, which it computes without holding them all."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, number: int, ids: NDArray[np.int64], codes: NDArray[np.uint8]) -> None:
        """Take the rows of one list, whose numbers rise from call to call.

        Args:
            number: Of the list.
            ids: Shape (n,) int64, in any order; n = 0 changes nothing.
            codes: Shape (n, code_size) uint8.
        """
        if not len(ids):
            return
        if np.any(ids[1:] < ids[:-1]):
            order = np.argsort(ids, kind="stable")
            ids, codes = ids[order], codes[order]
        self._digest.update(struct.pack("<qq", number, len(ids)))
        self._digest.update(np.ascontiguousarray(ids, "<i8").data)
        self._digest.update(np.ascontiguousarray(codes).data)

    def hexdigest(self) -> str:
        """Return the SHA-256 so far, 64 hex characters."""
        return self._digest.hexdigest()


def rows_sha256(rows: Rows) -> str:
    """Hash rows whatever their order: equal hashes are equal ids, in equal lists, with equal codes.

    Rows are taken by (list number, id). For each list that has any, in rising number: the number and the count as
    "<qq", the ids as "<i8", the codes. So it can be computed list by list while a shard is read (`RowsDigest`). No rows
    give the sha256 of nothing.

    Returns:
        SHA-256, 64 hex characters.
    """
    digest = RowsDigest()
    order = np.lexsort((rows.ids, rows.list_numbers))
    numbers = rows.list_numbers[order]
    bounds = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist(), len(numbers)]
    for start, stop in pairwise(bounds if len(numbers) else [0]):
        taken = order[start:stop]
        digest.add(int(numbers[start]), rows.ids[taken], rows.codes[taken])
    return digest.hexdigest()


def id_blocks(ids: NDArray[np.int64], limit: int = 64) -> tuple[tuple[int, int], ...]:
    """Cover ids by at most `limit` ranges, split at the widest gaps; of gaps of one width the lowest come first.

    Args:
        ids: Shape (n,) int64, unique, any order; n = 0 gives ().
        limit: Ranges allowed, >= 1.

    Returns:
        Ranges (first, last), both held, rising and disjoint. With fewer runs of consecutive ids than `limit`
        they are exactly these runs.

    Example:
        >>> id_blocks(np.array([7, 5, 6, 90, 20]), limit=2)
        ((5, 20), (90, 90))
    """
    if not len(ids):
        return ()
    ordered = np.sort(ids)
    gaps = ordered[1:] - ordered[:-1]
    widest = np.argsort(-gaps, kind="stable")[: limit - 1]
    cuts = np.sort(widest[gaps[widest] > 1])
    firsts = ordered[np.concatenate([[0], cuts + 1]).astype(np.int64)]
    lasts = ordered[np.concatenate([cuts, [len(ordered) - 1]]).astype(np.int64)]
    return tuple(zip(firsts.tolist(), lasts.tolist(), strict=True))


def index_vectors(index: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return every id that counts (n,) int64, rising, and its stored (decoded) vector (n, d) float32.

    What is decoded from a flat index is what was added, to the bit. From another codec it is near to it, and of
    another norm than 1: normalise before it is a query. Behind a transform it is taken back to the queries' space.

    Args:
        index: `OpenIndex` or a faiss index.
    """
    source = opened(index)
    rows = read_rows(source)
    order = np.argsort(rows.ids, kind="stable")
    inner = decode(source, rows.list_numbers[order], rows.codes[order])
    return rows.ids[order], revert_all(transforms_of(source.index), inner)


def decode(index: Any, list_numbers: NDArray[np.int64], codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decode codes (n, code_size) uint8 of the given lists into vectors (n, d) float32 of the inverted file's space."""
    ivf = opened(index).ivf
    numbers = np.ascontiguousarray(list_numbers)
    packed = np.ascontiguousarray(codes)
    vectors = np.empty((len(packed), ivf.d), np.float32)
    if len(packed):
        ivf.decode_vectors(len(packed), faiss.swig_ptr(packed), faiss.swig_ptr(numbers), faiss.swig_ptr(vectors))
    return vectors
