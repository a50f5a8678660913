"""What the lake's bytes are needed for today, and what would go: the JSON of `funnelgate evict storage --json`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from pipeline.lake import Lake
from pipeline.storage.holdings import KINDS, Holding, Kind
from pipeline.storage.kept import allocated, read_kept, rows_of
from pipeline.storage.needed import Wanted, wanted_of
from pipeline.storage.thin import read_places

LARGEST = 5


class KindStorage(BaseModel):
    """All files of one kind.

    Attributes:
        kind: pictures, crops or vectors.
        files: How many there are.
        bytes_now: Of the disk, that they take.
        bytes_needed: Of these that stay.
        bytes_that_would_go: Of these that go; in whole blocks of the disk it is a little less.
        days: Days of which something goes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    files: int
    bytes_now: int
    bytes_needed: int
    bytes_that_would_go: int
    days: int


class DayStorage(BaseModel):
    """All files of one day.

    Attributes:
        date: The day.
        is_old: Whether anything of it may go.
        is_at_work: Whether it is being done again, so that nothing of it goes before that has ended.
        bytes_now: Of the disk, that they take.
        bytes_that_would_go: Of these that go.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: dt.date
    is_old: bool
    is_at_work: bool
    bytes_now: int
    bytes_that_would_go: int


class FileStorage(BaseModel):
    """One file of which something goes.

    Attributes:
        file: Relative to the lake.
        kind: pictures, crops or vectors.
        date: Day of the leaf that wrote it.
        bytes_now: Of the disk, that it takes.
        bytes_that_would_go: Of these that go.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    kind: Kind
    date: dt.date
    bytes_now: int
    bytes_that_would_go: int


class Storage(BaseModel):
    """What the task `reclaim` would do on a day.

    Attributes:
        date: The day.
        keep_days: A day younger than this keeps all of its bytes.
        grace_days: For so long what leaves the library keeps its bytes.
        kinds: By kind, those that the task's settings name.
        days: By day, oldest first; all that there are.
        largest: The files of which most goes, at most `LARGEST`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: dt.date
    keep_days: int
    grace_days: int
    kinds: tuple[KindStorage, ...]
    days: tuple[DayStorage, ...]
    largest: tuple[FileStorage, ...]


class Asked(NamedTuple):
    """As of when, and by which settings of the task."""

    date: dt.date
    keep_days: int
    grace_days: int
    last_old: dt.date
    """The newest day that is old."""


def survey(
    lake: Lake, files: Iterable[Holding], wanted: Mapping[dt.date, Wanted], busy: Collection[dt.date], asked: Asked
) -> Storage:
    """Look at every file, and say what would go; nothing is written.

    Args:
        lake: A folder.
        files: Of all days, young ones too.
        wanted: What each old day needs; a day that is not there needs nothing.
        busy: Days that are being done again.
        asked: As of when.
    """
    nothing = wanted_of(pa.array([], pa.string()))
    found: list[FileStorage] = []
    for one in files:
        may_go = one.date <= asked.last_old and one.date not in busy
        goes = _would_go(lake, one, wanted.get(one.date, nothing)) if may_go else 0
        now = allocated(lake, one.file)
        found.append(
            FileStorage(file=one.file, kind=one.kind, date=one.date, bytes_now=now, bytes_that_would_go=min(goes, now))
        )
    going = sorted((one for one in found if one.bytes_that_would_go), key=lambda one: -one.bytes_that_would_go)
    days = sorted({one.date for one in found})
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in found)]
    return Storage(
        date=asked.date,
        keep_days=asked.keep_days,
        grace_days=asked.grace_days,
        kinds=tuple(_of_kind(kind, [one for one in found if one.kind == kind]) for kind in kinds),
        days=tuple(_of_day(day, [one for one in found if one.date == day], busy, asked) for day in days),
        largest=tuple(going[:LARGEST]),
    )


def _would_go(lake: Lake, holding: Holding, wanted: Wanted) -> int:
    side = read_kept(lake, holding.file)
    if side is not None and side.allocated is not None and side.wanted == wanted.sha256:
        return 0
    places = read_places(lake, holding)
    has = places.sizes > 0
    if side is not None:
        has &= rows_of(side.rows if side.allocated is not None else side.before.rows, len(has), holding.file)
    stays = np.asarray(pc.is_in(places.pictures, value_set=wanted.pictures).to_numpy(zero_copy_only=False), np.bool_)
    return int(places.sizes[has & ~stays].sum())


def _of_kind(kind: Kind, files: list[FileStorage]) -> KindStorage:
    now, goes = (sum(getattr(one, name) for one in files) for name in ("bytes_now", "bytes_that_would_go"))
    return KindStorage(
        kind=kind,
        files=len(files),
        bytes_now=now,
        bytes_needed=now - goes,
        bytes_that_would_go=goes,
        days=len({one.date for one in files if one.bytes_that_would_go}),
    )


def _of_day(day: dt.date, files: list[FileStorage], busy: Collection[dt.date], asked: Asked) -> DayStorage:
    return DayStorage(
        date=day,
        is_old=day <= asked.last_old,
        is_at_work=day in busy,
        bytes_now=sum(one.bytes_now for one in files),
        bytes_that_would_go=sum(one.bytes_that_would_go for one in files),
    )
