"""What an id stands for: its picture and box for ever, and its day, category and offers as long as they are kept."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from pipeline.item_ids import ObjectRow, resolve_ids
from pipeline.partitions import Partitions
from pipeline.release.pointer import current
from pipeline.serve.answer import BoxList, Offer
from reporting.errors import UsageError
from reporting.key import ALL

if TYPE_CHECKING:
    from pipeline.lake import Lake
    from pipeline.place import Place

_COLUMNS = ("id", "category", "why", "offers", "first_day", "merchant", "sku", "title")
_TASKS = ("embed", "detect")
"""Whose outputs hold an object that is not released, the furthest first: embed's until before there was a detector."""


class ObjectFacts(BaseModel):
    """One object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    picture: str
    """sha256 of the bytes."""
    box: BoxList | None
    """In pixels of the upright picture; None where the picture is the object, of before there was a detector."""
    detector: str
    """Name and version of what found it."""
    ordinal: int
    """Its place among the objects of the picture, from 0 for the most confident one."""
    score: float | None
    """Of the detector, in [0, 1]."""
    detected: str
    """The detector's class; "" where it knows none."""
    day: Date | None
    """When it arrived; None where no day's output holds it any more."""
    category: str | None
    """Where it was put; None where it was dropped before that, or no day's output holds it any more."""
    why: dict[str, Any] | None
    """The decision about its category; None where none was taken."""
    offers: list[Offer]
    in_release: bool
    """Whether the release that is current can answer with it."""
    release: int | None
    """The current release; None where nothing has been released."""


def describe_objects(place: Place, ids: Sequence[int]) -> list[ObjectFacts]:
    """Return the facts of each id, in order: of the release where it is there, else of the last day that has it.

    Raises:
        UsageError: an id was never given.
    """
    wanted = list(dict.fromkeys(ids))
    known = resolve_ids(place.store, wanted)
    unknown = [one for one in wanted if one not in known]
    if unknown:
        raise UsageError(
            f"there is no object {', '.join(map(str, unknown))}; "
            "`funnelgate search PICTURE --json` prints the ids of its hits as `item`"
        )
    number, rows = _released(place.lake, set(wanted))
    places = {one: _of_release(row) for one, row in rows.items()}
    for task in _TASKS:
        if missing := set(wanted) - places.keys():
            places |= _of_days(place, task, missing)
    return [_facts(known[one], places.get(one, {}), one in rows, number) for one in wanted]


def _facts(row: ObjectRow, where: dict[str, Any], in_release: bool, release: int | None) -> ObjectFacts:
    return ObjectFacts(
        id=row.id,
        picture=row.picture,
        box=row.box,
        detector=row.detector,
        ordinal=row.ordinal,
        score=row.score,
        detected=row.label,
        day=where.get("day"),
        category=where.get("category"),
        why=None if not where.get("why") else json.loads(where["why"]),
        offers=[Offer(**{name: one[name] for name in Offer.model_fields}) for one in where.get("offers", ())],
        in_release=in_release,
        release=release,
    )


def _released(lake: Lake, ids: Collection[int]) -> tuple[int | None, dict[int, dict[str, Any]]]:
    """Return the number of the release and the rows that it has of these ids."""
    manifest = current(Path(lake.full("")))
    if manifest is None:
        return None, {}
    found: dict[int, dict[str, Any]] = {}
    for category, entry in manifest.categories.items():
        found |= {row["id"]: row | {"category": category} for row in _rows_of(lake, entry.items_path, ids)}
    return manifest.number, found


def _of_release(row: dict[str, Any]) -> dict[str, Any]:
    return {"day": row["first_day"], "category": row["category"], "why": row.get("why"), "offers": row["offers"]}


def _of_days(place: Place, task: str, ids: set[int]) -> dict[int, dict[str, Any]]:
    """Return where ids lie in a task's output of the latest day that has them."""
    found: dict[int, dict[str, Any]] = {}
    if task not in place.topology.tasks:
        return found
    partitions = Partitions(place.store, place.topology, None)
    for day in sorted({day for plan in place.store.plans() for day in plan.dates}, reverse=True):
        for part in partitions.of_task(task, day):
            for row in _rows_of(place.lake, f"{part.folder}/items.parquet", ids - found.keys()):
                category = None if part.leaf.category == ALL else part.leaf.category
                found[row["id"]] = {"day": day, "category": category, "why": row.get("why"), "offers": [row]}
        if found.keys() == ids:
            break
    return found


def _rows_of(lake: Lake, path: str, ids: Collection[int]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    table = lake.read_table(path, _COLUMNS)
    if ids and "id" in table.column_names:
        yield from table.filter(pc.is_in(table["id"], value_set=pa.array(sorted(ids), pa.int64()))).to_pylist()
