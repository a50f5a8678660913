"""The candidate: the merged indexes of a day as they would be released, and the catalogue they are judged by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date
from typing import Any

import pyarrow.compute as pc
from pydantic import BaseModel

from pipeline.lake import Lake
from pipeline.partitions import Partition, Partitions
from pipeline.release.manifest import CategoryIndex
from pipeline.serve.front import QueryFront, front_of
from pipeline.tasks.context import LeafContext
from reporting.errors import Inconclusive
from reporting.stores.base import RecordQuery

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

    def inputs(self) -> dict[str, str]:
        """Return the hash of everything that answers a query: see `inputs_of`."""
        return inputs_of(self.entries, self.front)


def inputs_of(entries: Mapping[str, CategoryIndex], front: QueryFront | None) -> dict[str, str]:
    """Return the hash of everything that answers a query: the front; by category index, items, model and nprobe."""
    parts: dict[str, BaseModel] = {f"category={category}": entry for category, entry in sorted(entries.items())}
    if front is not None:
        parts["front"] = front
    return {name: hashlib.sha256(part.model_dump_json().encode()).hexdigest() for name, part in parts.items()}


def candidate_of(leaf: LeafContext) -> Candidate:
    """Collect the day's merged indexes.

    Raises:
        Inconclusive: no category has anything to search.
    """
    merged = leaf.inputs("merge")
    models = _models(leaf, merged)
    entries: dict[str, CategoryIndex] = {}
    for part in merged:
        summary = json.loads(leaf.lake.read_bytes(f"{part.folder}/merge.json"))
        if summary["rows"]:
            entries[part.leaf.category] = _entry(leaf.lake, part, summary, models[summary["space_id"]])
    if not entries:
        raise Inconclusive(f"{leaf.key}: no category has an item to search; nothing can be evaluated or released")
    return Candidate(
        leaf.key.date,
        leaf.key.planid,
        leaf.lake,
        entries,
        catalog=lambda: catalog_rows(leaf.partitions, leaf.lake, leaf.key.date),
        front=front_of(leaf.topology),
    )


def _entry(lake: Lake, part: Partition, summary: dict[str, Any], model: str) -> CategoryIndex:
    items_path = f"{part.folder}/items.parquet"
    return CategoryIndex(
        model=model,
        space_id=summary["space_id"],
        index_path=f"{part.folder}/index.faiss",
        index_sha256=summary["sha256"],
        items_path=items_path,
        items_sha256=hashlib.sha256(lake.read_bytes(items_path)).hexdigest(),
        rows=summary["rows"],
        nprobe=summary["nprobe"],
    )


def _models(leaf: LeafContext, merged: list[Partition]) -> dict[str, str]:
    """Return which model each feature space was made by, from the books of embed."""
    if not merged:
        return {}
    query = RecordQuery(tasks=("embed",), date_to=leaf.key.date)
    return {
        record.versions["space"]: record.versions["model"]
        for record in leaf.store.records(query)
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
