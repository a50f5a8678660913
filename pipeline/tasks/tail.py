"""tail: one shard a category of what is stored of all days before the window, so that the merge reads few shards.

To the merge it is just another shard. It is made anew every `compact_days` days, and handed on in between. What it was
made from is remembered day by day, and not the tail before it: a day that is indexed again makes the tails stale that
cover it, and the newest of them is mended without those in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date as Date
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pipeline.index.compact import compact
from pipeline.index.part import ShardPart
from pipeline.index.shard_folder import INDEX, shard_path
from pipeline.lake import Lake
from pipeline.partitions import Partition
from pipeline.quantizers import quantizer_of
from pipeline.release.objects import ObjectStore
from pipeline.shards import FOLDER, part_at, part_of, shards_root
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from pipeline.version import code_version
from pipeline.window.library import TAIL, library_of, read_library
from pipeline.window.shard_rows import DAY, ROWS, is_alive, is_of, rows_of_day
from pipeline.window.tail_step import DaySource, Step, Tail, next_step
from reporting.errors import ContractViolation

FILE = "tail.json"
_DAYS_BACK = 30


class Settings(BaseModel):
    """Which days go into the tail, and how often it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(default=60, ge=1)
    """Days, the day itself included, whose own shards the merge reads; as many as evict's."""
    compact_days: int = Field(default=30, ge=1)
    """Days after which it is made anew: the merge reads so many shards more at most, and days are written so often."""


class _Before(NamedTuple):
    """The tail of the nearest earlier day; `part` is None where there is none."""

    part: Partition | None
    tail: Tail


def run(leaf: LeafContext, settings: Settings) -> None:
    """Make the tail anew, or hand on the one before. Input are the rows of that one and of the shards read.

    Raises:
        ContractViolation: Shards of two trainings or feature spaces; the message names the days to index again.
    """
    library = library_of(leaf.partitions, leaf.topology, leaf.key.date)
    leaf.remember(library)
    live = read_library(leaf.lake, library, ["picture", "first_day"])
    before = _before(leaf)
    stored = set(pc.unique(live["first_day"]).to_pylist())
    there = _indexed(leaf, stored, before.tail, leaf.key.date - timedelta(days=settings.window_days - 1))
    sources = {day: DaySource(planid=part.planid, attempt=part.attempt) for day, part in there.items()}
    step = next_step(before.tail, sources, stored, leaf.key.date, settings.compact_days)
    if before.part is not None:
        leaf.consume(TAIL, [before.part])
    if step is None:
        tail = before.tail
        leaf.books.take(tail.rows)
        leaf.books.keep(tail.rows)
    else:
        with naming_days(before.tail):
            tail = _made_anew(leaf, before.tail, step, there, live)
    leaf.remember([there[day] for day in tail.days if day in there])
    leaf.books.measure("days", len(tail.days))
    leaf.books.measure("bytes", tail.bytes)
    leaf.books.measure("compacted", int(step is not None))
    with leaf.create(FILE) as file:
        file.write(tail.model_dump_json(indent=1).encode())


def read_tail(lake: Lake, folder: str) -> Tail:
    """Return what the partition of a tail says."""
    return Tail.model_validate(json.loads(lake.read_bytes(f"{folder}/{FILE}")))


def rows_of_tail(lake: Lake, tail: Tail) -> pa.Table:
    """Return the rows of a tail's shard (`ROWS`); none where it has no shard."""
    if tail.items_sha256 is None:
        return ROWS.empty_table()
    return lake.read_table(ObjectStore(lake.folder()).relative(tail.items_sha256))


def part_of_tail(lake: Lake, tail: Tail, rows: pa.Table) -> ShardPart:
    """Return a tail with rows as the part of a merge that takes some of its rows."""
    assert tail.path is not None, "a tail without rows is no part of a merge"
    rows = rows.sort_by("id")
    days = np.asarray(rows[DAY].to_numpy(), "datetime64[D]")
    return part_at(lake, tail.path, np.asarray(rows["id"].to_numpy(), np.int64), days)


@contextmanager
def naming_days(tail: Tail) -> Iterator[None]:
    """Let a refusal of a tail's shard say which days are to be indexed again.

    Raises:
        ContractViolation: What was raised inside, with the days where it is about the tail.
    """
    try:
        yield
    except ContractViolation as error:
        if not tail.rows or f"{min(tail.days)}..{tail.until}" not in str(error):
            raise
        days = ", ".join(map(str, tail.days))
        raise ContractViolation(f"{error}; the tail is of {days}: re-run index for them, oldest first") from error


