"""A small project for tests of the runner: drawn pictures, one manifest a day, settings, and ways to run it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date as Date
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

import funnelgate
from pipeline import instances
from pipeline.lake import Lake
from pipeline.place import Place
from pipeline.plans import PlanRequest, find_or_make_plans
from pipeline.project import default_topology
from pipeline.settings import RunSettings
from pipeline.tasks import with_absolute_paths
from pipeline.worker import Scope, work_loop
from reporting.plans import Plan, PlanKind
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from reporting.topology import Topology

COLUMNS = ("path", "sku", "merchant", "category", "title", "listed", "strategy", "group")
DAY_1, DAY_2, DAY_3 = Date(2026, 11, 1), Date(2026, 11, 2), Date(2026, 11, 3)
REPOSITORY = Path(__file__).parent.parent.parent


def draw(number: int, side: int = 96) -> Image.Image:
    """Return picture `number`: 8 x 8 blocks of random colours, so that any two differ in about half of their hash."""
    blocks = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST)


def row(path: str, sku: str, **changes: str) -> dict[str, str]:
    """Return one row of a manifest."""
    usual = {"merchant": "acme", "category": "red", "title": f"Thing {sku}", "listed": "true"}
    return {"path": path, "sku": sku, **usual, **changes}


@dataclass(frozen=True)
class Project:
    """A folder with settings, task graph, pictures and manifests."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def picture(self, name: str, image: Image.Image, **options: Any) -> str:
        """Write a picture; the ending says the format. Returns its path as a manifest names it."""
        path = self.folder / "pictures" / name
        path.parent.mkdir(exist_ok=True)
        image.save(path, **options)
        return f"pictures/{name}"

    def drawn(self, number: int) -> str:
        """Write picture `number` as PNG."""
        return self.picture(f"{number}.png", draw(number))

    def manifest(self, day: Date, rows: Sequence[dict[str, str]]) -> Path:
        """Write a day's manifest."""
        path = self.folder / f"{day}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(rows)
        return path

    def configure(self, **settings: dict[str, Any]) -> None:
        """Overlay settings of tasks in pipeline.yaml."""
        path = self.folder / "pipeline.yaml"
        graph = yaml.safe_load(path.read_text())
        for task, values in settings.items():
            graph["tasks"][task]["settings"] = graph["tasks"][task].get("settings", {}) | values
        path.write_text(yaml.safe_dump(graph, sort_keys=False))

    def forget_by_age(self) -> None:
        """Take evict, recheck and reclaim out of pipeline.yaml: what is older than the window leaves the library."""
        path = self.folder / "pipeline.yaml"
        graph = yaml.safe_load(path.read_text())
        del graph["tasks"]["evict"], graph["tasks"]["recheck"], graph["tasks"]["dedup"]["continues"]
        del graph["tasks"]["reclaim"]
        ends = {"evict", "recheck", "reclaim"}
        graph["edges"] = [edge for edge in graph["edges"] if not ends & {edge["from"], edge["to"]}]
        graph["edges"] += [{"from": "dedup", "to": reader, "law": "after"} for reader in ("tail", "merge")]
        path.write_text(yaml.safe_dump(graph, sort_keys=False))

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `funnelgate ARGUMENTS`."""
        return [sys.executable, "-m", "funnelgate", *arguments]

    def env(self) -> dict[str, str]:
        """Return the environment of commands, without settings from outside."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FUNNELGATE_")}
        return {**kept, "PYTHONPATH": str(REPOSITORY), **self.environment}

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `funnelgate ARGUMENTS` in the project's folder."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.env(),
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Run `funnelgate ARGUMENTS --json` and return what it printed; it must end with 0."""
        done = self.call(*arguments, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    def run_day(self, day: Date, *options: str) -> Any:
        """Run one day by its manifest, with worker processes."""
        return self.json("run", "--source", f"{day}.csv", "--date", str(day), *options)

    @contextmanager
    def place(self, **run: Any) -> Iterator[Place]:
        """Open the project in this process."""
        settings = yaml.safe_load((self.folder / "funnelgate.yaml").read_text())
        with store_of(self) as store:
            yield Place(
                store=store,
                lake=Lake(str(self.folder / "lake")),
                topology=with_absolute_paths(Topology.load(self.folder / "pipeline.yaml"), self.folder),
                services=funnelgate.Context(self.folder / "funnelgate.yaml").services,
                settings=RunSettings(**(settings["run"] | run)),
                folder=self.folder,
                config=self.folder / "funnelgate.yaml",
            )


@contextmanager
def store_of(project: Project) -> Iterator[SqlStore]:
    """Open the project's store."""
    with open_store(f"sqlite:///{project.folder}/state/funnelgate.db") as store:
        yield store


def new_project(folder: Path, *, package_items: int = 10, workers: int = 2, lease_seconds: float = 60.0) -> Project:
    """Make an empty project with small packages."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = yaml.safe_load(default_topology())
    settings = {
        "collect": {"package_items": package_items},
        # A drawn picture of blocks is one object, and is what its row says: no model knows it.
        "detect": {"detector": "whole"},
        "categorise": {"by": "declared"},
    }
    for task, values in settings.items():
        graph["tasks"][task]["settings"] = values
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    run = {"workers": workers, "lease_seconds": lease_seconds}
    (folder / "funnelgate.yaml").write_text(yaml.safe_dump({"pipeline": "pipeline.yaml", "run": run}))
    return Project(folder)


def plan_day(place: Place, day: Date, **request: Any) -> Plan:
    """Find or make the plan of a day by its manifest."""
    asked = {"kind": PlanKind.DAILY, "source": str(place.folder / "{date}.csv")} | request
    return find_or_make_plans(place.store, place.topology, PlanRequest(dates=(day,), **asked))[0]


def work_off(place: Place, *plans: Plan, tasks: tuple[str, ...] | None = None) -> int:
    """Work in this process until nothing of the plans (and tasks) is claimable; return the attempts made."""
    planids = tuple(plan.planid for plan in plans)

    def stop() -> bool:
        with place.store.read() as connection:
            return not instances.claimable(connection, planids, tasks)

    return work_loop(place, "tester", Scope(planids, tasks), stop)


def run_here(project: Project, *days: Date, **request: Any) -> list[Plan]:
    """Run days in this process, one after another, and return their plans as they ended."""
    ended = []
    with project.place() as place:
        for day in days:
            plan = plan_day(place, day, **request)
            work_off(place, plan)
            found = place.store.get_plan(plan.planid)
            assert found is not None
            ended.append(found)
    return ended
