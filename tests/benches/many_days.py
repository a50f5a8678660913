"""Days of balanced books in a SQLite store, written without the recorder: what the checks are measured on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from datetime import date as Date
from itertools import pairwise, product
from pathlib import Path

import numpy as np

from reporting.plans import Leaf
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from reporting.testing import make_plan
from reporting.topology import Topology

DAY = Date(2026, 11, 1)
"""The judged day, the last one."""

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)

_ROW = (
    "INSERT INTO record (task, date, category, subinstance, planid, state, attempt, version, input, output, produced,"
    " dropped_total, failed_total, seconds, content_hash, reported_at, body)"
    " VALUES (?, ?, ?, ?, ?, 'succeeded', 1, 4294967296, ?, ?, ?, ?, 0, ?, '', ?, ?)"
)


def chain(tasks: int) -> Topology:
    """Return tasks one after the other, each split by category and package."""
    names = [f"task-{number:02}" for number in range(tasks)]
    grain = ["category", "subinstance"]
    spec = {"unit_in": "item", "unit_out": "item", "grain": grain, "drop_reasons": ["bad", "worse"], "metrics": ["b"]}
    first, last = names[0], names[-1]
    edges = [{"from": before, "to": after} for before, after in pairwise(names)]
    named = {name: dict(spec) for name in names}
    named[first] = {**spec, "deadline": "02:00"}
    named[last] = {**spec, "deadline": "06:00"}
    return Topology.model_validate({"tasks": named, "edges": edges})


def fill(path: Path, topology: Topology, *, categories: int, packages: int, days: int, seed: int = 1) -> SqlStore:
    """Return a store with a daily plan a day, complete, and a record of each leaf of each task.

    Args:
        path: of the database.
        topology: from `chain`.
        categories: of each task.
        packages: of each task.
        days: up to `DAY`.
        seed: of the counts.
    """
    store = open_store(f"sqlite:///{path}", ships=False)
    leaves = [(f"category-{c:02}", f"{p:04}") for c, p in product(range(categories), range(packages))]
    chance = np.random.default_rng(seed)
    level = chance.lognormal(6, 1, len(leaves))
    with sqlite3.connect(path) as connection:
        for back in range(days - 1, -1, -1):
            day = DAY - timedelta(days=back)
            made = datetime.combine(day + timedelta(days=1), time(), UTC)
            busy = (0.7 if day.weekday() >= 5 else 1.0) * chance.normal(1, 0.02, len(leaves))
            connection.executemany(_ROW, _rows(topology, day, leaves, (level * busy).astype(np.int64) + 50, made))
            connection.commit()
            plan = make_plan(f"daily-{day}", dates=(day,), created_at=made, completed_at=made + timedelta(hours=6))
            with store.begin() as work:
                work.put_plan(plan)
                if back == 0:
                    work.expect(plan.planid, [Leaf(task, day, *leaf) for task in topology.order for leaf in leaves])
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return store


def _rows(
    topology: Topology, day: Date, leaves: list[tuple[str, str]], taken: np.ndarray, made: datetime
) -> Iterator[tuple[object, ...]]:
    before: str | None = None
    for number, task in enumerate(topology.order):
        dropped = taken // 50
        at = made + timedelta(minutes=10 * number)
        started, finished = (one.isoformat().replace("+00:00", "Z") for one in (at, at + timedelta(minutes=9)))
        reported = (at + timedelta(minutes=9)).isoformat(timespec="microseconds")
        for place, ((category, package), count, lost) in enumerate(
            zip(leaves, taken.tolist(), dropped.tolist(), strict=True)
        ):
            kept = count - lost
            consumed = (
                ""
                if before is None
                else (f'{{"task":"{before}","date":"{day}","planid":"daily-{day}","count":{count}}}')
            )
            body = (
                f'{{"key":{{"task":"{task}","date":"{day}","category":"{category}","subinstance":"{package}",'
                f'"planid":"daily-{day}"}},"state":"succeeded","attempt":1,"version":4294967296,"input":{count},'
                f'"output":{kept},"produced":{kept},"dropped":{{"bad":{lost}}},"failed":{{}},"error":null,'
                f'"consumed":[{consumed}],"digest_in":"{_digest(number, place, count)}",'
                f'"digest_out":"{_digest(number + 1, place, kept)}","versions":{{"code":"1f3870be","model":"m@7"}},'
                f'"metrics":{{"b":{kept * 1.5}}},"started_at":"{started}","finished_at":"{finished}",'
                f'"reported_at":"{finished}","schema_version":1}}'
            )
            yield (
                *(task, day.isoformat(), category, package, f"daily-{day}"),
                *(count, kept, kept, lost, 540.0, reported, body),
            )
        taken, before = taken - dropped, task


def _digest(boundary: int, place: int, count: int) -> str:
    return f"{count:x}-{(boundary * 7919 + place) * 2654435761:016x}-{place * 40503 + boundary:016x}"
