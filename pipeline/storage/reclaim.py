"""Let go what one file holds and its day no longer needs, once, however often the work is begun again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date as Date
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake import Lake
from pipeline.release.durable import locked
from pipeline.storage.holdings import Holding
from pipeline.storage.kept import Before, Kept, Rows, allocated, bits_of, read_kept, rows_of, write_kept
from pipeline.storage.needed import Wanted
from pipeline.storage.thin import Places, read_places, thin
from reporting.errors import StoreError

_LOCK: Final = ".reclaim.lock"


class By(NamedTuple):
    """The leaf that does it: an attempt of the same leaf finds what an earlier one of it has done."""

    planid: str
    date: Date


class Touched(NamedTuple):
    """A file that was rewritten.

    Attributes:
        holding: The file.
        kept: Pictures of the rows that kept their bytes.
        let_go: Those of the rows that lost them.
        before: Bytes of the disk that it took.
        after: That it takes.
    """

    holding: Holding
    kept: list[str]
    let_go: list[str]
    before: int
    after: int


class _Found(NamedTuple):
    """What is known of a file before it is decided about.

    Attributes:
        had: Rows that the leaf found with their bytes, at its first attempt.
        has: Rows that may have them now.
        before: Bytes of the disk at that first attempt.
        is_settled: False: a leaf was killed before it said what lies there.
    """

    had: Rows
    has: Rows
    before: int
    is_settled: bool


@contextmanager
def alone(lake: Lake) -> Iterator[None]:
    """Hold the lake's one right to let go; freed when its holder dies.

    Raises:
        StoreError: the lock file cannot be made.
    """
    path = lake.folder() / _LOCK
    try:
        path.touch()
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}; free or mount the disk") from error
    with locked(path):
        yield


def reclaim_file(lake: Lake, holding: Holding, wanted: Wanted, by: By) -> Touched | None:
    """Let go what a file holds and its day does not need; None: nothing of it went, by this leaf.

    A file whose day needs what it needed before is answered from its sidecar; its table is read only if something of
    it went by this same leaf, which an earlier attempt did then.

    Args:
        lake: A folder; the caller is `alone`.
        holding: The file.
        wanted: What its day needs.
        by: Which leaf does it.

    Raises:
        StoreError: the disk refuses, or what is there cannot be read.
        DataError: the pack is shorter than its table says.
    """
    side = read_kept(lake, holding.file)
    mine = side is not None and (side.planid, side.date) == by
    is_done = side is not None and side.allocated is not None and side.wanted == wanted.sha256
    if side is not None and is_done and not (mine and side.rows != side.before.rows):
        return None
    places = read_places(lake, holding)
    found = _found(lake, holding, places, side, mine=mine)
    asked = _among(places.pictures, wanted) & (places.sizes > 0)
    keep = found.has & asked
    if not found.is_settled or not np.array_equal(keep, found.has):
        write_kept(lake, holding.file, _kept(places, keep, found, wanted, by, None))
        keep = thin(lake, holding, places, asked)  # also what was put back since: from a copy of the lake, by hand
    after = allocated(lake, holding.file)
    write_kept(lake, holding.file, _kept(places, keep, found, wanted, by, after))
    gone = found.had & ~keep
    if not gone.any():
        return None
    return Touched(holding, _chosen(places, keep), _chosen(places, gone), found.before, after)


def _found(lake: Lake, holding: Holding, places: Places, side: Kept | None, *, mine: bool) -> _Found:
    if side is None:
        every = places.sizes > 0
        return _Found(every, every, allocated(lake, holding.file), is_settled=True)
    had = rows_of(side.before.rows, len(places.sizes), holding.file)
    if side.allocated is None:
        return _Found(had, had, side.before.allocated, is_settled=False)
    has = rows_of(side.rows, len(places.sizes), holding.file)
    return _Found(had, has, side.before.allocated, True) if mine else _Found(has, has, side.allocated, True)


def _among(pictures: pa.Array, wanted: Wanted) -> Rows:
    return np.asarray(pc.is_in(pictures, value_set=wanted.pictures).to_numpy(zero_copy_only=False), np.bool_)


def _kept(places: Places, keep: Rows, found: _Found, wanted: Wanted, by: By, after: int | None) -> Kept:
    names = sorted(set(_chosen(places, keep)))
    return Kept(
        planid=by.planid,
        date=by.date,
        count=int(keep.sum()),
        bytes=int(places.sizes[keep].sum()),
        rows=bits_of(keep),
        sha256=hashlib.sha256("\n".join(names).encode()).hexdigest(),
        wanted=wanted.sha256,
        before=Before(count=int(found.had.sum()), rows=bits_of(found.had), allocated=found.before),
        allocated=after,
    )


def _chosen(places: Places, rows: Rows) -> list[str]:
    names: list[str] = places.pictures.filter(pa.array(rows)).to_pylist()
    return names