def _before(leaf: LeafContext) -> _Before:
    """Return the tail to start from; none where a sweep has taken its shard, so that its days are read again."""
    for day in leaf.partitions.days_before(TAIL, leaf.key.date, count=_DAYS_BACK, category=leaf.key.category):
        for part in leaf.partitions.of_task(TAIL, day):
            if part.leaf.category == leaf.key.category:
                tail = read_tail(leaf.lake, part.folder)
                return _Before(part, tail) if _is_there(leaf.lake, tail) else _Before(None, Tail())
    return _Before(None, Tail())


def _is_there(lake: Lake, tail: Tail) -> bool:
    if tail.path is None or tail.items_sha256 is None:
        return True  # without a row it needs no file
    return lake.exists(tail.path) and lake.exists(ObjectStore(lake.folder()).relative(tail.items_sha256))


def _indexed(leaf: LeafContext, stored: set[Date], before: Tail, oldest: Date) -> dict[Date, Partition]:
    """Return the category's partition of `index` of each stored day that is before the window or covered already."""
    return {
        day: part
        for day in sorted(stored)
        if day < oldest or day in before.days
        for part in leaf.partitions.of_task("index", day)
        if part.leaf.category == leaf.key.category
    }


def _made_anew(leaf: LeafContext, before: Tail, step: Step, there: Mapping[Date, Partition], live: pa.Table) -> Tail:
    """Take in what is there, drop what is dead or out of date, and write the rest as one shard."""
    leaf.consume("index", [there[day] for day in step.read])
    old = rows_of_tail(leaf.lake, before)
    new = {day: rows_of_day(leaf.lake, there[day].folder, day) for day in step.read}
    leaf.books.take(old["object"].to_pylist())
    drops = _drops(old.filter(is_of(old, step.rebuilt)), "rebuilt")
    old = old.filter(pc.invert(is_of(old, step.rebuilt)))
    drops += _drops(old.filter(pc.invert(is_alive(old, live))), "let_go")
    old = old.filter(is_alive(old, live))
    kept, parts = [old], [part_of_tail(leaf.lake, before, old)] if old.num_rows else []
    for day, rows in new.items():
        leaf.books.take(rows["object"].to_pylist())
        alive = is_alive(rows, live)
        drops += _drops(rows.filter(pc.invert(alive)), "let_go")
        kept.append(rows.filter(alive))
        if kept[-1].num_rows:
            parts.append(part_of(leaf.lake, there[day], np.sort(kept[-1]["id"].to_numpy())))
    write_drops(leaf, drops)
    items = pa.concat_tables(kept).sort_by("id")
    leaf.write("items", items)
    leaf.books.keep(items["object"].to_pylist())
    days = {day: before.days[day] for day in step.keep}
    days |= {day: DaySource(planid=there[day].planid, attempt=there[day].attempt) for day in step.read}
    return _written(leaf, Tail(days=dict(sorted(days.items())), compacted_on=leaf.key.date, rows=len(items)), parts)


def _drops(rows: pa.Table, reason: str) -> list[Drop]:
    return [(row["object"], reason, row[DAY].isoformat()) for row in rows.select(["object", DAY]).to_pylist()]


def _written(leaf: LeafContext, tail: Tail, parts: list[ShardPart]) -> Tail:
    """Write the shard, and keep its item table by its content: an attempt's folder is not kept for ever."""
    if not parts:
        return tail
    quantizer = quantizer_of(leaf.store, leaf.key.category, parts[-1].manifest)
    shard = compact(
        shards_root(leaf.lake),
        leaf.lake.read_bytes(quantizer.path),
        parts,
        since=min(tail.days),
        until=tail.until,
        attempt=leaf.claim.attempt,
        builder=code_version(),
    )
    objects = ObjectStore(leaf.lake.folder())
    return tail.model_copy(
        update={
            "path": f"{FOLDER}/{shard_path(shard.manifest)}",
            "bytes": (shard.path / INDEX).stat().st_size,
            "items_sha256": objects.put_bytes(leaf.lake.read_bytes(f"{leaf.folder}/items.parquet")),
        }
    )
