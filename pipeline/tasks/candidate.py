"""The candidate: the merged indexes of a day as they would be released, and the catalogue they are judged by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date as Date
from typing import Any

import pyarrow.compute as pc
from pydantic import BaseModel

from pipeline.lake import Lake
from pipeline.partitions import Partition, Partitions
from pipeline.release.manifest import CategoryIndex
from pipeline.release.objects import ObjectStore
from pipeline.serve.front import QueryFront, front_of
from pipeline.serve.ranking import RankSettings
from pipeline.tasks import with_registered_versions
from pipeline.tasks.context import LeafContext
from reporting.errors import DataError, Inconclusive, UsageError
from reporting.plans import Plan
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.topology import Topology

_OFFER_COLUMNS = ("merchant", "sku", "item", "picture", "group", "category", "listed")
_CATALOG_DAYS = 1000
Offer = tuple[str, str]
"""(merchant, sku)."""


@dataclass(frozen=True)
class CatalogRow:
    """A picture that a listed offer shows, whether or not an index holds it."""

    group: str
    sha256: str
    category: str
    """As its source declares it."""
    offer: Offer
    survivor: str
    """sha256 of the picture that it gave way to as a duplicate; its own where it gave way to none."""


@dataclass(frozen=True)
class Candidate:
    """What a judge needs: where the indexes lie, what they are, and what should be findable."""

    date: Date
    planid: str
    lake: Lake
    entries: dict[str, CategoryIndex]
    catalog: Callable[[], tuple[CatalogRow, ...]]
    """The whole catalogue of record on that day; read when called."""
    front: QueryFront | None = None
    """What a query goes through before the indexes; None: it is searched as a whole."""
    ranking: RankSettings = field(default_factory=RankSettings)
    """What a result goes through after them."""
    merged: tuple[Partition, ...] = ()
    """The partitions of merge that it was put together from, where it was."""

    def inputs(self) -> dict[str, str]:
        """Return the hash of everything that answers a query: see `inputs_of`."""
        return inputs_of(self.entries, self.front, self.ranking)


def inputs_of(entries: Mapping[str, CategoryIndex], front: QueryFront | None, ranking: RankSettings) -> dict[str, str]:
    """Return the hash of everything that answers a query, under the names a verdict lists them by.

    Returns:
        `category=NAME`: index, items, model and nprobe of each; `front`, where there is one; `ranking`.
    """
    parts: dict[str, BaseModel] = {f"category={category}": entry for category, entry in sorted(entries.items())}
    parts["ranking"] = ranking
    if front is not None:
        parts["front"] = front
    return {name: hashlib.sha256(part.model_dump_json().encode()).hexdigest() for name, part in parts.items()}


def candidate_of(leaf: LeafContext) -> Candidate:
    """Collect the day's merged indexes as a task, which books what it has read.

    Raises:
        Inconclusive: no category has anything to search.
        DataError: a merge is from before candidates were virtual.
    """
    merged = leaf.inputs("merge")
    return _collected(leaf.store, leaf.lake, leaf.topology, leaf.partitions, merged, leaf.key.planid)


def candidate_on(store: SqlStore, lake: Lake, topology: Topology, date: Date, plan: Plan | None = None) -> Candidate:
    """Collect a day's merged indexes by hand.

    Args:
        store: Records and instances.
        lake: Partitions.
        topology: The task graph, whose front and ranking count.
        date: The day.
        plan: As this plan sees it; None: what counts.

    Raises:
        UsageError: the day has no merged index.
        Inconclusive: no category has anything to search.
        DataError: a merge is from before candidates were virtual.
    """
    partitions = Partitions(store, topology, plan)
    merged = partitions.of_task("merge", date)
    if not merged:
        raise UsageError(f"{date}: no category has been merged; run the day to its merge first")
    now = with_registered_versions(topology)
    return _collected(store, lake, now, partitions, merged, max(part.planid for part in merged))


def _collected(
    store: SqlStore, lake: Lake, topology: Topology, partitions: Partitions, merged: Sequence[Partition], planid: str
) -> Candidate:
    date = merged[0].leaf.date
    models = models_of_spaces(store, date)
    entries: dict[str, CategoryIndex] = {}
    for part in merged:
        summary = json.loads(lake.read_bytes(f"{part.folder}/merge.json"))
        if summary["rows"]:
            entries[part.leaf.category] = _entry(lake, part, summary, models)
    if not entries:
        raise Inconclusive(
            f"{date}, plan {planid}: no category has an item to search; nothing can be evaluated or released"
        )
    return Candidate(
        date,
        planid,
        lake,
        entries,
        catalog=lambda: catalog_rows(partitions, lake, date),
        front=front_of(topology),
        ranking=ranking_of(topology),
        merged=tuple(merged),
    )


def ranking_of(topology: Topology) -> RankSettings:
    """Return how a release of this topology ranks: a setting of `release`, judged with the indexes."""
    from pipeline.tasks import task_settings

    if "release" not in topology.tasks:
        return RankSettings()
    settings: Any = task_settings(topology, "release")
    ranking: RankSettings = settings.ranking
    return ranking


def _entry(lake: Lake, part: Partition, summary: dict[str, Any], models: Mapping[str, str]) -> CategoryIndex:
    if "days" not in summary:
        raise DataError(
            f"{part.folder}/merge.json names no shards: it is from before they had a place of their own; re-run merge "
            f"of {part.leaf.date}"
        )
    objects = ObjectStore(lake.folder())
    facts = ("rows", "index_bytes", "nprobe", "codec", "fingerprint", "quantizer_path", "days")
    return CategoryIndex(
        model=models[summary["space_id"]],
        space_id=summary["space_id"],
        index_path=objects.relative(summary["sha256"]),
        index_sha256=summary["sha256"],
        items_path=objects.relative(summary["items_sha256"]),
        items_sha256=summary["items_sha256"],
        **{name: summary[name] for name in facts},
    )


def models_of_spaces(store: SqlStore, date: Date) -> dict[str, str]:
    """Return which model each feature space was made by, from the books of embed up to a day."""
    return {
        record.versions["space"]: record.versions["model"]
        for record in store.records(RecordQuery(tasks=("embed",), date_to=date))
        if "space" in record.versions
    }


def catalog_rows(partitions: Partitions, lake: Lake, date: Date) -> tuple[CatalogRow, ...]:
    """Return every picture that an offer ever delivered up to a day, as long as the offer was not taken off the shelf.

    All days that were ever planned count, not only the window: a product that the window forgot is a miss.
    """
    survivors: dict[str, str] = {}
    pictures: dict[str, tuple[str, str, str, Offer]] = {}
    listed: dict[Offer, bool] = {}
    days = partitions.days_before("download", date, count=_CATALOG_DAYS)
    for day in [*reversed(days), date]:
        for part in partitions.of_task("dedup", day):
            handed = lake.read_table(f"{part.folder}/handover.parquet", ["picture", "survivor"])
            survivors |= dict(zip(handed["picture"].to_pylist(), handed["survivor"].to_pylist(), strict=True))
        today: dict[Offer, bool] = {}
        for part in partitions.of_task("download", day):
            for row in lake.read_table(f"{part.folder}/items.parquet", _OFFER_COLUMNS).to_pylist():
                offer = (row["merchant"], row["sku"])
                today[offer] = today.get(offer, False) or row["listed"]
                pictures[row["item"]] = (row["group"], row["picture"], row["category"], offer)
        listed |= today
    return tuple(
        CatalogRow(group, picture, category, offer, survivors.get(picture, picture))
        for _, (group, picture, category, offer) in sorted(pictures.items())
        if listed[offer]
    )


def stands_for(lake: Lake, entries: Mapping[str, CategoryIndex], rows: Sequence[CatalogRow]) -> dict[str, str]:
    """Return picture -> picture under which these indexes return it, for those they return as another one.

    A picture by itself first: one that once gave way to another may since have come back alone.
    """
    held = _held(lake, entries)
    return {
        row.sha256: row.survivor
        for row in rows
        if (row.sha256, row.offer) not in held and (row.survivor, row.offer) in held
    }


def _held(lake: Lake, entries: Mapping[str, CategoryIndex]) -> set[tuple[str, Offer]]:
    """Return each (picture, offer) that the indexes hold."""
    held: set[tuple[str, Offer]] = set()
    for entry in entries.values():
        rows = lake.read_table(entry.items_path, ["picture", "offers"]).combine_chunks()
        offers = pc.list_flatten(rows["offers"])
        pictures = rows["picture"].take(pc.list_parent_indices(rows["offers"]))
        columns = (pictures, pc.struct_field(offers, "merchant"), pc.struct_field(offers, "sku"))
        for picture, merchant, sku in zip(*(column.to_pylist() for column in columns), strict=True):
            held.add((picture, (merchant, sku)))
    return held
