"""merge: the window's index of one category: from every day's shard the objects whose pictures still live.

It is virtual: the contract is checked and the index that a release would write is hashed, row by row, but not
written. Only a PASS writes it, see `pipeline.tasks.release`.
"""

from __future__ import annotations

import json
from datetime import date as Date
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pipeline.index.merge import MergedIndex, merge_digest
from pipeline.index.part import ShardPart
from pipeline.index.shard import ShardManifest, describe_shard
from pipeline.index.shard_folder import shard_path, write_shard
from pipeline.partitions import Partition
from pipeline.quantizers import Quantizer, quantizer_of
from pipeline.release.objects import ObjectStore
from pipeline.shards import FOLDER, part_at, shards_root
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from pipeline.window.library import library_of, read_library
from pipeline.window.live import LIVE_SCHEMA
from pipeline.window.offers import offers_of_category
from reporting.errors import ContractViolation


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
    """Return the library after this day."""
    found = library_of(leaf.partitions, leaf.topology, leaf.key.date)
    leaf.remember(found)
    return read_library(leaf.lake, found, [name for name in LIVE_SCHEMA.names if name not in ("dhash", "thumb")])


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
    if not kept.num_rows:
        return None  # nothing to take: neither its contract nor its file concerns this index
    manifest = ShardManifest.model_validate_json(leaf.lake.read_bytes(f"{shard.folder}/shard.json"))
    if leaf.lake.exists(f"{shard.folder}/shard.faiss"):
        manifest = _moved(leaf, shard, manifest)
    ids = np.sort(np.asarray(kept["id"].to_numpy(), np.int64))
    return part_at(leaf.lake, f"{FOLDER}/{shard_path(manifest)}", ids)


def _moved(leaf: LeafContext, shard: Partition, manifest: ShardManifest) -> ShardManifest:
    """Put a shard from before shards had a place of their own where they have one now."""
    data = leaf.lake.read_bytes(f"{shard.folder}/shard.faiss")
    described = describe_shard(
        data, category=manifest.category, date=manifest.date, space_id=manifest.space_id, attempt=shard.attempt
    )
    if described.sha256 != manifest.sha256:
        raise ContractViolation(
            f"{manifest.name}: {shard.folder}/shard.faiss has sha256 {described.sha256}, its shard.json says "
            f"{manifest.sha256}; restore it, or re-run index for {manifest.date}"
        )
    return write_shard(shards_root(leaf.lake), data, described).manifest


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
        quantizer, merged = _merged(leaf, parts)
        leaf.books.use("space", merged.space_id)
        leaf.books.measure("bytes", merged.bytes)
        summary |= {
            "space_id": merged.space_id,
            "sha256": merged.sha256,
            "index_bytes": merged.bytes,
            "nlist": merged.nlist,
            "nprobe": min(settings.nprobe, merged.nlist),
            "codec": merged.codec,
            "fingerprint": merged.fingerprint,
            "quantizer_path": quantizer.path,
            "items_sha256": _keep_items(leaf),
            "days": {day.isoformat(): rows for day, rows in sorted(_days(parts, merged).items())},
        }
    with leaf.create("merge.json") as file:
        file.write(json.dumps(summary, indent=1, sort_keys=True).encode())


class _Merged(NamedTuple):
    quantizer: Quantizer
    merged: MergedIndex


def _merged(leaf: LeafContext, parts: list[ShardPart]) -> _Merged:
    """Check the contract against the newest shard, and hash the merged index.

    Raises:
        ContractViolation: a shard was trained or embedded otherwise; it is named.
    """
    newest = parts[-1].manifest
    quantizer = quantizer_of(leaf.store, leaf.key.category, newest.fingerprint)
    if quantizer is None:
        raise ContractViolation(
            f"{newest.name}: fingerprint {newest.fingerprint} is that of no quantizer of category "
            f"{leaf.key.category!r}; re-run index for {newest.date}"
        )
    data = leaf.lake.read_bytes(quantizer.path)
    return _Merged(quantizer, merge_digest(data, parts, category=leaf.key.category, space_id=newest.space_id))


def _days(parts: list[ShardPart], merged: MergedIndex) -> dict[Date, dict[str, object]]:
    found = {}
    for part in parts:
        rows = merged.days[part.manifest.date]
        found[part.manifest.date] = {
            "shard_path": f"{FOLDER}/{shard_path(part.manifest)}",
            "shard_sha256": part.manifest.sha256,
            "rows": rows.rows,
            "rows_sha256": rows.rows_sha256,
        }
    return found


def _keep_items(leaf: LeafContext) -> str:
    """Keep the item table by its content too: a release names it so, and an attempt's folder is not kept for ever."""
    return ObjectStore(leaf.lake.folder()).put_bytes(leaf.lake.read_bytes(f"{leaf.folder}/items.parquet"))
