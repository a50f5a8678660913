"""How much each object of a day stands apart: its distance to the nearest one of another product.

Looked for in its own inverted list only (reference/evaluation-index-eviction.md 4.7): the lists are there, and what is
near is mostly in the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.index.lists import read_rows
from pipeline.index.quantizer import from_bytes
from reporting.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 1024
"""Objects of a list with which each of the list is compared: a list of 100,000 costs a hundredth of all pairs."""
_BLOCK = 1024  # 1,024 x 1,024 float32 are 4 MB


def uniqueness_column(shard: bytes, ids: NDArray[np.int64], vectors: NDArray[np.float32], groups: pa.Array) -> pa.Array:
    """Return the uniqueness of a shard's rows as an Arrow column, (n,) float32; null where it is not known.

    Args:
        shard: Of `build_shard`, from these ids and vectors.
        ids: Shape (n,) int64, unique.
        vectors: Shape (n, d) float32, L2-normalised, in the order of the ids.
        groups: Product group of each, (n,) text; null is a product of its own.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    stored = read_rows(from_bytes(shard, where="shard"))
    order = np.argsort(stored.ids)
    lists = stored.list_numbers[order[np.searchsorted(stored.ids, ids, sorter=order)]]
    codes = np.asarray(pc.fill_null(pc.dictionary_encode(groups).indices, -1), np.int64)
    codes = np.where(codes < 0, len(codes) + np.arange(len(codes)), codes)
    found = uniqueness_in_lists(vectors, lists, codes, ids)
    return pa.array(found, pa.float32(), mask=np.isnan(found))


def uniqueness_in_lists(
    vectors: NDArray[np.float32],
    lists: NDArray[np.int64],
    groups: NDArray[np.int64],
    ids: NDArray[np.int64],
    *,
    most: int = MOST,
) -> NDArray[np.float32]:
    """Return 1 - cosine to the nearest vector of another group in the same list, cut to [0, 1].

    In a list of more than `most` rows each is compared with the same `most` of them, drawn by their ids: what is found
    is then the distance to the nearest of a sample, never less than the true one. The order of rows does not matter.

    Args:
        vectors: Shape (n, d) float32, L2-normalised.
        lists: Inverted list of each, (n,) int64.
        groups: Number of its product group, (n,) int64.
        ids: Shape (n,) int64, >= 0, unique.
        most: How many of a list are looked at, >= 1.

    Returns:
        (n,) float32; NaN where the list has no row of another group (among those looked at).

    Raises:
        DataError: The columns are not of one length.
    """
    rows = len(vectors)
    if not len(lists) == len(groups) == len(ids) == rows:
        raise DataError(
            f"uniqueness: {rows} vectors, {len(lists)} lists, {len(groups)} groups, {len(ids)} ids; expected as many"
        )
    found = np.full(rows, np.nan, np.float32)
    order = np.lexsort((_drawn(ids), lists))
    ends = np.flatnonzero(np.diff(lists[order], append=-1)) + 1 if rows else np.empty(0, np.int64)
    for start, stop in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=False):
        mine = order[start:stop]
        of_list, names = vectors[mine], groups[mine]
        for at in range(0, len(mine), _BLOCK):
            block = slice(at, at + _BLOCK)
            cosines = of_list[block] @ of_list[:most].T
            cosines[names[block, None] == names[None, :most]] = -np.inf
            nearest = cosines.max(axis=1)
            found[mine[block]] = np.where(np.isneginf(nearest), np.nan, np.clip(1 - nearest, 0, 1))
    return found


def _drawn(ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return numbers that sort ids as good as at random, each time alike (Fibonacci hashing, Knuth vol. 3, 6.4)."""
    return ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
