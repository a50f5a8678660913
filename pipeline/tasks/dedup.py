"""dedup: one picture for many offers, within the day, across its packages and against the live window.

Pictures are deduplicated, offers are not: the survivor takes over the offers of what it replaces and is as
young as the last time any of them was seen. The state of the library (`live`) is carried from day to day as the
output of this task and of evict, so that a re-run of an old day makes the later ones stale instead of silently wrong.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pipeline.evict.promote import Promotion
from pipeline.images.hamming import MAX_DISTANCE
from pipeline.images.near import DEFAULT_DISTANCE
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from pipeline.window.checks import promotions_of
from pipeline.window.duplicates import Duplicate, find_duplicates
from pipeline.window.library import CARRIER, RECHECK, read_library
from pipeline.window.live import LIVE_SCHEMA, advance, expire
from pipeline.window.standing_in import stand_ins, take_over, without_survivors


class Settings(BaseModel):
    """How near is a duplicate, and how long an item lives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_distance: int = Field(default=DEFAULT_DISTANCE, ge=0, le=MAX_DISTANCE)
    """Bits of the 64-bit dHash in which near duplicates may differ."""
    window_days: int = Field(default=60, ge=1)
    """An item lives for so many days, counted from when it was last seen, that day included; with the task evict in
    the graph that task's settings count instead."""


def run(leaf: LeafContext, settings: Settings) -> None:
    """Decide on every picture of the day; write the kept rows of each package, the hand-overs and the live window."""
    rows = leaf.read("hash", "items").sort_by("item")
    leaf.books.take(rows["item"].to_pylist())
    before = _live_before(leaf, settings)
    # What is off the shelf replaces nothing and is replaced by nothing: listing drops it, by its own reason.
    listed = rows.filter(rows["listed"])
    standing = stand_ins(_promotions(leaf), listed, before)
    duplicates = find_duplicates(listed, without_survivors(before, standing), settings.max_distance)
    drops: list[Drop] = [(dup.item, dup.reason, f"{dup.survivor} at distance {dup.distance}") for dup in duplicates]
    write_drops(leaf, drops)
    gone = {dup.item for dup in duplicates}
    kept = rows.filter(pa.array([item not in gone for item in rows["item"].to_pylist()], pa.bool_()))
    _write_packages(leaf, kept)
    leaf.write("handover", _handover(duplicates))
    after = advance(without_survivors(before, standing), rows, duplicates, leaf.key.date)
    live = take_over(after, before, standing, duplicates, rows)
    leaf.write("live", live)
    leaf.books.measure("live", live.num_rows)
    leaf.books.keep(kept["item"].to_pylist())


def _live_before(leaf: LeafContext, settings: Settings) -> pa.Table:
    """Return the library as the nearest earlier day left it; empty when there is none.

    Where the graph has the task evict it decides what leaves the library. Without it whatever was not seen in the
    window leaves; so it was on days of before there was one.
    """
    forgets = CARRIER in leaf.topology.tasks
    for day in leaf.partitions.days_before("dedup", leaf.key.date, count=30):
        found = leaf.partitions.of_task("dedup", day)
        evicted = leaf.partitions.of_task(CARRIER, day) if found and forgets else []
        if evicted:
            leaf.remember(evicted)
            return read_library(leaf.lake, evicted)
        if found:
            leaf.remember(found)
            live = leaf.lake.read_table(f"{found[0].folder}/live.parquet")
            return live if forgets else expire(live, leaf.key.date, settings.window_days)
    return LIVE_SCHEMA.empty_table()


def _promotions(leaf: LeafContext) -> list[Promotion]:
    """Return which dropped copies should stand in for survivors whose own picture is gone, as the day before has it."""
    if RECHECK not in leaf.topology.tasks:
        return []
    for day in leaf.partitions.days_before("dedup", leaf.key.date, count=30):
        found = leaf.partitions.of_task(RECHECK, day)
        if found:
            leaf.remember(found)
            return promotions_of(leaf.lake.read_table(f"{found[0].folder}/promotions.parquet"))
    return []


def _write_packages(leaf: LeafContext, kept: pa.Table) -> None:
    slim = kept.drop_columns(["dhash", "thumb"])
    sources = leaf.packages_of("hash")
    for package in leaf.day_split().packages:
        mine = slim.filter(pc.is_in(slim["item"], value_set=sources[package]))
        leaf.write(f"items-{package}", mine)


def _handover(duplicates: list[Duplicate]) -> pa.Table:
    names = ("item", "picture", "survivor", "survivor_day", "reason", "distance")
    types = (pa.string(), pa.string(), pa.string(), pa.date32(), pa.string(), pa.int16())
    columns = [
        pa.array([getattr(dup, name) for dup in duplicates], kind) for name, kind in zip(names, types, strict=True)
    ]
    return pa.table(columns, names=list(names))
