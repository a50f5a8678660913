"""What two runs of the same arrivals must have in common, whatever happened to them on the way."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
from sqlalchemy import func, select

from pipeline.index.lists import index_vectors
from pipeline.index.opened import OpenIndex
from pipeline.index.virtual import open_virtual
from pipeline.lake import Lake
from pipeline.shards import part_at
from reporting import tables as t
from reporting.balance import balance
from reporting.ledger import gather_books
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.topology import Topology
from tests.pipeline.project import Project, store_of

_OF_THE_ATTEMPT = ("attempt", "version", "started_at", "finished_at", "reported_at")


def books(project: Project, *, without: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Return every final record by its key, without what belongs to the attempt; `without` leaves out tasks."""
    found = {}
    with store_of(project) as store:
        for record in store.records(RecordQuery()):
            if record.key.task not in without:
                document = record.to_document()
                found[str(record.key)] = {name: document[name] for name in document if name not in _OF_THE_ATTEMPT}
    return found


def merged_rows(project: Project) -> dict[str, dict[tuple[str, int], tuple[Any, bytes]]]:
    """Return for each merged index of each day: object (picture, ordinal) to (offers and dates, vector bytes)."""
    lake = Lake(str(project.folder / "lake"))
    found = {}
    for leaf, folder in _artifacts(project, "merge"):
        rows = lake.read_table(f"{folder}/items.parquet").to_pylist()
        vectors: dict[int, bytes] = {}
        if rows:
            ids, stored = index_vectors(open_merged(lake, folder))
            vectors = {int(number): vector.tobytes() for number, vector in zip(ids, stored, strict=True)}
        assert sorted(vectors) == sorted(row["id"] for row in rows), f"{leaf}: index and items differ"
        found[leaf] = {
            (row["picture"], row["ordinal"]): (
                (row["item"], row["group"], row["first_day"], row["last_seen"], _offers(row["offers"])),
                vectors[row["id"]],
            )
            for row in rows
        }
    return found


def open_merged(lake: Lake, folder: str) -> OpenIndex:
    """Open what a merge has put together and not written."""
    summary = json.loads(lake.read_bytes(f"{folder}/merge.json"))
    items = lake.read_table(f"{folder}/items.parquet", ["id", "first_day"]).to_pylist()
    parts = []
    for day, rows in summary["days"].items():
        ids = sorted(item["id"] for item in items if str(item["first_day"]) == day)
        parts.append(part_at(lake, rows["shard_path"], np.array(ids, np.int64)))
    return open_virtual(lake.read_bytes(summary["quantizer_path"]), parts)


def _offers(offers: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((offer["merchant"], offer["sku"]) for offer in offers)


def _artifacts(project: Project, task: str) -> list[tuple[str, str]]:
    c = t.instance.c
    with store_of(project) as store, store.read() as connection:
        rows = connection.execute(
            select(c.date, c.category, c.planid, c.artifact).where(c.task == task).order_by(c.date, c.category)
        ).all()
    return [(f"{row[0]} {row[1]} {row[2]}", row[3]) for row in rows]


def artifacts(store: SqlStore) -> list[str]:
    """Return every committed pointer."""
    with store.read() as connection:
        return [path for path in connection.execute(select(t.instance.c.artifact)).scalars() if path is not None]


def faults(project: Project) -> list[str]:
    """Return everything that must never be there after a run has come to its end; [] is right."""
    found = []
    topology = Topology.load(project.folder / "pipeline.yaml")
    with store_of(project) as store:
        plans = store.plans()
        days = [day for plan in plans for day in plan.dates]
        closed = balance(topology, gather_books(store, topology, min(days), max(days)))
        found += [f"{one.date} {one.where}: {one.residual} unexplained" for one in closed.residuals]
        found += [f"{row.date}: {row.missing_leaves} leaves missing" for row in closed.rows if row.missing_leaves]
        found += [f"plan {plan.planid} is {plan.state.value}" for plan in plans if plan.state.value == "open"]
        with store.read() as connection:
            states = connection.execute(select(t.instance.c.state, func.count()).group_by(t.instance.c.state)).all()
            found += [f"{count} instances are {state}" for state, count in states if state != "done"]
            ids = Counter(connection.execute(select(t.item_id.c.id)).scalars())
            found += [f"id {number} was given {count} times" for number, count in ids.items() if count > 1]
            ended = connection.execute(
                select(t.attempt.c.instance_id, func.count())
                .where(t.attempt.c.outcome == "done")
                .group_by(t.attempt.c.instance_id)
            ).all()
            found += [f"instance {number} was completed {count} times" for number, count in ended if count != 1]
        found += [f"{path} is pointed at and not there" for path in artifacts(store) if not _is_there(project, path)]
    return found


def _is_there(project: Project, path: str) -> bool:
    # A release writes no partition: what it made is the pointer of the lake.
    return path.startswith("release/") or (project.folder / "lake" / path).is_dir()


def released_date(project: Project) -> str:
    """Return the day of the current release."""
    lake = project.folder / "lake"
    number = json.loads((lake / "CURRENT").read_text())["number"]
    return str(json.loads((lake / "releases" / f"{number:06d}.json").read_text())["date"])
