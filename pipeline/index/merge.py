"""The merge of day shards: what would come out, and the file itself.

`merge_digest` checks the contract and names the merged index by its sha256 without writing a byte; the gate searches
the same rows by `open_virtual`; after its PASS `merge_to` writes them. The bytes depend on the kept rows alone.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.contract import require_contract
from pipeline.index.lists import decode
from pipeline.index.opened import OpenIndex, open_file
from pipeline.index.part import OpenPart, ShardPart
from pipeline.index.quantizer import codec_of, fingerprint, from_bytes
from pipeline.index.search import search_index
from pipeline.index.stream import DayPart, Progress, Written, write_canonical
from pipeline.index.virtual import open_virtual
from pipeline.release.durable import flush_folder, make_folder
from reporting.errors import ContractViolation, StoreError

__all__ = ["MergedIndex", "ShardPart", "merge_digest", "merge_to"]

# Stored vectors whose neighbours are compared between the file and the virtual index before the file gets its name: of
# lists that hold about so many rows (pages of a mapping cost more than the search), and so many that their search looks
# at about so many rows, but ten.
_COMPARED, _TOUCHED_ROWS, _COMPARED_ROWS = 1000, 200_000, 5_000_000
_NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class MergedIndex:
    """A merged index, written or not, with what a release says about it.

    Attributes:
        sha256: Of its bytes in faiss' format, canonical: they depend on the rows only.
        bytes: Its size.
        rows: Rows it holds.
        fingerprint: Training fingerprint, equal to every shard's.
        codec: How vectors are stored.
        category: Category of all rows.
        space_id: Feature space of all rows.
        dim: Dimensions of a query.
        nlist: Inverted lists.
        days: Rows and their hash by date of the shard; a date without a kept row is there with 0.
    """

    sha256: str
    bytes: int
    rows: int
    fingerprint: str
    codec: str
    category: str
    space_id: str
    dim: int
    nlist: int
    days: dict[dt.date, DayPart]


def merge_digest(
    quantizer_bytes: bytes,
    parts: Sequence[ShardPart],
    *,
    category: str,
    space_id: str,
    progress: Progress | None = None,
) -> MergedIndex:
    """Check the contract and compute what the merged index would be, without writing it.

    Args:
        quantizer_bytes: The category's empty trained index.
        parts: The shards of the window, in any order; none, or none with a kept row, gives an empty index.
        category: Category that all parts must have.
        space_id: Feature space that all parts must have.
        progress: Told the bytes done and in all.

    Raises:
        ContractViolation: A clause is broken; the message names shard and field (exit 1).
        DataError: A file is missing, or ids to keep do not rise.
    """
    opened = require_contract(quantizer_bytes, parts, category=category, space_id=space_id)
    written = write_canonical(quantizer_bytes, opened, None, progress=progress)
    return _merged(quantizer_bytes, written, category, space_id)


def merge_to(
    path: Path,
    quantizer_bytes: bytes,
    parts: Sequence[ShardPart],
    *,
    category: str,
    space_id: str,
    progress: Progress | None = None,
) -> MergedIndex:
    """Check the contract and write the merged index.

    The file is written under a name beside it that starts with a dot, flushed, made read-only, compared with the
    virtual index by the neighbours of up to 1,000 stored vectors, and then linked to its name: a file of that name is
    whole at any moment. One that is there already stays, if it holds these bytes; nothing is written then. Two merges
    into one folder wait for each other.

    Args:
        path: Where the index shall lie; folders are made.
        quantizer_bytes: As in `merge_digest`.
        parts: As in `merge_digest`.
        category: As in `merge_digest`.
        space_id: As in `merge_digest`.
        progress: As in `merge_digest`.

    Raises:
        ContractViolation: A clause is broken, `path` holds another content, or the file answers otherwise than the
            virtual index; nothing was changed.
        DataError: As `merge_digest`.
        StoreError: The disk refused.
    """
    opened = require_contract(quantizer_bytes, parts, category=category, space_id=space_id)
    try:
        make_folder(path.parent)
        with _alone_in(path.parent):
            temporary = path.with_name(f".{path.name}.merging")
            temporary.unlink(missing_ok=True)  # of an attempt that died: nobody writes here but us
            if path.exists():
                written = write_canonical(quantizer_bytes, opened, None, progress=progress)
                _require_same(path, written)
            else:
                written = _write(temporary, path, quantizer_bytes, opened, progress)
            flush_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: the merged index was not written: {error}; free the disk, then repeat") from error
    return _merged(quantizer_bytes, written, category, space_id)


def _write(
    temporary: Path, path: Path, quantizer_bytes: bytes, opened: Sequence[OpenPart], progress: Progress | None
) -> Written:
    """Write the file and give it its name, unless somebody else has given it in the meantime."""
    try:
        with temporary.open("xb") as stream:
            written = write_canonical(quantizer_bytes, opened, stream, progress=progress)
            stream.flush()
            os.fchmod(stream.fileno(), 0o444)
            os.fsync(stream.fileno())
        _require_equal_answers(temporary, open_virtual(quantizer_bytes, opened))
        try:
            os.link(temporary, path)
        except FileExistsError:
            _require_same(path, written)
    finally:
        temporary.unlink(missing_ok=True)
    return written


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other merges out of a folder; the kernel lets them in again when this process dies."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _require_same(path: Path, written: Written) -> None:
    """Raise if a file that was there is not the one that was to be written."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != written.sha256:
        raise ContractViolation(
            f"{path}: is there already with sha256 {found}, expected {written.sha256}; an index is never overwritten:"
            " merge to another name, or move this file away"
        )


