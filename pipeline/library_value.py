"""What is known of how much pictures of the library are worth: clicks and quality of a file, uniqueness of indexes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date as Date
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.evict.places import Places
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.signals import Signals, SignalsUsed, signals_of
from pipeline.evict.stored_of import Facts
from pipeline.signals_file import SignalsFile, newest_signals

if TYPE_CHECKING:
    from pipeline.lake import Lake
    from pipeline.partitions import Partition


class Signalled(NamedTuple):
    """What the newest file says of a library."""

    file: SignalsFile
    said: Signals

    def joined(self, facts: Facts) -> Facts:
        """Return facts with its clicks and qualities; what the file has no column for stays as it was."""
        quality = facts.quality if self.said.quality is None else self.said.quality
        return replace(facts, clicks=self.said.clicks, quality=quality)

    def used(self, places: Places) -> SignalsUsed:
        """Return what a person is told about it; `places` are those of the stored pictures."""
        counts = [0 if one is None else int(places.mask_of(one["picture"]).sum()) for one in self.said]
        file = self.file
        return SignalsUsed(
            date=file.date, path=str(file.path), sha256=file.sha256, with_clicks=counts[0], with_quality=counts[1]
        )


def signalled(policy: EvictPolicy, live: Any, day: Date) -> Signalled | None:
    """Return what is said of a library on a day; None where nobody says anything: clicks have no weight then.

    Args:
        policy: Names the files, and how old one may be.
        live: The library, `LIVE_SCHEMA`.
        day: Which is decided.

    Raises:
        DataError: The file is wrong; with row and column.
    """
    file = None if policy.signals is None else newest_signals(policy.signals, day, policy.signals_max_age_days)
    return None if file is None else Signalled(file, signals_of(file.table, live))


def index_rows(lake: Lake, part: Partition, hidden: Collection[int] = frozenset()) -> Any:
    """Return picture and uniqueness of each object of a day's index: an Arrow table.

    Of a picture of several objects the most unique one counts: it is what would be lost with the picture.

    Args:
        lake: Holds the partition.
        part: Of the task index; one from before indexes had the column knows nothing of uniqueness (null).
        hidden: Ids of objects that are taken down: they are left out, for the next index will not hold them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = ["picture", "uniqueness", *(["id"] if hidden else [])]
    rows = lake.read_table(f"{part.folder}/items.parquet", columns)
    if hidden:
        rows = rows.filter(pc.invert(pc.is_in(rows["id"], value_set=pa.array(sorted(hidden), pa.int64()))))
    if "uniqueness" not in rows.column_names:
        rows = rows.append_column("uniqueness", pa.nulls(rows.num_rows, pa.float32()))
    return rows.select(["picture", "uniqueness"])
