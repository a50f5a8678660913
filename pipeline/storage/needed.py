"""Whose bytes must stay on old days: what the library holds, held a short while ago, or a kept release holds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from datetime import date as Date
from datetime import timedelta
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake import Lake
from pipeline.partitions import Partition, Partitions
from pipeline.release.pointer import releases
from pipeline.release.retention import has_files, why_kept
from pipeline.window.library import CARRIER, library_of, read_library
from reporting.topology import Topology

_COLUMNS = ("picture", "first_day")
_DAYS_BACK = 10_000


class Wanted(NamedTuple):
    """What of one day must keep its bytes.

    Attributes:
        pictures: sha256 of pictures, sorted, each once.
        sha256: Of these names: equal hashes are equal sets.
    """

    pictures: pa.Array
    sha256: str


def wanted_of(pictures: pa.Array) -> Wanted:
    """Return the set with its hash; the pictures are sorted and each is there once.

    Example:
        >>> wanted_of(pa.array([], pa.string())).sha256[:8]
        'e3b0c442'
    """
    return Wanted(pictures, hashlib.sha256("\n".join(pictures.to_pylist()).encode()).hexdigest())


def by_day(tables: Iterable[pa.Table], last: Date) -> dict[Date, Wanted]:
    """Return the pictures that some tables name, by the day on which they came; pure.

    By day, and not by name alone: a picture that left and came back has its bytes on both days, and what names it says
    of which day it is.

    Args:
        tables: Columns `picture` (text) and `first_day`.
        last: Days after it are left out.
    """
    schema = pa.schema([("picture", pa.large_string()), ("first_day", pa.date32())])
    rows = [
        table.filter(pc.less_equal(table["first_day"], pa.scalar(last, pa.date32()))).select(_COLUMNS).cast(schema)
        for table in tables
    ]
    joined = pa.concat_tables([schema.empty_table(), *rows]).group_by(list(_COLUMNS)).aggregate([])
    joined = joined.select(_COLUMNS).sort_by([("first_day", "ascending"), ("picture", "ascending")])
    days = joined["first_day"].to_numpy()
    bounds = [0, *(np.flatnonzero(days[1:] != days[:-1]) + 1).tolist(), len(days)]
    found: dict[Date, Wanted] = {}
    for start, end in pairwise(bounds if len(days) else []):
        names = joined["picture"].slice(start, end - start).combine_chunks().cast(pa.string())
        found[joined["first_day"][start].as_py()] = wanted_of(names)
    return found


def libraries(views: Collection[Partitions], topology: Topology, day: Date, grace_days: int) -> list[Partition]:
    """Return the partitions with the libraries of a day, of `grace_days` before it, and of the newest day.

    Whatever a library between them holds was in the first of them or has come since. The newest counts where an old
    day is done again: what later days still hold must not go.

    Args:
        views: Whose partitions count; what any of them sees is taken.
        topology: Says which task carries the library.
        day: The day.
        grace_days: How long what leaves the library keeps its bytes, >= 0. Where that day has none, the nearest
            earlier one counts, else the first that there is.
    """
    found: dict[str, Partition] = {}
    for view in views:
        newest_first = view.days_before(carrier_of(topology), Date.max, count=_DAYS_BACK)
        since = day - timedelta(grace_days)
        graced = [one for one in newest_first if one <= since]
        later = [one for one in reversed(newest_first) if one > since]
        for days in ([*graced, *later], [day], newest_first):
            parts = next((parts for one in days if (parts := library_of(view, topology, one))), [])
            found |= {part.folder: part for part in parts}
    return [found[folder] for folder in sorted(found)]


def carrier_of(topology: Topology) -> str:
    """Return the task that carries the library from day to day."""
    return CARRIER if CARRIER in topology.tasks else "dedup"


def kept_tables(lake: Lake, keep_releases: int) -> Iterator[pa.Table]:
    """Yield the rows of the item tables of every release that a sweep would keep.

    One of the last whose files a stricter sweep (`release gc --keep 1`) has taken cannot be served again and needs no
    picture. No sweep takes files of the others: one that has lost some can be mended, and its pictures stay.
    """
    root = lake.folder()
    every = {one.number: one for one in releases(root)}
    kept = why_kept(root, every, keep_releases)
    strict = why_kept(root, every, 1)
    numbers = [number for number in kept if number in strict or has_files(root, every[number])]
    paths = {entry.items_path for number in numbers for entry in every[number].categories.values()}
    for path in sorted(paths):
        yield lake.read_table(path, _COLUMNS)


def needed(lake: Lake, held: Collection[Partition], last: Date, keep_releases: int) -> dict[Date, Wanted]:
    """Return what of each day up to `last` must keep its bytes; a day that is not there needs none.

    Args:
        lake: A folder.
        held: From `libraries`.
        last: The newest day that is old.
        keep_releases: As a sweep has it.

    Raises:
        StoreError: a file that a partition or a kept release names is gone.
    """
    tables = (read_library(lake, [part], _COLUMNS) for part in held)  # one at a time: young rows go before the next
    return by_day(chain(tables, kept_tables(lake, keep_releases)), last)
