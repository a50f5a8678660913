"""What a quantizer learns from: vectors of the whole live window, as far as they lie there, newest days first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date as Date
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.partitions import Partition
from pipeline.tasks.context import LeafContext
from pipeline.tasks.embed import vectors_of
from reporting.stores.base import RecordQuery


class TrainingSample(NamedTuple):
    """Vectors to learn from.

    Attributes:
        vectors: (n, d) float32, L2-normalised.
        days: How many days they are of.
        rows_a_day: Vectors that those days have on average, before any were left out.
    """

    vectors: NDArray[np.float32]
    days: int
    rows_a_day: int


def day_sample(vectors: NDArray[np.float32]) -> TrainingSample:
    """Return all vectors of one day."""
    return TrainingSample(vectors, 1, len(vectors))


def window_sample(leaf: LeafContext, space: str, own: pa.Table, *, window_days: int, rows: int) -> TrainingSample:
    """Return vectors of the category from every day of the window that holds some in this space.

    The window ends with the newest day that has any, which may be later than the leaf's own: a new codec is trained
    by whichever day of a rebuilt window comes first. From the newest day backwards all vectors are taken by rising id
    until there are enough; of the last day taken, every so many. So the same partitions give the same sample, to the
    bit and the order. Reading them is not remembered: a frozen training must not make every day stale when one
    is embedded again.

    Args:
        leaf: Of the task train.
        space: Feature space of its day; others are left out.
        own: The day's own rows (columns `id`, `vector`), whatever else is there.
        window_days: Days of the merged index, >= 1.
        rows: Vectors, at most; but never fewer than the day's own, which are in memory already.
    """
    limit = max(rows, own.num_rows)
    taken: list[NDArray[np.float32]] = []
    total = count = 0
    for table in _by_day(leaf, space, own, window_days):
        ordered = vectors_of(table.sort_by("id"))
        total += len(ordered)
        left = limit - count
        taken.append(ordered if len(ordered) <= left else ordered[np.arange(left) * len(ordered) // left])
        count += len(taken[-1])
        if count == limit:
            break
    return TrainingSample(np.concatenate(taken), len(taken), round(total / len(taken)))


def _by_day(leaf: LeafContext, space: str, own: pa.Table, window_days: int) -> Iterator[pa.Table]:
    """Yield (id, vector) of each day that has rows in the space, newest first; the day's own among them."""
    columns = ["id", "vector"]
    newest: Date | None = None
    for day in _days(leaf):
        if newest is not None and day <= newest - timedelta(days=window_days):
            return
        if day == leaf.key.date:
            table = own.select(columns)
        else:
            parts = _in_space(leaf, space, day)
            tables = [leaf.lake.read_table(f"{part.folder}/items.parquet", columns) for part in parts]
            tables = [one.filter(one["vector"].is_valid()) for one in tables]  # what was let go teaches nothing
            table = pa.concat_tables([one for one in tables if one.num_rows] or [own.select(columns).slice(0, 0)])
        if table.num_rows:
            newest = newest or day
            yield table


def _days(leaf: LeafContext) -> list[Date]:
    """Return the days that have plans with embed, and the leaf's own, newest first."""
    planned = leaf.partitions.days_before("embed", Date.max, count=_MOST_DAYS)
    return sorted({*planned, leaf.key.date}, reverse=True)


_MOST_DAYS = 1000


def _in_space(leaf: LeafContext, space: str, day: Date) -> list[Partition]:
    """Return the category's partitions of embed on a day that were embedded in a space, as the leaf's plan sees it."""
    category = leaf.key.category
    parts = [part for part in leaf.partitions.of_task("embed", day) if part.leaf.category == category]
    if not parts:
        return []
    planids = tuple({part.planid for part in parts})
    query = RecordQuery(tasks=("embed",), date_from=day, date_to=day, categories=(category,), planids=planids)
    spaces = {
        (record.key.planid, record.key.subinstance, record.attempt): record.versions.get("space")
        for record in leaf.store.records(query)
    }
    return [part for part in parts if spaces.get((part.planid, part.leaf.subinstance, part.attempt)) == space]
