"""index: the day's shard of one category, an immutable Faiss IVF over the category's frozen quantizer."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pipeline.index.shard import build_shard, describe_shard
from pipeline.quantizers import quantizer_for
from pipeline.tasks.context import LeafContext
from pipeline.tasks.embed import vectors_of
from reporting.errors import DataError


class Settings(BaseModel):
    """What the number of lists is chosen for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(default=60, ge=1)
    """Days whose items will be in the merged index: lists are made for so many vectors."""


def run(leaf: LeafContext, settings: Settings) -> None:
    """Build the shard from every package's vectors; a category without items on its first day has none yet."""
    rows = leaf.read("embed", "items").sort_by("id")
    leaf.books.take(rows["object"].to_pylist())
    space = _space(leaf)
    leaf.books.use("space", space)
    vectors = vectors_of(rows)
    quantizer = quantizer_for(leaf, leaf.key.category, space, vectors, settings.window_days)
    if quantizer is not None:
        data = build_shard(quantizer, np.asarray(rows["id"].to_numpy(), np.int64), vectors)
        manifest = describe_shard(data, category=leaf.key.category, date=leaf.key.date, space_id=space)
        with leaf.create("shard.faiss") as file:
            file.write(data)
        with leaf.create("shard.json") as file:
            file.write(manifest.model_dump_json(indent=1).encode())
        leaf.books.measure("nlist", manifest.nlist)
        leaf.books.measure("bytes", len(data))
    leaf.write("items", rows.drop_columns(["vector"]))
    leaf.books.keep(rows["object"].to_pylist())


def _space(leaf: LeafContext) -> str:
    """Return the one feature space all packages were embedded in.

    Raises:
        DataError: they differ; vectors of two spaces must never share an index.
    """
    from reporting.stores.base import RecordQuery

    day, planids = leaf.key.date, {str(read[4]) for read in leaf.reads}
    records = leaf.store.records(
        RecordQuery(
            tasks=("embed",), date_from=day, date_to=day, categories=(leaf.key.category,), planids=tuple(planids)
        )
    )
    read = {(str(r[4]), str(r[3])) for r in leaf.reads}
    spaces = {
        r.versions["space"] for r in records if (r.key.planid, r.key.subinstance) in read and "space" in r.versions
    }
    if len(spaces) != 1:
        raise DataError(
            f"{leaf.key}: its packages were embedded in {len(spaces)} feature spaces ({', '.join(sorted(spaces))}); "
            "re-run embed for the whole category with one model"
        )
    return spaces.pop()