def _require_equal_answers(path: Path, virtual: OpenIndex) -> None:
    """Raise if stored vectors find other neighbours in the file than in the virtual index."""
    merged = open_file(path)
    queries = _stored_vectors(merged.ivf)
    if not len(queries):
        return
    # behind the transform, where stored vectors are
    inside = OpenIndex(virtual.ivf, virtual.keep, virtual.owned)
    (near, ids), (virtual_near, virtual_ids) = (
        search_index(index, queries, _NEIGHBOURS, 1) for index in (OpenIndex(merged.ivf), inside)
    )
    other = np.flatnonzero(np.any(ids != virtual_ids, axis=1) | np.any((near != virtual_near) & (ids >= 0), axis=1))
    if len(other):
        raise ContractViolation(
            f"{path}: {len(other)} of {len(queries)} stored vectors find other neighbours than over the shards, first"
            f" {ids[other[0]].tolist()}, expected {virtual_ids[other[0]].tolist()}; nothing was published: report this"
        )


def _stored_vectors(ivf: faiss.IndexIVF) -> NDArray[np.float32]:
    """Return stored vectors spread evenly over some lists, (n, d) float32, L2-normalised; none of norm 0."""
    lists = cast(Any, ivf.invlists)
    sizes = np.array([lists.list_size(number) for number in range(ivf.nlist)], np.int64)
    filled = np.flatnonzero(sizes)
    if not len(filled):
        return np.zeros((0, ivf.d), np.float32)
    size = int(ivf.ntotal) // len(filled)
    some = filled[np.linspace(0, len(filled) - 1, min(len(filled), 1 + _TOUCHED_ROWS // size)).astype(int)]
    ends = np.cumsum(sizes[some])
    count = min(int(ends[-1]), _COMPARED, max(10, _COMPARED_ROWS // size))
    places = np.unique(np.linspace(0, ends[-1] - 1, count).astype(int))
    at = np.searchsorted(ends, places, side="right")
    numbers, offsets = some[at], places - np.concatenate([[0], ends])[at]
    codes = np.zeros((len(places), ivf.code_size), np.uint8)
    for row, (number, offset) in enumerate(zip(numbers.tolist(), offsets.tolist(), strict=True)):
        codes[row] = faiss.rev_swig_ptr(lists.get_single_code(number, offset), ivf.code_size)
    vectors = decode(ivf, numbers.astype(np.int64), codes)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray((vectors / np.where(norms > 0, norms, 1))[norms[:, 0] > 0])


def _merged(quantizer_bytes: bytes, written: Written, category: str, space_id: str) -> MergedIndex:
    quantizer = from_bytes(quantizer_bytes, where=f"quantizer of {category}")
    return MergedIndex(
        sha256=written.sha256,
        bytes=written.bytes,
        rows=written.rows,
        fingerprint=fingerprint(quantizer),
        codec=codec_of(quantizer),
        category=category,
        space_id=space_id,
        dim=int(quantizer.d),
        nlist=written.nlist,
        days=written.days,
    )
