"""Canonical inverted lists: the one place that reads rows out of an index and writes rows into one.

A list sorted by id is what makes an index a pure function of its content: raw merges give the same answers in
other bytes. Coarse assignment is made independent of the batch as well, because faiss takes another summation
order for fewer than 20 vectors (`distance_compute_blas_threshold`), and a vector half-way between two
centroids could then fall into another list when a day is built alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.quantizer import centroids
from reporting.errors import DataError

# Float32 inner products of unit vectors are off by less than this; closer centroids are compared in float64.
_NEAR_TIE = 1e-4


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


def assign(index: faiss.IndexIVF, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Assign each vector to its list, by a rule that depends on the vector alone and not on its batch.

    The list is that of the nearest centroid; among centroids whose float64 inner products are equal, the
    lowest number. Only for an inner-product index.

    Args:
        index: Trained index.
        vectors: Shape (n, d) float32.

    Returns:
        List numbers, shape (n,) int64.

    Raises:
        DataError: The index measures something else than inner products.
    """
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise DataError(f"index has faiss metric {index.metric_type}, expected 0 (inner product)")
    if index.nlist == 1 or not len(vectors):
        return np.zeros(len(vectors), np.int64)
    near, numbers = index.quantizer.search(vectors, 2)
    chosen: NDArray[np.int64] = numbers[:, 0].astype(np.int64)
    close = np.flatnonzero(near[:, 0] - near[:, 1] < _NEAR_TIE)
    if close.size:
        wide = centroids(index).astype(np.float64)
        for row in close:
            # multiply and sum, not a matrix product: the order of additions never depends on the batch
            chosen[row] = np.argmax((wide * vectors[row].astype(np.float64)).sum(axis=1))
    return chosen


def encode(index: faiss.IndexIVF, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> Rows:
    """Encode vectors (n, d) float32 with the index's codec, without adding them."""
    numbers = assign(index, vectors)
    codes = np.empty((len(vectors), index.code_size), np.uint8)
    if len(vectors):
        index.encode_vectors(len(vectors), faiss.swig_ptr(vectors), faiss.swig_ptr(numbers), faiss.swig_ptr(codes))
    return Rows(numbers, ids, codes)


def read_rows(index: faiss.IndexIVF) -> Rows:
    """Copy all rows of an index, list by list in stored order."""
    lists: Any = index.invlists
    sizes = np.array([lists.list_size(number) for number in range(index.nlist)], np.int64)
    ids = np.empty(int(sizes.sum()), np.int64)
    codes = np.empty((len(ids), index.code_size), np.uint8)
    start = 0
    for number, size in enumerate(sizes.tolist()):
        if not size:
            continue  # a null pointer for an empty list in a mapped file
        stop = start + size
        ids[start:stop] = faiss.rev_swig_ptr(lists.get_ids(number), size)
        codes[start:stop] = faiss.rev_swig_ptr(lists.get_codes(number), size * index.code_size).reshape(size, -1)
        start = stop
    return Rows(np.repeat(np.arange(index.nlist, dtype=np.int64), sizes), ids, codes)


def write_rows(index: faiss.IndexIVF, rows: Rows) -> None:
    """Write rows into an empty trained index, each list in rising order of id; changes `index`.

    Raises:
        DataError: The index holds rows already, so that the order could not be canonical.
    """
    if index.ntotal:
        raise DataError(f"index already holds {index.ntotal} rows; canonical lists are written once, into none")
    order = np.lexsort((rows.ids, rows.list_numbers))
    numbers = rows.list_numbers[order]
    ids = np.ascontiguousarray(rows.ids[order])
    codes = np.ascontiguousarray(rows.codes[order])
    bounds = np.searchsorted(numbers, np.arange(index.nlist + 1))
    lists: Any = index.invlists
    for number in np.unique(numbers).tolist():
        start, stop = int(bounds[number]), int(bounds[number + 1])
        lists.add_entries(number, stop - start, faiss.swig_ptr(ids[start:stop]), faiss.swig_ptr(codes[start:stop]))
    index.ntotal = len(ids)


def index_vectors(index: faiss.IndexIVF) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return every id (n,) int64, rising, and its stored (decoded) vector (n, d) float32.

    What is decoded from a flat index is what was added, to the bit.
    """
    rows = read_rows(index)
    order = np.argsort(rows.ids, kind="stable")
    return rows.ids[order], decode(index, rows.list_numbers[order], rows.codes[order])


def decode(index: faiss.IndexIVF, list_numbers: NDArray[np.int64], codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decode codes (n, code_size) uint8 of the given lists into vectors (n, d) float32."""
    numbers = np.ascontiguousarray(list_numbers)
    packed = np.ascontiguousarray(codes)
    vectors = np.empty((len(packed), index.d), np.float32)
    if len(packed):
        index.decode_vectors(len(packed), faiss.swig_ptr(packed), faiss.swig_ptr(numbers), faiss.swig_ptr(vectors))
    return vectors
