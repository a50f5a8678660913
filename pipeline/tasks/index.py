"""index: the day's shard of one category, an immutable Faiss IVF over the category's frozen quantizer."""

from __future__ import annotations

import hashlib
import json
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.index.shard import ShardSource, build_shard, describe_shard
from pipeline.index.shard_folder import write_shard
from pipeline.index.uniqueness import uniqueness_column
from pipeline.quantizers import Wanted, quantizer_for
from pipeline.shards import shards_root
from pipeline.tasks import train
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from pipeline.tasks.embed import vectors_of, without_let_go
from pipeline.tasks.space import space_of
from pipeline.tasks.training import day_sample
from pipeline.version import code_version


class Settings(BaseModel):
    """What matters to a task graph without `train`; with it, that task's settings count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(default=60, ge=1)
    """Days whose items will be in the merged index: lists are made for so many vectors."""


def run(leaf: LeafContext, settings: Settings) -> None:
    """Build the shard from every package's vectors; a category without items on its first day has none yet."""
    rows = leaf.read("embed", "items").sort_by("id")
    leaf.books.take(rows["object"].to_pylist())
    drops: list[Drop] = []
    rows = without_let_go(rows, drops)
    write_drops(leaf, drops)
    space = space_of(leaf)
    leaf.books.use("space", space)
    vectors = vectors_of(rows)
    quantizer = _quantizer(leaf, settings, space, vectors)
    unique: pa.Array = pa.nulls(rows.num_rows, pa.float32())
    if quantizer is not None:
        ids = np.asarray(rows["id"].to_numpy(), np.int64)
        data = build_shard(leaf.lake.read_bytes(quantizer), ids, vectors)
        manifest = describe_shard(
            data,
            category=leaf.key.category,
            date=leaf.key.date,
            space_id=space,
            source=_source(leaf, ids, vectors),
            attempt=leaf.claim.attempt,
            builder=code_version(),
        )
        write_shard(shards_root(leaf.lake), data, manifest)
        with leaf.create("shard.json") as file:  # names the shard: where it lies follows from its content
            file.write(manifest.model_dump_json(indent=1).encode())
        leaf.books.measure("nlist", manifest.nlist)
        leaf.books.measure("bytes", len(data))
        unique = uniqueness_column(data, ids, vectors, rows["group"].combine_chunks())
    leaf.write("items", rows.drop_columns(["vector"]).append_column("uniqueness", unique))
    leaf.books.keep(rows["object"].to_pylist())


def _quantizer(leaf: LeafContext, settings: Settings, space: str, vectors: NDArray[np.float32]) -> str | None:
    """Return where the quantizer lies that the day's `train` names; a graph from before there was one trains here."""
    if "train" in leaf.topology.tasks:
        (trained,) = leaf.partitions.upstream("train", leaf.key)
        leaf.remember([trained])
        path: str | None = json.loads(leaf.lake.read_bytes(f"{trained.folder}/{train.FILE}")).get("path")
        return path
    found = quantizer_for(
        leaf, Wanted(leaf.key.category, space), vectors, settings.window_days, partial(day_sample, vectors)
    )
    return None if found is None else found.path


def _source(leaf: LeafContext, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> ShardSource:
    read = [one for one in leaf.reads if one[0] == "embed"]
    digest = hashlib.sha256(ids.astype("<i8").tobytes())
    digest.update(np.ascontiguousarray(vectors, "<f4").tobytes())
    return ShardSource(
        task="embed",
        planid=", ".join(sorted({str(one[4]) for one in read})),
        attempts={str(package): int(attempt) for _, _, _, package, _, attempt in read},
        sha256=digest.hexdigest(),
    )
