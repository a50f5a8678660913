"""The contract of a merge, which faiss itself does not keep.

`IndexIVF.merge_from` merges another metric, other product codebooks, other scalar ranges and other rotations without
an error (faiss compares d, nlist, code size, type and coarse centroids), and knows nothing of ids that collide or of
the model that made the vectors. Here every shard must have the quantizer's fingerprint, read from the index itself, the
same category and feature space, the sha256 and the counts it claims, and ids that no other shard gives.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pipeline.index.lists import checked_ids, is_in
from pipeline.index.opened import OpenIndex
from pipeline.index.part import OpenPart, ShardPart, scanned_part
from pipeline.index.quantizer import codec_of, fingerprint, from_bytes
from pipeline.index.shard import open_checked, stored_ids
from pipeline.index.violations import Violation, differing, refuse
from reporting.errors import DataError

__all__ = ["Violation", "check_contract", "id_violations", "repeated", "require_contract"]

_REMEDY = "nothing was merged: build such a shard again with the category's quantizer and model; an id names one object"
_THREADS = min(4, os.cpu_count() or 1)


def check_contract(
    quantizer_bytes: bytes, parts: Sequence[ShardPart], *, category: str, space_id: str
) -> list[Violation]:
    """Return every clause that a shard breaks, by shard and then by clause; see `require_contract`."""
    return _examined(quantizer_bytes, parts, category, space_id)[1]


def require_contract(
    quantizer_bytes: bytes, parts: Sequence[ShardPart], *, category: str, space_id: str
) -> list[OpenPart]:
    """Open shards that may be merged.

    Every byte of every shard is read once, for its sha256, before faiss sees it; then the fingerprint and codec are
    read from the index and compared with its manifest and with the quantizer, the rows are counted, and the ids are
    looked at: none negative, none twice, all within the blocks claimed, all those to keep there. Shards of disjoint
    blocks cannot share an id; the kept ids of the others are compared in full.

    Args:
        quantizer_bytes: The category's empty trained index.
        parts: The shards of the window, in any order.
        category: Category that all must have.
        space_id: Feature space that all must have.

    Returns:
        The parts, open, by day.

    Raises:
        ContractViolation: The message names each shard and field (exit 1).
        DataError: A file is missing, or ids to keep do not rise.
    """
    opened, violations = _examined(quantizer_bytes, parts, category, space_id)
    refuse(violations, _REMEDY)
    return opened


def _examined(
    quantizer_bytes: bytes, parts: Sequence[ShardPart], category: str, space_id: str
) -> tuple[list[OpenPart], list[Violation]]:
    """Open the parts and find what is wrong with them; a part is left out where its sha256 or its form is wrong."""
    quantizer = OpenIndex(from_bytes(quantizer_bytes, where=f"quantizer of {category}"))
    expected = {
        "category": category,
        "space_id": space_id,
        "dim": quantizer.dim,
        "nlist": quantizer.nlist,
        "fingerprint": fingerprint(quantizer.index),
        "codec": codec_of(quantizer.index),
    }
    ordered = sorted(parts, key=lambda part: (part.manifest.date, part.manifest.sha256))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="contract") as pool:
        looked_at = list(pool.map(lambda part: _examined_part(part, expected), ordered))
    opened = [one for one, _ in looked_at if one is not None]
    violations = [violation for _, some in looked_at for violation in some]
    return opened, violations + _shared_ids(opened)


def _examined_part(part: ShardPart, expected: dict[str, object]) -> tuple[OpenPart | None, list[Violation]]:
    """Open one part and compare it with its own claims and with the merge's."""
    claims = part.manifest
    shard, violations = open_checked(claims, part.index)
    violations += differing(claims.name, {field: (getattr(claims, field), want) for field, want in expected.items()})
    if shard is None:
        return None, violations
    ids = stored_ids(shard)
    violations += differing(claims.name, {"rows": (len(ids), int(shard.ivf.ntotal))})  # in the lists, and counted
    violations += id_violations(claims.name, ids, claims.id_blocks)
    if part.keep_ids is not None:
        violations += _missing_ids(claims.name, part.keep_ids, ids)
    return scanned_part(part, shard, ids), violations


