"""One day's rows of one category as an immutable, content-addressed index."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.index.lists import checked_ids, encode, write_rows
from pipeline.index.quantizer import checked_vectors, fingerprint, from_bytes, to_bytes
from reporting.errors import DataError

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ShardManifest(BaseModel):
    """What a shard says about itself; a merge believes none of it before it has looked at the bytes.

    Attributes:
        category: Category of every row.
        date: Day of every row.
        space_id: Feature space of the vectors: model weights and preprocessing (an index cannot know these).
        fingerprint: Training fingerprint of the index, see `pipeline.index.quantizer.fingerprint`.
        rows: Rows held, >= 0.
        dim: Dimensions of a vector.
        nlist: Inverted lists.
        sha256: Of the index bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: str = Field(min_length=1)
    date: dt.date
    space_id: str = Field(min_length=1)
    fingerprint: Sha256
    rows: int = Field(ge=0)
    dim: int = Field(ge=1)
    nlist: int = Field(ge=1)
    sha256: Sha256

    @property
    def name(self) -> str:
        """Name the shard in messages."""
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


def describe_shard(index_bytes: bytes, *, category: str, date: dt.date, space_id: str) -> ShardManifest:
    """Write the manifest of a shard from its bytes."""
    index = from_bytes(index_bytes, where=f"shard {category}/{date.isoformat()}")
    return ShardManifest(
        category=category,
        date=date,
        space_id=space_id,
        fingerprint=fingerprint(index),
        rows=index.ntotal,
        dim=index.d,
        nlist=index.nlist,
        sha256=hashlib.sha256(index_bytes).hexdigest(),
    )
