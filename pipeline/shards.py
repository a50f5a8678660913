"""The shards that an index of a release is merged from, out of the lake: named in its manifest by day."""

from __future__ import annotations

from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.index.part import ShardPart
from pipeline.index.shard import ShardManifest, describe_shard
from pipeline.index.shard_folder import read_shard, shard_path, write_shard
from pipeline.lake import Lake
from reporting.errors import ContractViolation, DataError

if TYPE_CHECKING:
    from pipeline.partitions import Partition
    from pipeline.release.manifest import CategoryIndex

FOLDER = "shards"
"""Below the lake's root: `shards/<space>/<category>/<date>/<sha16>/{index.faiss,shard.json}`."""


def shards_root(lake: Lake) -> Path:
    """Return the folder of all shards.

    Raises:
        ConfigError: the lake is no folder, so that nothing in it could be mapped.
    """
    return lake.folder() / FOLDER


def part_at(
    lake: Lake,
    folder: str,
    keep_ids: NDArray[np.int64] | None,
    keep_days: NDArray[np.datetime64] | None = None,
) -> ShardPart:
    """Return a shard as the part of a merge, to be mapped.

    Args:
        lake: Holds it.
        folder: Of the shard, relative to the lake.
        keep_ids: Shape (n,) int64, rising: the rows to take; None: all.
        keep_days: Shape (n,) datetime64[D]: the day of each of them, which only matters for a tail.

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
    return ShardPart(shard.manifest, shard.index, keep_ids, None if shard.manifest.since is None else keep_days)


def part_of(lake: Lake, partition: Partition, keep_ids: NDArray[np.int64]) -> ShardPart:
    """Return the shard that a partition of `index` has built as the part of a merge.

    Args:
        lake: Holds both.
        partition: Of the task index; it has built a shard.
        keep_ids: As in `part_at`.

    Raises:
        DataError: The shard is gone.
        ContractViolation: One from before shards had a place of their own is not the one its manifest names.
    """
    manifest = ShardManifest.model_validate_json(lake.read_bytes(f"{partition.folder}/shard.json"))
    if lake.exists(f"{partition.folder}/shard.faiss"):
        manifest = _moved(lake, partition, manifest)
    return part_at(lake, f"{FOLDER}/{shard_path(manifest)}", keep_ids)


def _moved(lake: Lake, partition: Partition, manifest: ShardManifest) -> ShardManifest:
    """Put a shard from before shards had a place of their own where they have one now."""
    data = lake.read_bytes(f"{partition.folder}/shard.faiss")
    described = describe_shard(
        data, category=manifest.category, date=manifest.date, space_id=manifest.space_id, attempt=partition.attempt
    )
    if described.sha256 != manifest.sha256:
        raise ContractViolation(
            f"{manifest.name}: {partition.folder}/shard.faiss has sha256 {described.sha256}, its shard.json says "
            f"{manifest.sha256}; restore it, or re-run index for {manifest.date}"
        )
    return write_shard(shards_root(lake), data, described).manifest


def days_by_shard(entry: CategoryIndex) -> dict[str, list[Date]]:
    """Return the days that each shard of an index gave, both in order of day."""
    found: dict[str, list[Date]] = {}
    for day, rows in sorted(entry.days.items()):
        found.setdefault(rows.shard_path, []).append(day)
    return found


def parts_of(lake: Lake, category: str, entry: CategoryIndex) -> tuple[bytes, list[ShardPart]]:
    """Return the quantizer and the parts that an index of a release is merged from, in order of day.

    A row of the item table belongs to the shard that its `first_day` came out of: an item that left and came back has
    its old id in the shards of both days, and only the later one counts. A tail gave several days.

    Raises:
        DataError: the entry is from before days were noted, or its item table has rows of a day that it does not name.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if entry.quantizer_path is None or not entry.days:
        raise DataError(
            f"category {category!r}: its release names no shards, it was made before they were noted, and "
            f"{lake.full(entry.index_path)} cannot be merged again: restore it, or run a day to its end"
        )
    items = lake.read_table(entry.items_path, ["id", "first_day"]).sort_by("id")
    parts = []
    for folder, days in days_by_shard(entry).items():
        mine = items.filter(pc.is_in(items["first_day"], value_set=pa.array(days, pa.date32())))
        ids, of = (mine[name].to_numpy() for name in ("id", "first_day"))
        parts.append(part_at(lake, folder, np.asarray(ids, np.int64), np.asarray(of, "datetime64[D]")))
    if sum(rows.rows for rows in entry.days.values()) != items.num_rows:
        raise DataError(
            f"category {category!r}: {entry.items_path} has {items.num_rows} items, its days' shards give "
            f"{sum(rows.rows for rows in entry.days.values())}; the two do not belong together: merge that day again"
        )
    return lake.read_bytes(entry.quantizer_path), parts
