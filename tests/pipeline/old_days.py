"""Six days of which old ones may give up their bytes, and a plain reading of what must stay: no code of the product."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pipeline.lake import Lake
from reporting.plans import PlanKind
from tests.pipeline.project import DAY_1, Project, new_project, row, run_here

DAYS = tuple(DAY_1 + timedelta(days=number) for number in range(6))
SETTINGS = {"keep_days": 3, "grace_days": 1, "keep_releases": 1}
"""A window of two days and a day of grace."""


class Place(NamedTuple):
    """Where a picture, a crop or a vector lies, read from a table."""

    day: Date
    kind: str
    picture: str
    file: Path
    data: bytes | None
    """None: it is a hole, or null."""


def noise(number: int) -> Image.Image:
    """Return picture `number`: noise, so that its file has tens of kilobytes."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (128, 128, 3), np.uint8))


def six_days(folder: Path) -> Project:
    """Run six days in which nothing gives up its bytes yet: three pictures of one product and one of another each day.

    One offer a day shows the bytes of another, and is dropped.
    """
    project = new_project(folder, package_items=5)
    project.configure(evict={"window_days": 2, "min_per_group": 1}, reclaim={"keep_days": 99, "grace_days": 1})
    for at, day in enumerate(DAYS):
        numbers = range(4 * at, 4 * at + 4)
        rows = [
            row(project.picture(f"{n}.png", noise(n)), f"s{n}", group="common" if n % 4 else f"rare{at}")
            for n in numbers
        ]
        rows.append(row(f"pictures/{4 * at}.png", f"copy{at}", merchant="bolt", group=f"rare{at}"))
        project.manifest(day, rows)
    run_here(project, *DAYS)
    return project


def reclaim(project: Project, day: Date, **settings: Any) -> None:
    """Let the task run for a day, by other settings than the day had."""
    project.configure(reclaim=SETTINGS | settings)
    run_here(project, day, kind=PlanKind.RERUN, tasks=("reclaim",), promote=True, source=None)


def stored(project: Project, day: Date) -> set[tuple[Date, str]]:
    """Return (first day, picture) of everything that the effective library of a day holds."""
    (path,) = (project.folder / "lake" / "evict" / str(day)).rglob("library.parquet")
    return {(one["first_day"], one["picture"]) for one in pq.read_table(path).to_pylist()}


def released(project: Project, number: int) -> set[tuple[Date, str]]:
    """Return (first day, picture) of every row of a release."""
    lake = project.folder / "lake"
    manifest = json.loads((lake / "releases" / f"{number:06d}.json").read_text())
    tables = [pq.read_table(lake / entry["items_path"]) for entry in manifest["categories"].values()]
    return {(one["first_day"], one["picture"]) for table in tables for one in table.to_pylist()}


def places(project: Project) -> Iterator[Place]:
    """Yield every picture, crop and vector that any table names, with what lies there."""
    lake = project.folder / "lake"
    packed = {"download": ("pictures.bin", "offset", "bytes"), "crop": ("crops.bin", "crop_offset", "crop_bytes")}
    for task, (name, offset, size) in packed.items():
        for table in sorted((lake / task).rglob("items.parquet")):
            file = table.parent / name
            data = file.read_bytes()
            for one in pq.read_table(table).to_pylist():
                part = data[one[offset] : one[offset] + one[size]]
                yield Place(_day(lake, table), task, one["picture"], file, part if any(part) else None)
    for table in sorted((lake / "embed").rglob("items.parquet")):
        for one in pq.read_table(table).to_pylist():
            vector = None if one["vector"] is None else np.array(one["vector"], np.float32).tobytes()
            yield Place(_day(lake, table), "embed", one["picture"], table, vector)


def _day(lake: Path, file: Path) -> Date:
    return Date.fromisoformat(file.relative_to(lake).parts[1])


def content(project: Project) -> dict[str, str]:
    """Return the sha256 of every file of the tasks that hold bytes, sidecars too."""
    lake = project.folder / "lake"
    return {
        str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest()
        for task in ("download", "crop", "categorise", "embed")
        for path in sorted((lake / task).rglob("*"))
        if path.is_file()
    }


def lake_of(project: Project) -> Lake:
    """Return the project's lake."""
    return Lake(str(project.folder / "lake"))
