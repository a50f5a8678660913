"""Processes that compete: `python -m tests.pipeline.claimers claim|register URL NAME` prints what it got as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date as Date
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from pipeline import instances
from pipeline.instance_states import READY
from pipeline.instances import Claim
from pipeline.item_ids import register_objects
from pipeline.models.detections import Box, Detection
from reporting import tables as t
from reporting.record import TaskRecord
from reporting.stores import open_store
from reporting.stores.sql import SqlStore

LEASE = 60.0
REPOSITORY = Path(__file__).parent.parent.parent


def add_instances(
    store: SqlStore,
    count: int,
    *,
    planid: str = "plan",
    task: str = "embed",
    priority: int = 0,
    max_attempts: int = 3,
    available_at: float = 0.0,
) -> list[int]:
    """Store ready instances, and return their ids."""
    with store.begin() as work:
        rows = work.connection.execute(
            insert(t.instance).returning(t.instance.c.id, sort_by_parameter_order=True),
            [
                {
                    "task": task,
                    "date": Date(2026, 11, 1),
                    "category": f"p{priority}",
                    "subinstance": f"{number:04d}",
                    "planid": planid,
                    "state": READY,
                    "priority": priority,
                    "max_attempts": max_attempts,
                    "available_at": available_at,
                }
                for number in range(count)
            ],
        )
        return [row[0] for row in rows]


def claim_one(store: SqlStore, worker: str, now: float, **scope: list[str]) -> Claim | None:
    """Claim in a transaction of its own."""
    with store.begin() as work:
        return instances.claim(work, worker, now, LEASE, **scope)


def finish(store: SqlStore, claimed: Claim, now: float, record: TaskRecord | None = None) -> bool:
    """Complete in a transaction of its own, with a record if one is given."""
    with store.begin() as work:
        if record is not None:
            work.put_record(record)
        return instances.complete(work, claimed, artifact=f"out/{claimed.token}", inputs="[]", built_with="{}", now=now)


def claim_all(store: SqlStore, worker: str) -> list[int]:
    """Claim and complete until nothing is ready any more; return the instances' ids."""
    got = []
    while (claimed := claim_one(store, worker, time.time())) is not None:
        finish(store, claimed, time.time())
        got.append(claimed.instance_id)
    return got


def objects(count: int, seed: int = 0) -> list[Detection]:
    """Return `count` objects with falling scores; another seed gives other boxes."""
    return [
        Detection(Box(seed, place, seed + 10, place + 10), 1 - place / 100, f"class-{place % 3}", (0.25, 0.75))
        for place in range(count)
    ]


def register_all(store: SqlStore, worker: str, detector: str = "boxes-1") -> dict[str, list[int]]:
    """Register pictures with 0 to 3 objects, of which each process shares a third with all others; return the ids.

    What is found in a shared picture differs from process to process: the first one's objects stand.
    """
    got: dict[str, list[int]] = {}
    for block in range(8):
        pictures = [f"{worker if number % 3 else 'shared'}-{block}-{number}" for number in range(9)]
        found = {picture: objects(place % 4, seed=sum(map(ord, worker))) for place, picture in enumerate(pictures)}
        with store.begin() as work:
            registered = register_objects(work, detector, found)
        got |= {picture: [one.id for one in mine] for picture, mine in registered.items()}
    return got


def compete(what: str, url: str, count: int) -> list[Any]:
    """Run `count` processes at once and return what each printed."""
    command = [sys.executable, "-m", "tests.pipeline.claimers", what, url]
    running = [
        subprocess.Popen([*command, f"process-{number}"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        for number in range(count)
    ]
    printed = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * count
    return [json.loads(text) for text in printed]


if __name__ == "__main__":
    with open_store(sys.argv[2]) as opened:
        work: dict[str, Callable[[SqlStore, str], Any]] = {"claim": claim_all, "register": register_all}
        print(json.dumps(work[sys.argv[1]](opened, sys.argv[3])))
