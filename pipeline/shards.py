"""The shards that an index of a release is merged from, out of the lake: named in its manifest by day."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.index.part import ShardPart
from pipeline.index.shard_folder import read_shard
from pipeline.lake import Lake
from reporting.errors import DataError

if TYPE_CHECKING:
    from pipeline.release.manifest import CategoryIndex

FOLDER = "shards"
"""Below the lake's root: `shards/<space>/<category>/<date>/<sha16>/{index.faiss,shard.json}`."""


def shards_root(lake: Lake) -> Path:
    """Return the folder of all shards.

    Raises:
        ConfigError: the lake is no folder, so that nothing in it could be mapped.
    """
    return lake.folder() / FOLDER


def part_at(lake: Lake, folder: str, keep_ids: NDArray[np.int64] | None) -> ShardPart:
    """Return a shard as the part of a merge, to be mapped.

    Args:
        lake: Holds it.
        folder: Of the shard, relative to the lake.
        keep_ids: Shape (n,) int64, rising: the rows to take; None: all.

    Raises:
        DataError: there is no shard.
    """
    place = lake.folder() / folder
    if not place.is_dir():
        raise DataError(
            f"{place}: the shard is gone; `release gc` takes those that no kept release and no day of the window needs:"
            " re-run index for its day"
        )
    shard = read_shard(place)
    return ShardPart(shard.manifest, shard.index, keep_ids)


def parts_of(lake: Lake, category: str, entry: CategoryIndex) -> tuple[bytes, list[ShardPart]]:
    """Return the quantizer and the parts that an index of a release is merged from, in order of day.

    A row of the item table belongs to the shard of its `first_day`: an item that left and came back has its old id in
    the shards of both days, and only the later one counts.

    Raises:
        DataError: the entry is from before days were noted, or its item table has rows of a day that it does not name.
    """
    import pyarrow.compute as pc

    if entry.quantizer_path is None or not entry.days:
        raise DataError(
            f"category {category!r}: its release names no shards, it was made before they were noted, and "
            f"{lake.full(entry.index_path)} cannot be merged again: restore it, or run a day to its end"
        )
    items = lake.read_table(entry.items_path, ["id", "first_day"]).sort_by("id")
    parts = []
    for day, rows in sorted(entry.days.items()):
        mine = items.filter(pc.equal(items["first_day"], day))["id"]
        parts.append(part_at(lake, rows.shard_path, np.asarray(mine.to_numpy(), np.int64)))
    if sum(rows.rows for rows in entry.days.values()) != items.num_rows:
        raise DataError(
            f"category {category!r}: {entry.items_path} has {items.num_rows} items, its days' shards give "
            f"{sum(rows.rows for rows in entry.days.values())}; the two do not belong together: merge that day again"
        )
    return lake.read_bytes(entry.quantizer_path), parts
