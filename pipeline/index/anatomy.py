"""What an index file is made of: codec, lists, ids, and where its bytes go."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.index.lists import id_blocks
from pipeline.index.opened import OpenIndex, open_file
from pipeline.index.quantizer import centroids, codec_of, fingerprint, to_bytes
from pipeline.index.row_changes import list_ids
from reporting.errors import DataError


class ListFacts(BaseModel):
    """Sizes of the inverted lists, in rows.

    Attributes:
        smallest: The smallest, empty ones included.
        median: The median, likewise.
        largest: The largest: what a search that meets it has to scan.
        empty: Lists without a row.
        imbalance: nlist x sum of squares / square of the sum (faiss' imbalance factor): 1 where all are equal, and how
            many times the rows a search scans compared with that; None without rows.
    """

    model_config = ConfigDict(frozen=True)

    smallest: int
    median: float
    largest: int
    empty: int
    imbalance: float | None


class Anatomy(BaseModel):
    """An index file, looked at.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        bytes: Its size.
        fingerprint: Of the training, see `pipeline.index.quantizer`.
        codec: Name of the codec.
        dim: Dimensions of a query.
        nlist: Inverted lists.
        rows: Rows.
        lists: Their sizes.
        first_id: Lowest id, None without rows.
        last_id: Highest id.
        id_blocks: Ranges that hold every id, at most 8 here.
        is_canonical: Whether every list rises by id, so that equal content has equal bytes.
        bytes_by_part: codes, ids, centroids, codec (its training), transform, rest (headers); they add up to `bytes`.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    sha256: str
    bytes: int
    fingerprint: str
    codec: str
    dim: int
    nlist: int
    rows: int
    lists: ListFacts
    first_id: int | None
    last_id: int | None
    id_blocks: tuple[tuple[int, int], ...]
    is_canonical: bool
    bytes_by_part: dict[str, int]


def anatomy(path: Path) -> Anatomy:
    """Look at an index file; its rows are read list by list, never all at once.

    Raises:
        DataError: There is no such file, faiss cannot read it, or it is no inverted file of ours.
    """
    sha256 = file_sha256(path)
    index = open_file(path)
    ids, sizes, is_canonical = scan_ids(index)
    code_bytes = len(ids) * int(index.ivf.code_size)
    parts = {"codes": code_bytes, "ids": 8 * len(ids), **_training_bytes(index)}
    size = path.stat().st_size
    squares = float(np.square(sizes.astype(np.float64)).sum())
    return Anatomy(
        path=str(path),
        sha256=sha256,
        bytes=size,
        fingerprint=fingerprint(index.index),
        codec=codec_of(index.index),
        dim=index.dim,
        nlist=index.nlist,
        rows=len(ids),
        lists=ListFacts(
            smallest=int(sizes.min()),
            median=float(np.median(sizes)),
            largest=int(sizes.max()),
            empty=int((sizes == 0).sum()),
            imbalance=index.nlist * squares / len(ids) ** 2 if len(ids) else None,
        ),
        first_id=int(ids.min()) if len(ids) else None,
        last_id=int(ids.max()) if len(ids) else None,
        id_blocks=id_blocks(np.unique(ids), limit=8),
        is_canonical=is_canonical,
        bytes_by_part={**parts, "rest": size - sum(parts.values())},
    )


def file_sha256(path: Path) -> str:
    """Hash a file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; name an index file") from error


def scan_ids(index: OpenIndex) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """Return all ids (n,) int64 in stored order, rows of each list (nlist,) int64, and whether every list rises."""
    ids = [np.zeros(0, np.int64)]
    sizes = np.zeros(index.nlist, np.int64)
    is_canonical = True
    for number in range(index.nlist):
        held = list_ids(index, number)
        is_canonical &= bool(np.all(held[1:] > held[:-1]))
        sizes[number] = len(held)
        ids.append(held)
    return np.concatenate(ids), sizes, is_canonical


def empty_of(index: OpenIndex) -> bytes:
    """Return the empty trained index that an index was built on, as `train_quantizer` and `to_bytes` give it.

    Args:
        index: Opened for this alone: its rows are let go of, and it must not be used any more.
    """
    import faiss

    lists: Any = faiss.ArrayInvertedLists(index.nlist, index.ivf.code_size)
    index.ivf.replace_invlists(lists, True)
    lists.this.disown()
    index.ivf.ntotal = index.index.ntotal = 0
    return to_bytes(index.index)


def _training_bytes(index: OpenIndex) -> dict[str, int]:
    """Return the bytes of what was trained."""
    ivf: Any = index.ivf
    codec = ivf.pq.centroids if hasattr(ivf, "pq") else ivf.sq.trained if hasattr(ivf, "sq") else None
    return {
        "centroids": centroids(index.index).nbytes,
        "codec": 0 if codec is None else 4 * int(codec.size()),
        "transform": sum(one.matrix.nbytes + one.bias.nbytes for one in index.transforms),
    }
