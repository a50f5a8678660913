"""embed: one vector and one lasting 63-bit id for every picture, by the model chosen for the category."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.images.decode import DecodeLimits, PictureError, decode_rgb
from pipeline.item_ids import allocate_ids
from pipeline.models.catalog import DEFAULT_EMBEDDER, open_embedder
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, keep_rows, write_drops
from pipeline.tasks.pictures import iter_pictures

WHOLE_PICTURE = "whole-1"
"""The detector before there is one: the picture is the object."""


class Settings(BaseModel):
    """Which model embeds which category."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = DEFAULT_EMBEDDER
    """The default model: a folder under pipeline/models/weights."""
    models: dict[str, str] = Field(default_factory=dict)
    """Category to model, where it is not the default one."""
    batch_size: int = Field(default=16, ge=1, le=1024)
    """Pictures that go through the model at a time."""
    decode: DecodeLimits = Field(default_factory=DecodeLimits)


def run(leaf: LeafContext, settings: Settings) -> None:
    """Embed the package's pictures of this category."""
    rows = leaf.read("categorise", f"items-{leaf.key.category}")
    leaf.books.take(rows["item"].to_pylist())
    embedder = open_embedder(settings.models.get(leaf.key.category, settings.model))
    leaf.books.use("model", str(embedder.ref))
    leaf.books.use("space", embedder.space_id)
    drops: list[Drop] = []
    vectors = [np.zeros((0, embedder.dim), np.float32)]
    pictures = _decoded(leaf, rows, settings, max(embedder.spec.input.height, embedder.spec.input.width), drops)
    while batch := list(islice(pictures, settings.batch_size)):
        vectors.append(embedder.embed(batch))
    write_drops(leaf, drops)
    kept = keep_rows(rows, drops)
    with leaf.store.begin() as work:
        ids = allocate_ids(work, kept["picture"].to_pylist(), WHOLE_PICTURE)
    kept = kept.append_column("id", pa.array(ids, pa.int64()))
    kept = kept.append_column("vector", _vector_column(np.concatenate(vectors)))
    leaf.write("items", kept)
    leaf.books.keep(kept["item"].to_pylist())


def _decoded(
    leaf: LeafContext, rows: pa.Table, settings: Settings, side: int, drops: list[Drop]
) -> Iterator[NDArray[np.uint8]]:
    for item, data in iter_pictures(leaf.lake, rows):
        try:
            yield decode_rgb(data, min_side=side, limits=settings.decode)
        except PictureError as error:
            drops.append((item, "undecodable", str(error)))


def _vector_column(vectors: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), vectors.shape[1])


def vectors_of(table: pa.Table) -> NDArray[np.float32]:
    """Return a table's vector column as (n, d) float32."""
    column = table["vector"].combine_chunks()
    dim = column.type.list_size
    flat = column.chunk(0).flatten() if isinstance(column, pa.ChunkedArray) else column.flatten()
    return np.asarray(flat.to_numpy(zero_copy_only=False), np.float32).reshape(-1, dim)
