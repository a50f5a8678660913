"""The library after a day: every picture that may be found, the window and the tail beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from typing import TYPE_CHECKING, Final

import pyarrow as pa

if TYPE_CHECKING:
    from pipeline.lake import Lake
    from pipeline.partitions import Partition, Partitions
    from reporting.topology import Topology

CARRIER: Final = "evict"
"""The task that says what stays; a graph without it forgets by age alone."""
RECHECK: Final = "recheck"
"""The task that asks whether stored offers are alive."""
TAIL: Final = "tail"
"""The task that holds what is stored of the days before the window as one shard; without it each has its own."""
_FILES: Final = {CARRIER: "library", "dedup": "live"}


def library_of(partitions: Partitions, topology: Topology, day: Date) -> list[Partition]:
    """Return the partition that holds the library after a day, in a list; [] where the day has none.

    That of evict, where the graph has it, else that of dedup.
    """
    return partitions.of_task(CARRIER if CARRIER in topology.tasks else "dedup", day)


def read_library(lake: Lake, found: Sequence[Partition], columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows (`LIVE_SCHEMA`, or some columns of it) of what `library_of` found, at least one partition."""
    return pa.concat_tables(
        [lake.read_table(f"{part.folder}/{_FILES[part.leaf.task]}.parquet", columns) for part in found]
    )
