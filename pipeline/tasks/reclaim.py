"""reclaim: what left the library gives up its bytes, when its day is old: pictures, crops and vectors.

Rows and places never change: what is let go keeps its row and loses its bytes (`pipeline.storage`). Of an old day stays
what the library holds, what it held a short while ago, and what a release holds that retention keeps: whatever can be
found, also after a rollback, has its bytes, and a model change encodes the tail anew from its crops.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date as Date
from datetime import timedelta
from typing import Any, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.lake import Lake
from pipeline.partitions import Partitions
from pipeline.release.retention import KEEP
from pipeline.storage.holdings import KINDS, Kind, days_at_work, holdings
from pipeline.storage.kept import allocated
from pipeline.storage.needed import Wanted, carrier_of, libraries, needed, wanted_of
from pipeline.storage.pending import pending_libraries
from pipeline.storage.reclaim import By, Touched, alone, reclaim_file
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import write_drops
from pipeline.tasks.pictures import LET_GO
from pipeline.window.library import library_of
from reporting.errors import ConfigError, DataError, StoreError
from reporting.logs import logger
from reporting.plans import PlanKind
from reporting.stores.sql import SqlStore
from reporting.topology import Topology

_log = logger("reclaim")


class Settings(BaseModel):
    """From when on a day is old, and what goes then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_days: int = Field(default=74, ge=2)
    """A day younger than this keeps all of its bytes; at least the window of evict and `grace_days` together, for a
    window that is built again needs them."""
    grace_days: int = Field(default=14, ge=1)
    """For so long what leaves the library keeps its bytes; `evict apply` starts from the library of the day before."""
    keep_releases: int = Field(default=KEEP, ge=1)
    """What the last so many releases hold stays, beside the champion's and what is pinned; as `release gc` has it."""
    of: tuple[Kind, ...] = KINDS
    """What is let go: `pictures`, `crops`, `vectors`."""

    @model_validator(mode="after")
    def _outlives_its_grace(self) -> Self:
        if self.keep_days <= self.grace_days:
            raise ValueError(f"keep_days {self.keep_days} must be more than grace_days {self.grace_days}")
        return self


class _Work:
    """What the leaf has done to the files of old days."""

    def __init__(self) -> None:
        self.touched: list[Touched] = []
        self.bytes = 0
        """Bytes of the disk that all of them take."""


def run(leaf: LeafContext, settings: Settings) -> None:
    """Let go what old days no longer need, and book the pictures of the packs that were rewritten.

    Input are the pictures that had their bytes in those packs, output those that keep them; what goes of crops and
    vectors is among the measures.

    Raises:
        ConfigError: keep_days is less than the window and the grace together.
        DataError: a pack is shorter than its table says; it is left as it is, and all others are done.
    """
    check_graph(leaf.topology, settings)
    leaf.remember(library_of(leaf.partitions, leaf.topology, leaf.key.date))
    work = _Work()
    if not leaf.lake.is_local:
        _log.warning("%s: a lake reached by URL keeps all of its bytes; mount it to let any go", leaf.lake.root)
    elif leaf.plan.kind not in (PlanKind.SHADOW, PlanKind.TEST):  # such a plan counts nowhere and takes nothing
        with alone(leaf.lake):
            work = _reclaimed(leaf, settings)
    _book(leaf, work)


def check_graph(topology: Topology, settings: Settings) -> None:
    """Make sure that a window which is built again finds its bytes.

    Raises:
        ConfigError: keep_days is too small; both values are named.
    """
    from pipeline.tasks import task_settings

    carrier = carrier_of(topology)
    window: Any = task_settings(topology, carrier)
    least = window.window_days + settings.grace_days
    if settings.keep_days < least:
        raise ConfigError(
            f"pipeline.yaml: tasks.reclaim.settings.keep_days is {settings.keep_days}, tasks.{carrier}.settings."
            f"window_days {window.window_days} and grace_days {settings.grace_days} need {least}: a window that is "
            f"built again would miss bytes; set keep_days to {least} or more"
        )


def last_old_day(day: Date, settings: Settings) -> Date:
    """Return the newest day that is old on a day.

    Example:
        >>> last_old_day(Date(2026, 11, 10), Settings(keep_days=6, grace_days=1)).isoformat()
        '2026-11-04'
    """
    return day - timedelta(settings.keep_days)


def needed_on(
    place: tuple[SqlStore, Lake, Topology], views: Collection[Partitions], day: Date, settings: Settings
) -> dict[Date, Wanted]:
    """Return what of each old day must keep its bytes, as of a day.

    Args:
        place: Plans and instances; a folder; which task carries the library.
        views: Whose libraries count.
        day: The day.
        settings: Of the task.

    Raises:
        StoreError: no day has a library, so that nothing can be known to be unneeded.
    """
    store, lake, topology = place
    held = libraries(views, topology, day, settings.grace_days)
    if not held:
        task = carrier_of(topology)
        raise StoreError(f"reclaim of {day}: no day has a library of {task!r}; run that day's {task!r} first")
    every = {part.folder: part for part in (*held, *pending_libraries(store, topology, day, settings.grace_days))}
    return needed(lake, list(every.values()), last_old_day(day, settings), settings.keep_releases)


def _reclaimed(leaf: LeafContext, settings: Settings) -> _Work:
    last = last_old_day(leaf.key.date, settings)
    views = (leaf.partitions, Partitions(leaf.store, leaf.topology, None))
    files = list(holdings(leaf.store, leaf.lake, settings.of, last))  # first: who writes more of a day is seen as busy
    busy = days_at_work(leaf.store, last)
    wanted = needed_on((leaf.store, leaf.lake, leaf.topology), views, leaf.key.date, settings)
    nothing = wanted_of(pa.array([], pa.string()))
    by = By(leaf.key.planid, leaf.key.date)
    work = _Work()
    broken: list[DataError] = []
    for holding in files:
        if holding.date not in busy:
            try:
                found = reclaim_file(leaf.lake, holding, wanted.get(holding.date, nothing), by)
            except DataError as error:  # one damaged pack must not keep the bytes of all others
                broken.append(error)
                continue
            work.touched += [] if found is None else [found]
        work.bytes += allocated(leaf.lake, holding.file)
    if broken:
        raise DataError(f"{leaf.key}: {len(broken)} files are damaged, all others are done; the first: {broken[0]}")
    return work


def _book(leaf: LeafContext, work: _Work) -> None:
    packs = [one for one in work.touched if one.holding.kind == "pictures"]
    kept = [picture for one in packs for picture in one.kept]
    gone = [(picture, LET_GO, one.holding.file) for one in packs for picture in one.let_go]
    leaf.books.take([*kept, *(picture for picture, _, _ in gone)])
    write_drops(leaf, gone)
    leaf.books.keep(kept)
    leaf.books.measure("bytes_kept", work.bytes)
    leaf.books.measure("bytes_freed", sum(one.before - one.after for one in work.touched))
    leaf.books.measure("days", len({one.holding.date for one in work.touched}))
    leaf.write("files", _table(work.touched))


def _table(touched: list[Touched]) -> pa.Table:
    """Return a row for each file that was rewritten."""
    schema = pa.schema(
        [
            *(("kind", pa.string()), ("day", pa.date32()), ("file", pa.string())),
            *((name, pa.int64()) for name in ("kept", "let_go", "bytes_before", "bytes")),
        ]
    )
    rows = [(*one.holding[:3], len(one.kept), len(one.let_go), one.before, one.after) for one in touched]
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(some, field.type) for some, field in zip(columns, schema, strict=True)], schema=schema)
