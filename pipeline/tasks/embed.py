"""embed: one vector for every object, of its crop, by the model chosen for the category."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.images.crop import decode_crop
from pipeline.images.decode import DecodeLimits, PictureError, Rgb
from pipeline.lake import LetGo
from pipeline.models.catalog import DEFAULT_EMBEDDER, open_embedder
from pipeline.models.embedder import Embedder
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, keep_rows, write_drops
from pipeline.tasks.pictures import LET_GO, iter_crops


class Settings(BaseModel):
    """Which model embeds which category."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = DEFAULT_EMBEDDER
    """The default model: a folder under pipeline/models/weights."""
    models: dict[str, str] = Field(default_factory=dict)
    """Category to model, where it is not the default one."""
    batch_size: int = Field(default=16, ge=1, le=1024)
    """Crops that go through the model at a time."""
    decode: DecodeLimits = Field(default_factory=DecodeLimits)


def run(leaf: LeafContext, settings: Settings) -> None:
    """Embed the package's objects of this category; a vector of this space that categorise has made is taken over."""
    rows = leaf.read("categorise", f"items-{leaf.key.category}")
    leaf.books.take(rows["object"].to_pylist())
    embedder = open_embedder(settings.models.get(leaf.key.category, settings.model))
    leaf.books.use("model", str(embedder.ref))
    leaf.books.use("space", embedder.space_id)
    vectors, todo = _taken_over(rows, embedder)
    drops: list[Drop] = []
    made = _embedded(leaf, rows.filter(pa.array(todo, pa.bool_())), embedder, settings, drops)
    write_drops(leaf, drops)
    gone = {name for name, _, _ in drops}
    here = np.array([name not in gone for name in rows["object"].to_pylist()], np.bool_)
    vectors[todo & here] = made
    kept = keep_rows(rows, drops, by="object").drop_columns(
        [name for name in ("vector", "space", "class_scores") if name in rows.column_names]
    )
    kept = kept.append_column("vector", _vector_column(vectors[here]))
    leaf.write("items", kept)
    leaf.books.keep(kept["object"].to_pylist())


def _taken_over(rows: pa.Table, embedder: Embedder) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return (n, dim) vectors, those of the embedder's space filled in, and which rows still need one."""
    vectors = np.zeros((rows.num_rows, embedder.dim), np.float32)
    if "vector" not in rows.column_names or "space" not in rows.column_names:
        return vectors, np.ones(rows.num_rows, np.bool_)
    same = pc.fill_null(pc.and_(pc.equal(rows["space"], embedder.space_id), pc.is_valid(rows["vector"])), False)
    there = np.asarray(same.to_numpy(), np.bool_)
    if there.any():
        vectors[there] = vectors_of(rows.filter(pa.array(there, pa.bool_())))
    return vectors, ~there


def _embedded(
    leaf: LeafContext, rows: pa.Table, embedder: Embedder, settings: Settings, drops: list[Drop]
) -> NDArray[np.float32]:
    vectors = [np.zeros((0, embedder.dim), np.float32)]
    crops = _decoded(leaf, rows, settings, drops)
    while batch := list(islice(crops, settings.batch_size)):
        vectors.append(embedder.embed(batch))
    return np.concatenate(vectors)


def _decoded(leaf: LeafContext, rows: pa.Table, settings: Settings, drops: list[Drop]) -> Iterator[Rgb]:
    for name, data in iter_crops(leaf.lake, rows, drops):
        try:
            yield decode_crop(data, settings.decode)
        except PictureError as error:
            drops.append((name, "undecodable", str(error)))


def _vector_column(vectors: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), vectors.shape[1])


def without_let_go(table: pa.Table, drops: list[Drop]) -> pa.Table:
    """Return the rows that have their vector; `drops` gains one for each object whose vector was let go."""
    here = table["vector"].is_valid()
    gone = table.filter(pc.invert(here))["object"].to_pylist() if table["vector"].null_count else []
    drops += [(name, LET_GO, "its vector was let go: nothing that is stored needed it") for name in gone]
    return table.filter(here) if gone else table


def vectors_of(table: pa.Table) -> NDArray[np.float32]:
    """Return a table's vector column as (n, d) float32.

    Raises:
        LetGo: some vectors were let go; `without_let_go` leaves such rows out.
    """
    column = table["vector"].combine_chunks()
    if column.null_count:
        raise LetGo(
            f"{column.null_count} of {table.num_rows} vectors were let go, nothing that is stored needed them; "
            "embed their day again from its pictures, or leave their rows out"
        )
    dim = column.type.list_size
    flat = column.chunk(0).flatten() if isinstance(column, pa.ChunkedArray) else column.flatten()
    return np.asarray(flat.to_numpy(zero_copy_only=False), np.float32).reshape(-1, dim)
