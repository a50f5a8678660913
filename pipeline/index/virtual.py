"""The merged index without the merge: shards stacked list by list, for the gate to search before a byte is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.lists import Rows, is_in, read_rows, write_rows
from pipeline.index.opened import OpenIndex
from pipeline.index.part import OpenPart, ShardPart, open_part
from pipeline.index.quantizer import from_bytes
from pipeline.index.shard import stored_ids
from pipeline.index.wrapped import ivf_of


def open_virtual(quantizer_bytes: bytes, parts: Sequence[ShardPart | OpenPart], *, verify: bool = True) -> OpenIndex:
    """Open shards as one index: every search answers as the merged index would, and nothing is copied.

    Args:
        quantizer_bytes: The empty trained index that all parts were built on.
        parts: Shards that keep the contract; no part gives an empty index.
        verify: False skips the sha256 of parts that are not yet open.

    Returns:
        The index, with `keep` where a shard has rows that were not taken. Where such a row's id is taken from
        another shard (a picture that was delisted and came back), that shard's kept rows are copied into memory, as a
        choice by id could not tell the two rows apart.

    Raises:
        ContractViolation: A shard is not as its manifest says.
    """
    opened = [part if isinstance(part, OpenPart) else open_part(part, verify=verify) for part in parts]
    if not opened:
        return OpenIndex(from_bytes(quantizer_bytes, where="quantizer"))
    keep = _kept(opened)
    shards = [part.index if keep is None else _without_doubles(quantizer_bytes, part, keep) for part in opened]
    return _stacked(quantizer_bytes, shards, keep)


def _kept(parts: Sequence[OpenPart]) -> NDArray[np.int64] | None:
    """Return all ids taken, rising; None where every row is."""
    if all(part.part.keep_ids is None or len(part.part.keep_ids) == part.index.rows for part in parts):
        return None
    return np.sort(np.concatenate([part.kept_ids() for part in parts]))


def _without_doubles(quantizer_bytes: bytes, part: OpenPart, keep: NDArray[np.int64]) -> OpenIndex:
    """Return the part's shard; in memory and cut, if a row it drops has an id that another part keeps."""
    own = part.part.keep_ids
    if own is None:
        return part.index
    ids = stored_ids(part.index)
    if not np.any(is_in(ids[~is_in(ids, own)], keep)):
        return part.index
    rows = read_rows(part.index)
    mask = is_in(rows.ids, own)
    copy = from_bytes(quantizer_bytes, where="quantizer")
    write_rows(copy, Rows(rows.list_numbers[mask], rows.ids[mask], rows.codes[mask]))
    return OpenIndex(copy)


def _stacked(quantizer_bytes: bytes, shards: Sequence[OpenIndex], keep: NDArray[np.int64] | None) -> OpenIndex:
    """Hang the shards' lists under one empty index."""
    if len(shards) == 1:
        return OpenIndex(shards[0].index, keep, (shards[0],))
    index = from_bytes(quantizer_bytes, where="quantizer")
    ivf: Any = ivf_of(index)
    pointers = faiss.InvertedListsPtrVector()  # type: ignore[attr-defined]  # not in faiss' stubs
    for shard in shards:
        pointers.push_back(shard.ivf.invlists)
    lists = faiss.HStackInvertedLists(pointers.size(), pointers.data())
    ivf.replace_invlists(lists, False)
    ivf.ntotal = index.ntotal = sum(int(shard.ivf.ntotal) for shard in shards)
    return OpenIndex(index, keep, (lists, tuple(shards)))
