"""dedup: one picture for many offers, within the day, across its packages and against the live window.

Pictures are deduplicated, offers are not: the survivor takes over the offers of what it replaces and is as
young as the last time any of them was seen. The state of the window (`live`) is carried from day to day as this
task's own output, so that a re-run of an old day makes the later ones stale instead of silently wrong.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pipeline.images.hamming import MAX_DISTANCE
from pipeline.images.near import DEFAULT_DISTANCE
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from pipeline.window.duplicates import Duplicate, find_duplicates
from pipeline.window.live import LIVE_SCHEMA, advance, expire


class Settings(BaseModel):
    """How near is a duplicate, and how long an item lives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_distance: int = Field(default=DEFAULT_DISTANCE, ge=0, le=MAX_DISTANCE)
    """Bits of the 64-bit dHash in which near duplicates may differ."""
    window_days: int = Field(default=60, ge=1)
    """An item lives for so many days, counted from when it was last seen, that day included."""


def run(leaf: LeafContext, settings: Settings) -> None:
    """Decide on every picture of the day; write the kept rows of each package, the hand-overs and the live window."""
    rows = leaf.read("hash", "items").sort_by("item")
    leaf.books.take(rows["item"].to_pylist())
    before = expire(_live_before(leaf), leaf.key.date, settings.window_days)
    # What is off the shelf replaces nothing and is replaced by nothing: listing drops it, by its own reason.
    listed = rows.filter(rows["listed"])
    duplicates = find_duplicates(listed, before, settings.max_distance)
    drops: list[Drop] = [(dup.item, dup.reason, f"{dup.survivor} at distance {dup.distance}") for dup in duplicates]
    write_drops(leaf, drops)
    gone = {dup.item for dup in duplicates}
    kept = rows.filter(pa.array([item not in gone for item in rows["item"].to_pylist()], pa.bool_()))
    _write_packages(leaf, kept)
    leaf.write("handover", _handover(duplicates))
    live = advance(before, rows, duplicates, leaf.key.date)
    leaf.write("live", live)
    leaf.books.measure("live", live.num_rows)
    leaf.books.keep(kept["item"].to_pylist())


def _live_before(leaf: LeafContext) -> pa.Table:
    """Return the live window as the nearest earlier day left it; empty when there is none."""
    for day in leaf.partitions.days_before("dedup", leaf.key.date, count=30):
        found = leaf.partitions.of_task("dedup", day)
        if found:
            leaf.remember(found)
            return leaf.lake.read_table(f"{found[0].folder}/live.parquet")
    return LIVE_SCHEMA.empty_table()


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
