"""A few stored vectors of an index, whatever its size: to probe it with what it must find."""

from __future__ import annotations

from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.lists import decode, is_in
from pipeline.index.opened import OpenIndex
from pipeline.index.wrapped import revert_all, transforms_of


class Sample(NamedTuple):
    """Some stored rows.

    Attributes:
        ids: (n,) int64, rising.
        vectors: What is decoded for them, (n, d) float32, L2-normalised.
        lengths: Of what was decoded, (n,) float32, above 0; a search by a row's vector finds it at 1 - length.
    """

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    lengths: NDArray[np.float32]


def sample_vectors(index: OpenIndex, count: int) -> Sample:
    """Return some stored rows, spread evenly over the index: the same ones for the same content.

    Only the ids are looked at in passing, list by list; of the codes no more than `count` are read.

    Args:
        index: Open; not changed.
        count: Rows wanted, >= 1; fewer where the index holds fewer.

    Returns:
        The rows; one that decodes to nothing but zeros is left out.
    """
    ivf = index.ivf
    lists: Any = ivf.invlists
    step = max(1, index.rows // count)
    numbers: list[int] = []
    ids: list[int] = []
    codes: list[NDArray[np.uint8]] = []
    seen = 0  # rows that count, of the lists before
    for number in range(ivf.nlist):
        held = np.sort(_ids_of(lists, number, index.keep))
        for place in range(-seen % step, len(held), step):
            numbers.append(number)
            ids.append(int(held[place]))
            codes.append(_code_of(lists, number, ids[-1], ivf.code_size))
        seen += len(held)
        if len(ids) >= count:
            break
    packed = np.stack(codes[:count]) if codes else np.zeros((0, ivf.code_size), np.uint8)
    inner = decode(index, np.array(numbers[:count], np.int64), packed)
    vectors = revert_all(transforms_of(index.index), inner)
    norms = np.linalg.norm(vectors, axis=1)
    order = np.argsort(ids[:count], kind="stable")
    order = order[norms[order] > 0]
    units = np.ascontiguousarray(vectors[order] / norms[order, None], np.float32)
    return Sample(np.array(ids[:count], np.int64)[order], units, norms[order].astype(np.float32))


def _ids_of(lists: Any, number: int, keep: NDArray[np.int64] | None) -> NDArray[np.int64]:
    size = lists.list_size(number)
    if not size:
        return np.zeros(0, np.int64)  # a null pointer for an empty list in a mapped file
    held = lists.get_ids(number)
    ids: NDArray[np.int64] = faiss.rev_swig_ptr(held, size).copy()
    lists.release_ids(number, held)
    return ids if keep is None else ids[is_in(ids, keep)]


def _code_of(lists: Any, number: int, wanted: int, code_size: int) -> NDArray[np.uint8]:
    size = lists.list_size(number)
    held = lists.get_ids(number)
    place = int(np.flatnonzero(faiss.rev_swig_ptr(held, size) == wanted)[0])
    lists.release_ids(number, held)
    code = lists.get_single_code(number, place)
    found: NDArray[np.uint8] = faiss.rev_swig_ptr(code, code_size).copy()
    lists.release_codes(number, code)
    return found
