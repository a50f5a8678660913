"""The candidate: the merged indexes of a day as they would be released, and the catalogue they are judged by."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date as Date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake import Lake
from pipeline.partitions import Partition
from pipeline.release.manifest import CategoryIndex
from pipeline.tasks.context import LeafContext
from reporting.errors import Inconclusive
from reporting.stores.base import RecordQuery


@dataclass(frozen=True)
class CatalogRow:
    """One picture that a listed offer of the window shows; `id` is None where the index does not hold it."""

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
    catalog: tuple[CatalogRow, ...]

    def inputs(self) -> dict[str, str]:
        """Return the hash of everything that answers a query: index, items, model, space and nprobe by category."""
        return {
            f"category={category}": hashlib.sha256(entry.model_dump_json().encode()).hexdigest()
            for category, entry in sorted(self.entries.items())
        }


def candidate_of(leaf: LeafContext, *, with_catalog: bool) -> Candidate:
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
    catalog = _catalog(leaf, merged) if with_catalog else ()
    return Candidate(leaf.key.date, leaf.key.planid, leaf.lake, entries, catalog)


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


def _catalog(leaf: LeafContext, merged: list[Partition]) -> tuple[CatalogRow, ...]:
    """Return every picture that a still listed offer of the window delivered, found by the index or not."""
    held: dict[str, int] = {}
    days: set[Date] = {leaf.key.date}
    for part in merged:
        rows = leaf.lake.read_table(f"{part.folder}/items.parquet", ["picture", "id", "first_day"])
        held |= dict(zip(rows["picture"].to_pylist(), rows["id"].to_pylist(), strict=True))
        days |= set(pc.unique(rows["first_day"]).to_pylist())
    survivors: dict[str, str] = {}
    offers: dict[tuple[str, str, str], tuple[str, str, bool]] = {}
    listed: dict[tuple[str, str], bool] = {}
    for day in sorted(_days_between(leaf, min(days))):
        for part in leaf.partitions.of_task("dedup", day):
            handed = leaf.lake.read_table(f"{part.folder}/handover.parquet", ["picture", "survivor"])
            survivors |= dict(zip(handed["picture"].to_pylist(), handed["survivor"].to_pylist(), strict=True))
        today: dict[tuple[str, str], bool] = {}
        for part in leaf.partitions.of_task("download", day):
            columns = ["merchant", "sku", "item", "picture", "group", "listed"]
            table: pa.Table = leaf.lake.read_table(f"{part.folder}/items.parquet", columns)
            for row in table.to_pylist():
                offer = (row["merchant"], row["sku"])
                today[offer] = today.get(offer, False) or row["listed"]
                offers[(*offer, row["item"])] = (row["group"], row["picture"], row["listed"])
        listed |= today
    return tuple(
        CatalogRow(group, picture, held.get(survivors.get(picture, picture)))
        for (merchant, sku, _), (group, picture, _) in sorted(offers.items())
        if listed[(merchant, sku)]
    )


def _days_between(leaf: LeafContext, first: Date) -> list[Date]:
    days = leaf.partitions.days_before("download", leaf.key.date, count=1000)
    return [day for day in days if day >= first] + [leaf.key.date]
