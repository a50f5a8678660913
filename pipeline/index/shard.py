"""One day's rows of one category as an immutable, content-addressed index."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Annotated, Any

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.index.lists import RowsDigest, checked_ids, encode, id_blocks, write_rows
from pipeline.index.opened import OpenIndex, open_bytes, open_file
from pipeline.index.quantizer import checked_vectors, codec_of, fingerprint, from_bytes, to_bytes
from pipeline.index.violations import Violation, differing, refuse
from reporting.errors import DataError

_REMEDY = "it cannot be merged here: build this shard again with the category's quantizer and model"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ShardSource(BaseModel):
    """The partition that a shard's vectors were read from.

    Attributes:
        task: That made it.
        planid: Of its plan.
        attempts: Attempt by package.
        sha256: Of the rows as the shard's builder got them: ids and vectors in rising order of id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(min_length=1)
    planid: str = Field(min_length=1)
    attempts: dict[str, int] = Field(default_factory=dict)
    sha256: Sha256


class ShardManifest(BaseModel):
    """What a shard says about itself (`shard.json`); a merge believes none of it before it has looked at the bytes.

    Attributes:
        category: Category of every row.
        date: Day of every row; of a tail the last of its days.
        since: Of a tail, which holds the rows of several days, the first of them; None: a day's shard.
        space_id: Feature space of the vectors: model weights and preprocessing (an index cannot know these).
        fingerprint: Training fingerprint of the index, see `pipeline.index.quantizer.fingerprint`.
        codec: Name of the codec, see `pipeline.index.codec`.
        rows: Rows held, >= 0.
        dim: Dimensions of a vector.
        nlist: Inverted lists.
        sha256: Of the index bytes.
        id_blocks: Ranges [first, last] that hold every id, rising and disjoint; () where it was not noted. Shards of
            disjoint blocks cannot share an id, so that a merge need not compare them all.
        rows_sha256: `pipeline.index.lists.rows_sha256` of all rows, noted from the bytes when the shard was described;
            a merge that takes them all hashes them again and compares. None where it was not noted.
        source: Where the vectors came from; None where a person built it from a file.
        attempt: Attempt of the task that built it, >= 1; 0 where a person did.
        builder: Version of funnelgate that built it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: str = Field(min_length=1)
    date: dt.date
    since: dt.date | None = None
    space_id: str = Field(min_length=1)
    fingerprint: Sha256
    codec: str = "flat"
    rows: int = Field(ge=0)
    dim: int = Field(ge=1)
    nlist: int = Field(ge=1)
    sha256: Sha256
    id_blocks: tuple[tuple[int, int], ...] = ()
    rows_sha256: Sha256 | None = None
    source: ShardSource | None = None
    attempt: int = Field(default=0, ge=0)
    builder: str = ""

    @property
    def name(self) -> str:
        """Name the shard in messages."""
        if self.since is not None:
            return f"tail {self.category}/{self.since.isoformat()}..{self.date.isoformat()}"
        return f"shard {self.category}/{self.date.isoformat()}"


def build_shard(quantizer_bytes: bytes, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> bytes:
    """Build a shard's index: a pure function of the quantizer and the set of (id, vector).

    Args:
        quantizer_bytes: An empty trained index, from `train_quantizer` and `to_bytes`.
        ids: Shape (n,) int64, >= 0, unique, any order; n = 0 gives an empty shard.
        vectors: Shape (n, d) float32, L2-normalised.

    Returns:
        The index in faiss' format, every list sorted by id.

    Raises:
        DataError: Shapes, types, ids or norms are wrong, or the quantizer is not empty.
    """
    index = from_bytes(quantizer_bytes, where="quantizer")
    ids = checked_ids(ids, "shard")
    vectors = checked_vectors(vectors)
    if vectors.shape != (len(ids), index.d):
        raise DataError(
            f"{len(ids)} ids with vectors of shape {vectors.shape}; expected ({len(ids)}, {index.d})"
            " as the quantizer was trained"
        )
    write_rows(index, encode(index, ids, vectors))
    return to_bytes(index)


def describe_shard(
    index_bytes: bytes,
    *,
    category: str,
    date: dt.date,
    space_id: str,
    source: ShardSource | None = None,
    attempt: int = 0,
    builder: str = "",
) -> ShardManifest:
    """Write the manifest of a shard from its bytes.

    Args:
        index_bytes: From `build_shard`.
        category: Category of every row.
        date: Day of every row.
        space_id: Feature space of the vectors.
        source: The partition they were read from; None where a person built it from a file.
        attempt: Attempt of the task that built it, >= 1; 0 where a person did.
        builder: Version of funnelgate that built it.

    Raises:
        DataError: The bytes hold no inverted file.
    """
    index = OpenIndex(from_bytes(index_bytes, where=f"shard {category}/{date.isoformat()}"))
    return ShardManifest(
        category=category,
        date=date,
        space_id=space_id,
        fingerprint=fingerprint(index.index),
        codec=codec_of(index.index),
        rows=index.rows,
        dim=index.dim,
        nlist=index.nlist,
        sha256=hashlib.sha256(index_bytes).hexdigest(),
        id_blocks=id_blocks(stored_ids(index)),
        rows_sha256=stored_rows_sha256(index),
        source=source,
        attempt=attempt,
        builder=builder,
    )


def open_shard(manifest: ShardManifest, index: bytes | Path, *, verify: bool = True) -> OpenIndex:
    """Open a shard's index and compare it with all that its manifest claims; a file is mapped, not read.

    Args:
        manifest: What the shard says about itself.
        index: The index bytes or the file that holds them.
        verify: False skips the sha256, for whoever has just compared it; all other claims are compared still.

    Raises:
        ContractViolation: Bytes and manifest disagree; the message names shard and fields. A wrong sha256 is found
            before faiss reads a byte.
        DataError: The file is missing, or faiss cannot read it.
    """
    shard, violations = open_checked(manifest, index, verify=verify)
    refuse(violations, _REMEDY)
    assert shard is not None, f"{manifest.name}: neither open nor refused"
    return shard


def open_checked(
    manifest: ShardManifest, index: bytes | Path, *, verify: bool = True
) -> tuple[OpenIndex | None, list[Violation]]:
    """Open a shard as `open_shard` does, and return what it breaks; None and the sha256 if that is wrong."""
    if verify:
        wrong = differing(manifest.name, {"sha256": (_sha256(manifest, index), manifest.sha256)})
        if wrong:
            return None, wrong
    elif isinstance(index, Path) and not index.exists():
        raise _missing(manifest, index)
    shard = open_bytes(index, where=manifest.name) if isinstance(index, bytes) else open_file(index)
    return shard, broken_claims(manifest, shard)


def stored_ids(index: OpenIndex) -> NDArray[np.int64]:
    """Copy all ids of a shard, list by list in stored order, (n,) int64; the codes are not read."""
    lists: Any = index.ivf.invlists
    sizes = [lists.list_size(number) for number in range(index.nlist)]
    ids = np.empty(sum(sizes), np.int64)
    start = 0
    for number, size in enumerate(sizes):
        if size:  # a null pointer for an empty list in a mapped file
            ids[start : start + size] = faiss.rev_swig_ptr(lists.get_ids(number), size)
            start += size
    return ids


def stored_rows_sha256(index: OpenIndex) -> str:
    """Return `pipeline.index.lists.rows_sha256` of all rows, list by list in place."""
    digest = RowsDigest()
    lists: Any = index.ivf.invlists
    for number in range(index.nlist):
        size = lists.list_size(number)
        if size:
            ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
            codes = faiss.rev_swig_ptr(lists.get_codes(number), size * index.ivf.code_size).reshape(size, -1)
            digest.add(number, ids, codes)
    return digest.hexdigest()


def broken_claims(manifest: ShardManifest, shard: OpenIndex) -> list[Violation]:
    """Compare an open shard with what its manifest claims of it, the sha256 and the ids apart."""
    return differing(
        manifest.name,
        {
            "rows": (int(shard.ivf.ntotal), manifest.rows),
            "dim": (shard.dim, manifest.dim),
            "nlist": (shard.nlist, manifest.nlist),
            "fingerprint": (fingerprint(shard.index), manifest.fingerprint),
            "codec": (codec_of(shard.index), manifest.codec),
        },
    )


def _sha256(manifest: ShardManifest, index: bytes | Path) -> str:
    if isinstance(index, bytes):
        return hashlib.sha256(index).hexdigest()
    try:
        with index.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise _missing(manifest, index) from error


def _missing(manifest: ShardManifest, path: Path) -> DataError:
    return DataError(f"{manifest.name}: {path} does not exist; build the shard again")
