"""The merge of day shards, under a contract that faiss itself does not keep.

`IndexIVF.merge_from` merges another metric, other product codebooks and other scalar ranges without an error,
and knows nothing of ids that collide or of the model that made the vectors. Here every shard must have the
quantizer's fingerprint (read from its bytes), the same category and feature space, the sha256 it claims, and
ids that no other shard gives; and what comes out must count what went in.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.lists import Rows, checked_ids, read_rows, write_rows
from pipeline.index.quantizer import fingerprint, from_bytes, to_bytes
from pipeline.index.shard import ShardManifest
from reporting.errors import DataError


@dataclass(frozen=True, slots=True)
class ShardPart:
    """A shard and the rows that the merge takes from it.

    Attributes:
        manifest: What the shard claims; each claim is verified.
        index: The index bytes, or the file that holds them (then read by memory map).
        keep_ids: Ids to take, int64, strictly rising; all must be in the shard. Empty takes none.
    """

    manifest: ShardManifest
    index: bytes | Path
    keep_ids: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MergedIndex:
    """A merged index with what a release says about it.

    Attributes:
        data: The index in faiss' format, canonical: it depends on the rows only.
        sha256: Of `data`.
        ids: All ids, int64, rising.
        fingerprint: Training fingerprint, equal to every shard's.
        category: Category of all rows.
        space_id: Feature space of all rows.
        dim: Dimensions.
        nlist: Inverted lists.
        taken: Rows by date of the shard; dates without a kept row are listed with 0.
    """

    data: bytes
    sha256: str
    ids: NDArray[np.int64]
    fingerprint: str
    category: str
    space_id: str
    dim: int
    nlist: int
    taken: dict[dt.date, int]

    @property
    def rows(self) -> int:
        """Count the rows."""
        return len(self.ids)


def merge_shards(quantizer_bytes: bytes, parts: Sequence[ShardPart], *, category: str, space_id: str) -> MergedIndex:
    """Merge the kept rows of shards into one canonical index.

    Pure: the order of `parts` does not matter, and the bytes are those of one shard built from all kept rows
    at once. Codes are copied, never encoded again. No part, or no kept row, gives an empty index.

    Args:
        quantizer_bytes: The category's empty trained index.
        parts: The shards of the window.
        category: Category that all parts must have.
        space_id: Feature space that all parts must have.

    Raises:
        DataError: The contract is broken; the message names the shard and the field.
    """
    index = from_bytes(quantizer_bytes, where=f"quantizer of {category}")
    expected = fingerprint(index)
    taken: dict[dt.date, int] = {}
    pieces: list[Rows] = []
    for part in sorted(parts, key=lambda part: (part.manifest.date, part.manifest.sha256)):
        shard = open_shard(part.manifest, part.index)
        _require_equal(
            part.manifest.name,
            {
                "category": (part.manifest.category, category),
                "space_id": (part.manifest.space_id, space_id),
                "dim": (shard.d, index.d),
                "nlist": (shard.nlist, index.nlist),
                "fingerprint": (part.manifest.fingerprint, expected),
            },
        )
        pieces.append(_kept_rows(part, read_rows(shard)))
        taken[part.manifest.date] = taken.get(part.manifest.date, 0) + len(part.keep_ids)
    rows = Rows(
        np.concatenate([np.zeros(0, np.int64), *(piece.list_numbers for piece in pieces)]),
        np.concatenate([np.zeros(0, np.int64), *(piece.ids for piece in pieces)]),
        np.concatenate([np.zeros((0, index.code_size), np.uint8), *(piece.codes for piece in pieces)]),
    )
    _require_unique(parts, rows.ids)
    write_rows(index, rows)
    _require_counts(index, sum(taken.values()), category)
    data = to_bytes(index)
    return MergedIndex(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        ids=np.sort(rows.ids),
        fingerprint=expected,
        category=category,
        space_id=space_id,
        dim=index.d,
        nlist=index.nlist,
        taken=taken,
    )


def open_shard(manifest: ShardManifest, index: bytes | Path) -> faiss.IndexIVF:
    """Open a shard's index after its sha256 is verified, and compare it with all that its manifest claims.

    Raises:
        DataError: Bytes and manifest disagree, or the file is missing; the message names shard and field.
    """
    if isinstance(index, bytes):
        found = hashlib.sha256(index).hexdigest()
    else:
        try:
            with index.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise DataError(f"{manifest.name}: {index} does not exist; build the shard again") from error
    _require_equal(manifest.name, {"sha256": (found, manifest.sha256)})
    if isinstance(index, bytes):
        shard = from_bytes(index, where=manifest.name)
    else:
        mapped = faiss.read_index(str(index), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        if not isinstance(mapped, faiss.IndexIVF):
            raise DataError(f"{manifest.name}: {index} holds a {type(mapped).__name__}, expected an IVF index")
        shard = mapped
    _require_equal(
        manifest.name,
        {
            "rows": (shard.ntotal, manifest.rows),
            "dim": (shard.d, manifest.dim),
            "nlist": (shard.nlist, manifest.nlist),
            "fingerprint": (fingerprint(shard), manifest.fingerprint),
        },
    )
    return shard


def _require_equal(name: str, fields: dict[str, tuple[object, object]]) -> None:
    """Raise for the first field whose found and expected values differ."""
    for field, (found, expected) in fields.items():
        if found != expected:
            raise DataError(
                f"{name}: {field} is {found}, expected {expected}; it cannot be merged here:"
                " build this shard again with the category's quantizer and model"
            )


def _kept_rows(part: ShardPart, rows: Rows) -> Rows:
    """Select the rows to keep, and raise if one of them is not there."""
    keep = checked_ids(part.keep_ids, part.manifest.name)
    if np.any(keep[1:] < keep[:-1]):
        raise DataError(f"{part.manifest.name}: keep_ids do not rise; sort them")
    checked_ids(rows.ids, part.manifest.name)
    mask = np.isin(rows.ids, keep)
    if int(mask.sum()) != len(keep):
        lost = np.setdiff1d(keep, rows.ids)
        raise DataError(
            f"{part.manifest.name}: {len(lost)} ids to keep are not in the shard, first {lost[0]};"
            " the item table and the shard are of different builds"
        )
    return Rows(rows.list_numbers[mask], rows.ids[mask], rows.codes[mask])


def _require_unique(parts: Sequence[ShardPart], ids: NDArray[np.int64]) -> None:
    """Raise if two parts give the same id, naming both."""
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if twice.size:
        owners = sorted(part.manifest.name for part in parts if twice[0] in part.keep_ids)
        raise DataError(
            f"{twice.size} ids come from more than one shard, first {twice[0]} from {' and '.join(owners)};"
            " an id names one object: keep it in one shard only"
        )


def _require_counts(index: faiss.IndexIVF, expected: int, category: str) -> None:
    """Raise if the lists do not hold exactly the rows taken."""
    lists: Any = index.invlists
    held = sum(int(lists.list_size(number)) for number in range(index.nlist))
    if not held == index.ntotal == expected:
        raise DataError(
            f"merge of {category}: {expected} rows taken, {index.ntotal} counted, {held} in the lists;"
            " nothing was written: report this"
        )
