"""A day of JPEGs run through the pipeline in this process, up to a task: what the task benchmarks start from."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from datetime import date as Date
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from sqlalchemy import insert

from pipeline import instances
from pipeline.instances import Claim
from pipeline.lake import Lake
from pipeline.place import Place
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.project import default_topology
from pipeline.settings import RunSettings
from pipeline.worker import attempt_once
from reporting import tables as t
from reporting.plans import Plan, PlanKind
from reporting.stores import open_store
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.topology import Topology

DAY = Date(2026, 11, 1)


def draw_jpegs(folder: Path, count: int, *, width: int = 464, height: int = 348, seed: int = 5) -> list[Path]:
    """Draw JPEGs as large as the photos of the Grocery Store Dataset (464 x 348, about 22 kB), all different."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        blocks = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        picture = Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC)
        noise = rng.normal(0, 2.5, (height, width, 1))
        picture = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
        paths.append(folder / f"{number:05d}.jpg")
        picture.save(paths[-1], quality=88)
    return paths


def filled(path: Path, count: int) -> SqlStore:
    """Return a store with `count` ready instances."""
    store = open_store(f"sqlite:///{path}")
    plan = Plan(planid="bench", kind=PlanKind.DAILY, dates=(DAY,), created_at=datetime(2026, 11, 1, 12, tzinfo=UTC))
    rows = [
        {
            "task": "embed",
            "date": DAY,
            "category": "all",
            "subinstance": f"{n:06d}",
            "planid": "bench",
            "state": "ready",
            "max_attempts": 5,
        }
        for n in range(count)
    ]
    with store.begin() as work:
        work.put_plan(plan)
        work.connection.execute(insert(t.instance), rows)
    return store


class _NoServices:
    def held(self, connection: object, key: object, redone: object) -> None:
        """Nothing is held."""

    def judge(self, candidate: object, settings: object, folder: object) -> object:
        raise AssertionError("the benchmarks stop before evaluate")


class Day:
    """One planned day; `until` works off everything before a task and returns its claim."""

    def __init__(self, folder: Path, pictures: Sequence[Path]):
        manifest = folder / "source.csv"
        with manifest.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "sku", "merchant", "category", "title", "listed"))
            writer.writerows((path, path.stem, "bench", "things", path.stem, "true") for path in pictures)
        graph = yaml.safe_load(default_topology())
        # A drawn picture is one object, and is what its row says: no model knows it.
        graph["tasks"]["detect"]["settings"] = {"detector": "whole"}
        graph["tasks"]["categorise"]["settings"] = {"by": "declared"}
        topology = Topology.model_validate(graph)
        store = open_store(f"sqlite:///{folder}/state.db")
        self.place = Place(
            store=store,
            lake=Lake(str(folder / "lake")),
            topology=topology,
            services=_NoServices(),  # type: ignore[arg-type]
            settings=RunSettings(),
            folder=folder,
            config=None,
        )
        request = PlanRequest(kind=PlanKind.DAILY, dates=(DAY,), source=str(manifest))
        self.plan: Plan = find_or_make_plans(store, topology, request)[0]

    def claim(self) -> Claim | None:
        """Claim the next instance."""
        with self.place.store.begin() as work:
            return instances.claim(work, "bench", time.time(), 600.0)

    def until(self, task: str, category: str = "things") -> Claim:
        """Work off instances until one of `task` (and category, where it has one) is claimed."""
        while True:
            claimed = self.claim()
            assert claimed is not None, f"nothing left to claim before {task}"
            if claimed.key.task == task and claimed.key.category in (category, "all"):
                return claimed
            assert attempt_once(self.place, self.plan, self.place.topology, claimed), claimed.key

    def run(self, claimed: Claim) -> None:
        """Run one attempt to its commit."""
        assert attempt_once(self.place, self.plan, self.place.topology, claimed)

    def taken(self, task: str) -> int:
        """Return how many items a task has booked as input."""
        totals = self.place.store.totals(RecordQuery(tasks=(task,)), by=("task",))
        return totals[0].input
