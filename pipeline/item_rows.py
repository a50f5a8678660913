"""From a number back to the items behind it: the rows a task kept or dropped, with title, merchant and picture."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date as Date
from typing import Any

from pipeline.lake import Lake
from pipeline.partitions import Partitions
from reporting.errors import UsageError
from reporting.plans import Plan
from reporting.stores.sql import SqlStore
from reporting.topology import Topology


def dropped_items(
    store: SqlStore, lake: Lake, topology: Topology, plan: Plan | None, task: str, day: Date, reason: str | None
) -> Iterator[dict[str, Any]]:
    """Yield one row for every dropped item: package, category, item, reason, detail, and what the source said of it.

    From `crop` on an item is an object, `ITEM#ORDINAL`; the source knows its picture.

    Args:
        store: records and instances.
        lake: partitions.
        topology: task names and drop reasons.
        plan: look at this plan; None: at what counts.
        task: whose drops.
        day: which day.
        reason: only this reason.

    Raises:
        UsageError: the task never drops for this reason.
        ConfigError: no such task.
    """
    spec = topology.task(task)
    if reason is not None and reason not in spec.drop_reasons:
        known = ", ".join(spec.drop_reasons) or "none"
        raise UsageError(f"{task} has no drop reason {reason!r}; it has: {known}")
    partitions = Partitions(store, topology, plan)
    sources = _sources(lake, partitions, day)
    for part in partitions.of_task(task, day):
        path = f"{part.folder}/dropped.parquet"
        if not lake.exists(path):
            continue
        for row in lake.read_table(path).to_pylist():
            if reason is None or row["reason"] == reason:
                known_row = sources.get(row["item"].partition("#")[0], {})
                yield {"package": part.leaf.subinstance, "category": part.leaf.category, **row, **known_row}


def _sources(lake: Lake, partitions: Partitions, day: Date) -> dict[str, dict[str, Any]]:
    """Return merchant, sku, title, location and manifest line by item, of the day's source."""
    columns = ["item", "merchant", "sku", "title", "location", "line"]
    found: dict[str, dict[str, Any]] = {}
    for part in partitions.of_task("collect", day):
        for package in partitions.packages(part.planid, day):
            for row in lake.read_table(f"{part.folder}/package-{package}.parquet", columns).to_pylist():
                found[row.pop("item")] = row
    return found
