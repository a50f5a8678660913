"""The candidate: the merged indexes of a day as they would be released, and the catalogue they are judged by."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import date as Date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from pipeline.lake import Lake
from pipeline.partitions import Partition
from pipeline.release.manifest import CategoryIndex
from pipeline.serve.front import QueryFront, front_of
from pipeline.tasks.context import LeafContext
from reporting.errors import Inconclusive
from reporting.stores.base import RecordQuery

_OFFER_COLUMNS = ("merchant", "sku", "item", "picture", "group", "listed")
_CATALOG_DAYS = 1000
Offer = tuple[str, str]
"""(merchant, sku)."""


@dataclass(frozen=True)
class CatalogRow:
    """An object of a picture that a listed offer shows; `id` is None where the index holds none with this offer."""

    group: str
    sha256: str
    id: int | None


@dataclass(frozen=True)
class Candidate:
    """What a judge needs: where the indexes lie, what they are, and what should be findable."""

    date: Date
    planid: str
    lake: Lake
    entries: dict[str, CategoryIndex]
    catalog: Callable[[Set[str]], tuple[CatalogRow, ...]]
    """The catalogue of record of some product groups; read when called."""
    front: QueryFront | None = None
    """What a query goes through before the indexes; None: it is searched as a whole."""

    def inputs(self) -> dict[str, str]:
        """Return the hash of everything that answers a query: the front; by category index, items, model and nprobe."""
        parts: dict[str, BaseModel] = {
            f"category={category}": entry for category, entry in sorted(self.entries.items())
        }
        if self.front is not None:
            parts["front"] = self.front
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
        catalog=lambda groups: _catalog(leaf, merged, groups),
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


def _catalog(leaf: LeafContext, merged: list[Partition], groups: Set[str]) -> tuple[CatalogRow, ...]:
    """Return every picture that an offer of these groups delivered, as long as the offer was not taken off the shelf.

    One row for each of the picture's objects that carries the offer. All days that were ever planned count, not only
    the window: a product that the window forgot is a miss.
    """
    wanted = pa.array(sorted(groups), pa.string())
    nowhere: list[int | None] = [None]
    held = _held(leaf, merged)
    survivors: dict[str, str] = {}
    pictures: dict[str, tuple[str, str, Offer]] = {}
    listed: dict[Offer, bool] = {}
    days = leaf.partitions.days_before("download", leaf.key.date, count=_CATALOG_DAYS)
    for day in [*reversed(days), leaf.key.date]:
        for part in leaf.partitions.of_task("dedup", day):
            handed = leaf.lake.read_table(f"{part.folder}/handover.parquet", ["picture", "survivor"])
            survivors |= dict(zip(handed["picture"].to_pylist(), handed["survivor"].to_pylist(), strict=True))
        today: dict[Offer, bool] = {}
        for part in leaf.partitions.of_task("download", day):
            table = leaf.lake.read_table(f"{part.folder}/items.parquet", _OFFER_COLUMNS)
            for row in table.filter(pc.is_in(table["group"], value_set=wanted)).to_pylist():
                offer = (row["merchant"], row["sku"])
                today[offer] = today.get(offer, False) or row["listed"]
                pictures[row["item"]] = (row["group"], row["picture"], offer)
        listed |= today
    return tuple(
        CatalogRow(group, picture, number)
        for _, (group, picture, offer) in sorted(pictures.items())
        if listed[offer]
        # By itself first: a picture that once gave way to another may since have come back alone.
        for number in held.get((picture, offer)) or held.get((survivors.get(picture, picture), offer)) or nowhere
    )


def _held(leaf: LeafContext, merged: list[Partition]) -> dict[tuple[str, Offer], list[int | None]]:
    """Return the ids under which the indexes hold each (picture, offer)."""
    held: dict[tuple[str, Offer], list[int | None]] = defaultdict(list)
    for part in merged:
        rows = leaf.lake.read_table(f"{part.folder}/items.parquet", ["picture", "id", "offers"]).combine_chunks()
        offers = pc.list_flatten(rows["offers"])
        owners = rows.select(["picture", "id"]).take(pc.list_parent_indices(rows["offers"]))
        columns = (owners["picture"], owners["id"], pc.struct_field(offers, "merchant"), pc.struct_field(offers, "sku"))
        for picture, number, merchant, sku in zip(*(column.to_pylist() for column in columns), strict=True):
            held[(picture, (merchant, sku))].append(number)
    return held