def id_violations(name: str, ids: NDArray[np.int64], blocks: Sequence[tuple[int, int]]) -> list[Violation]:
    """Return what is wrong with a shard's ids (n,) int64, in any order; without blocks none are compared.

    Args:
        name: Of the shard, for messages.
        ids: Its ids.
        blocks: Ranges [first, last] that are said to hold them all.
    """
    found: list[Violation] = []
    ordered = np.sort(ids)
    if len(ordered) and ordered[0] < 0:
        found.append(Violation(name, "ids", f"id {ordered[0]}", "ids from 0 upwards (63 bits)"))
    twice = repeated(ordered)
    if len(twice):
        found.append(Violation(name, "ids", f"{len(twice)} more than once, first {twice[0]}", "every id once"))
    if blocks:
        edges = np.array(blocks, np.int64).reshape(-1)
        if np.any(edges[1:] < edges[:-1]) or np.any(edges[2::2] == edges[1:-1:2]):
            found.append(Violation(name, "id_blocks", str(list(blocks)), "rising and disjoint ranges"))
        at = np.searchsorted(edges[::2], ordered, side="right") - 1
        outside = ordered[(at < 0) | (ordered > edges[1::2][at])]
        if len(outside):
            what = f"{len(outside)} ids elsewhere, first {outside[0]}"
            found.append(Violation(name, "id_blocks", what, f"all within {len(blocks)} blocks"))
    return found


def repeated(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what occurs again in rising ids (n,): of an id held m times, m - 1."""
    twice: NDArray[np.int64] = ordered[1:][ordered[1:] == ordered[:-1]]
    return twice


def _missing_ids(name: str, keep: NDArray[np.int64], ids: NDArray[np.int64]) -> list[Violation]:
    """Return a violation if an id to keep is not there.

    Raises:
        DataError: The ids to keep do not rise, or are no ids.
    """
    if np.any(checked_ids(keep, name)[1:] < keep[:-1]):
        raise DataError(f"{name}: keep_ids do not rise; sort them")
    lost = keep[~is_in(keep, np.sort(ids))]
    if not len(lost):
        return []
    expected = "all of them: the item table and the shard are of different builds"
    return [Violation(name, "keep_ids", f"{len(lost)} that are not in the shard, first {lost[0]}", expected)]


def _shared_ids(parts: Sequence[OpenPart]) -> list[Violation]:
    """Return a violation if two parts give the same id: by blocks, and in full where blocks meet."""
    suspects = [parts[number] for number in _meeting([_blocks(part) for part in parts])]
    kept = [part.kept_ids() for part in suspects]
    twice = repeated(np.sort(np.concatenate([np.zeros(0, np.int64), *kept])))
    if not len(twice):
        return []
    owners = [part.name for part, ids in zip(suspects, kept, strict=True) if is_in(twice[:1], ids).all()]
    # one owner alone holds it twice, which was said of that shard already
    if len(owners) < 2:
        return []
    return [Violation(" and ".join(owners), "ids", f"{len(twice)} shared, first {twice[0]}", "every id in one shard")]


def _blocks(part: OpenPart) -> Sequence[tuple[int, int]]:
    """Return ranges that hold all ids a part gives."""
    if part.part.manifest.id_blocks:
        return part.part.manifest.id_blocks
    ids = part.kept_ids()
    return [(int(ids[0]), int(ids[-1]))] if len(ids) else []


def _meeting(blocks: Sequence[Sequence[tuple[int, int]]]) -> list[int]:
    """Return the numbers of the parts, rising, of which some block meets another part's."""
    flat = sorted((first, last, number) for number, own in enumerate(blocks) for first, last in own)
    meeting: set[int] = set()
    reach, owner = -(2**63), -1  # the furthest end so far: whatever starts before it meets its owner
    for first, last, number in flat:
        if first <= reach and number != owner >= 0:
            meeting |= {number, owner}
        if last > reach:
            reach, owner = last, number
    return sorted(meeting)
