"""merge: the window's index of one category: from every day's shard the objects whose pictures still live."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pipeline.index.merge import ShardPart, merge_shards
from pipeline.index.shard import ShardManifest
from pipeline.partitions import Partition
from pipeline.quantizers import find_quantizer
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from pipeline.window.live import LIVE_SCHEMA
from pipeline.window.offers import offers_of_category


class Settings(BaseModel):
    """How the merged index is searched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nprobe: int = Field(default=16, ge=1)
    """Lists that a search looks into."""
    window_days: int = Field(default=60, ge=1)
    """Days that are merged, the day itself included."""


_FROM_SHARD = pa.schema(
    [
        ("id", pa.int64()),
        ("item", pa.string()),
        ("picture", pa.string()),
        ("object", pa.string()),
        ("ordinal", pa.int16()),
        ("x0", pa.int32()),
        ("y0", pa.int32()),
        ("x1", pa.int32()),
        ("y1", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("score", pa.float32()),
        ("detected", pa.string()),
        ("why", pa.string()),
    ]
)
_FROM_LIVE = ("group", "title", "first_day", "last_seen", "offers", "pack", "offset", "bytes")
_ELSEWHERE = "elsewhere"
"""Categories of the other objects of the row's picture, where categorise has said so."""


def run(leaf: LeafContext, settings: Settings) -> None:
    """Merge the day's window. Input are the rows of all shards read; output the rows of the merged index."""
    live = _live(leaf)
    shards = _shards(leaf, live)
    leaf.remember(shards)
    leaf.consume("index", shards)
    drops: list[Drop] = []
    parts: list[ShardPart] = []
    kept: list[pa.Table] = []
    oldest = leaf.key.date - timedelta(days=settings.window_days - 1)
    for shard in shards:
        rows = _rows(leaf, shard)
        leaf.books.take(rows["object"].to_pylist())
        day = shard.leaf.date
        alive = live.filter(pc.equal(live["first_day"], pa.scalar(day, pa.date32())))
        mask = pc.is_in(rows["picture"], value_set=alive["picture"])
        reason = "out_of_window" if day < oldest else "delisted"
        drops += [(name, reason, day.isoformat()) for name in rows.filter(pc.invert(mask))["object"].to_pylist()]
        mine = rows.filter(mask)
        leaf.books.keep(mine["object"].to_pylist())
        kept.append(mine)
        part = _part(leaf, shard, mine)
        if part is not None:
            parts.append(part)
    write_drops(leaf, drops)
    _write(leaf, settings, parts, _with_offers(leaf, kept, live))


def _live(leaf: LeafContext) -> pa.Table:
    """Return the live window after this day, as dedup left it."""
    found = leaf.partitions.of_task("dedup", leaf.key.date)
    leaf.remember(found)
    columns = [name for name in LIVE_SCHEMA.names if name not in ("dhash", "thumb")]
    return pa.concat_tables([leaf.lake.read_table(f"{part.folder}/live.parquet", columns) for part in found])


def _shards(leaf: LeafContext, live: pa.Table) -> list[Partition]:
    """Return the category's shards of every day that still has live items, and of the day itself."""
    days = {day for day in pc.unique(live["first_day"]).to_pylist() if day <= leaf.key.date} | {leaf.key.date}
    return [
        part
        for day in sorted(days)
        for part in leaf.partitions.of_task("index", day)
        if part.leaf.category == leaf.key.category
    ]


def _rows(leaf: LeafContext, shard: Partition) -> pa.Table:
    """Return a shard's rows; a day from before there were objects had one in each picture, booked by its item."""
    table = leaf.lake.read_table(f"{shard.folder}/items.parquet")
    if "object" not in table.column_names:
        table = table.append_column("object", table["item"])
    fields = [*_FROM_SHARD, pa.field(_ELSEWHERE, pa.list_(pa.string()))]
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in fields
    ]
    return pa.table(columns, schema=pa.schema(fields))


def _part(leaf: LeafContext, shard: Partition, kept: pa.Table) -> ShardPart | None:
    if not leaf.lake.exists(f"{shard.folder}/shard.json"):
        return None  # no item of the category had come by then, so there was no quantizer to build with
    manifest = ShardManifest.model_validate_json(leaf.lake.read_bytes(f"{shard.folder}/shard.json"))
    ids = np.sort(np.asarray(kept["id"].to_numpy(), np.int64))
    return ShardPart(manifest, leaf.lake.read_bytes(f"{shard.folder}/shard.faiss"), ids)


def _with_offers(leaf: LeafContext, kept: list[pa.Table], live: pa.Table) -> pa.Table:
    """Return the item table of the merged index: id to picture, box, group and offers, sorted by id."""
    rows = pa.concat_tables(kept)
    places = pc.index_in(rows["picture"], value_set=live["picture"])
    facts = offers_of_category(
        live.select(_FROM_LIVE).take(places),
        leaf.key.category,
        fallback=leaf.day_split().categories[-1],
        elsewhere=rows[_ELSEWHERE].to_pylist(),
    )
    rows = rows.drop_columns([_ELSEWHERE])
    for name in _FROM_LIVE:
        rows = rows.append_column(name, facts[name])
    return rows.sort_by("id")


def _write(leaf: LeafContext, settings: Settings, parts: list[ShardPart], items: pa.Table) -> None:
    leaf.write("items", items)
    summary: dict[str, object] = {"category": leaf.key.category, "rows": items.num_rows}
    if parts:
        space = parts[0].manifest.space_id
        quantizer = find_quantizer(leaf, leaf.key.category, space)
        assert quantizer is not None, f"{leaf.key}: a shard exists without its quantizer"
        merged = merge_shards(quantizer, parts, category=leaf.key.category, space_id=space)
        with leaf.create("index.faiss") as file:
            file.write(merged.data)
        leaf.books.use("space", space)
        leaf.books.measure("bytes", len(merged.data))
        summary |= {
            "space_id": space,
            "sha256": merged.sha256,
            "nlist": merged.nlist,
            "nprobe": min(settings.nprobe, merged.nlist),
            "taken": {day.isoformat(): count for day, count in sorted(merged.taken.items())},
        }
    with leaf.create("merge.json") as file:
        file.write(json.dumps(summary, indent=1, sort_keys=True).encode())
