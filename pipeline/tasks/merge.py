"""merge: the window's index of one category: from the tail and every later shard the objects whose pictures live.

It is virtual: the contract is checked and the index that a release would write is hashed, row by row, but not
written. Only a PASS writes it, see `pipeline.tasks.release`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date as Date
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pipeline.index.merge import MergedIndex, merge_digest
from pipeline.index.part import ShardPart
from pipeline.index.shard_folder import shard_path
from pipeline.partitions import Partition
from pipeline.quantizers import Quantizer, quantizer_of
from pipeline.release.objects import ObjectStore
from pipeline.release.withheld import withheld
from pipeline.shards import FOLDER, part_of
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from pipeline.tasks.tail import naming_days, part_of_tail, read_tail, rows_of_tail
from pipeline.window.library import TAIL, library_of, read_library
from pipeline.window.live import LIVE_SCHEMA
from pipeline.window.offers import offers_of_category
from pipeline.window.shard_rows import DAY, ELSEWHERE, is_alive, rows_of_day
from pipeline.window.tail_step import Tail
from pipeline.window.takedowns import taken_down


class Settings(BaseModel):
    """How the merged index is searched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nprobe: int = Field(default=16, ge=1)
    """Lists that a search looks into."""
    window_days: int = Field(default=60, ge=1)
    """Days that are merged, the day itself included."""


_FROM_LIVE = ("group", "title", "first_day", "last_seen", "offers", "pack", "offset", "bytes")


class _Read(NamedTuple):
    """Rows of a shard, or of the tail, and how it becomes a part that gives some of them."""

    rows: pa.Table
    part: Callable[[pa.Table], ShardPart]


def run(leaf: LeafContext, settings: Settings) -> None:
    """Merge the day's window. Input are the rows of all shards read; output the rows of the merged index."""
    live = _live(leaf)
    tail = _tail(leaf)
    hidden = withheld(leaf.lake.folder())
    drops: list[Drop] = []
    parts: list[ShardPart] = []
    kept: list[pa.Table] = []
    oldest = leaf.key.date - timedelta(days=settings.window_days - 1)
    for read in _reads(leaf, live, tail):
        leaf.books.take(read.rows["object"].to_pylist())
        alive = is_alive(read.rows, live)
        for row in read.rows.filter(pc.invert(alive)).select(["object", DAY]).to_pylist():
            reason = "out_of_window" if row[DAY] < oldest else "delisted"
            drops.append((row["object"], reason, row[DAY].isoformat()))
        down = pc.and_(alive, taken_down(read.rows, hidden))
        drops += [(name, "takedown", "by its id") for name in read.rows.filter(down)["object"].to_pylist()]
        mine = read.rows.filter(pc.and_not(alive, down))
        leaf.books.keep(mine["object"].to_pylist())
        kept.append(mine)
        if mine.num_rows:  # else neither its contract nor its file concerns this index
            parts.append(read.part(mine))
    write_drops(leaf, drops)
    with naming_days(tail):
        _write(leaf, settings, parts, _with_offers(leaf, kept, live))


def _live(leaf: LeafContext) -> pa.Table:
    """Return the library after this day."""
    found = library_of(leaf.partitions, leaf.topology, leaf.key.date)
    leaf.remember(found)
    return read_library(leaf.lake, found, [name for name in LIVE_SCHEMA.names if name not in ("dhash", "thumb")])


def _tail(leaf: LeafContext) -> Tail:
    """Return the day's tail; an empty one where the graph has no such task, or had none when the day was run."""
    if TAIL not in leaf.topology.tasks:
        return Tail()
    found = [one for one in leaf.partitions.of_task(TAIL, leaf.key.date) if one.leaf.category == leaf.key.category]
    leaf.remember(found)
    leaf.consume(TAIL, found)
    return read_tail(leaf.lake, found[0].folder) if found else Tail()


def _reads(leaf: LeafContext, live: pa.Table, tail: Tail) -> Iterator[_Read]:
    """Yield the tail, and the category's shards of the day and of every other day with live items, in order of day."""
    if tail.rows:
        yield _Read(rows_of_tail(leaf.lake, tail), partial(part_of_tail, leaf.lake, tail))
    days = {day for day in pc.unique(live["first_day"]).to_pylist() if day <= leaf.key.date} | {leaf.key.date}
    shards = [
        part
        for day in sorted(days - tail.days.keys())
        for part in leaf.partitions.of_task("index", day)
        if part.leaf.category == leaf.key.category
    ]
    leaf.remember(shards)
    leaf.consume("index", shards)
    for shard in shards:
        yield _Read(rows_of_day(leaf.lake, shard.folder, shard.leaf.date), partial(_part, leaf, shard))


def _part(leaf: LeafContext, shard: Partition, rows: pa.Table) -> ShardPart:
    return part_of(leaf.lake, shard, np.sort(np.asarray(rows["id"].to_numpy(), np.int64)))


def _with_offers(leaf: LeafContext, kept: list[pa.Table], live: pa.Table) -> pa.Table:
    """Return the item table of the merged index: id to picture, box, group and offers, sorted by id."""
    rows = pa.concat_tables(kept)
    places = pc.index_in(rows["picture"], value_set=live["picture"])
    facts = offers_of_category(
        live.select(_FROM_LIVE).take(places),
        leaf.key.category,
        fallback=leaf.day_split().categories[-1],
        elsewhere=rows[ELSEWHERE].to_pylist(),
    )
    rows = rows.drop_columns([ELSEWHERE, DAY])
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
    quantizer = quantizer_of(leaf.store, leaf.key.category, newest)
    data = leaf.lake.read_bytes(quantizer.path)
    return _Merged(quantizer, merge_digest(data, parts, category=leaf.key.category, space_id=newest.space_id))


def _days(parts: list[ShardPart], merged: MergedIndex) -> dict[Date, dict[str, object]]:
    """Return what each day gave, and the shard it came out of: a tail gives several days."""
    return {
        day: {
            "shard_path": f"{FOLDER}/{shard_path(part.manifest)}",
            "shard_sha256": part.manifest.sha256,
            "rows": merged.days[day].rows,
            "rows_sha256": merged.days[day].rows_sha256,
        }
        for part in parts
        for day in part.rows_by_day(part.manifest.rows)
    }


def _keep_items(leaf: LeafContext) -> str:
    """Keep the item table by its content too: a release names it so, and an attempt's folder is not kept for ever."""
    return ObjectStore(leaf.lake.folder()).put_bytes(leaf.lake.read_bytes(f"{leaf.folder}/items.parquet"))
