"""Ids over kill -9: unique, rising, and the same for the same object, whenever a worker dies and however many work."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select, update

from pipeline.instance_states import RUNNING
from pipeline.item_ids import ObjectRow, resolve_ids
from pipeline.models.catalog import detector_version
from pipeline.place import Place
from reporting import tables as t
from reporting.plans import Plan
from tests.pipeline.comparison import books, faults, merged_rows
from tests.pipeline.killed_worker import MOMENTS
from tests.pipeline.project import DAY_1, REPOSITORY, Project, plan_day, run_here, store_of, work_off
from tests.pipeline.squares import DETECTOR, drawn_rows, many, square_project

pytestmark = pytest.mark.slow
PICTURES = {number: many(number % 4, 1 - number / 100) for number in range(18)}
"""0 to 3 objects in each."""
OBJECTS = sum(number % 4 for number in PICTURES)


def project_in(folder: Path, package_items: int, **options: float) -> Project:
    project = square_project(folder, package_items=package_items, **options)
    project.manifest(DAY_1, drawn_rows(project, PICTURES))
    return project


def table(project: Project) -> list[tuple[int, str, str, int]]:
    """Return every registered object, by id."""
    c = t.item_id.c
    with store_of(project) as store, store.read() as connection:
        rows = connection.execute(select(c.id, c.picture, c.detector, c.ordinal).order_by(c.id)).all()
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def indexed(project: Project) -> dict[int, tuple[str, int]]:
    """Return the ids of the merged index with the picture and ordinal that its rows name."""
    found = {}
    with project.place() as place:
        for path in sorted((project.folder / "lake" / "merge").rglob("items.parquet")):
            for one in place.lake.read_table(str(path.relative_to(project.folder / "lake"))).to_pylist():
                found[one["id"]] = (one["picture"], one["ordinal"])
    return found


def work_off_before_detect(place: Place, plan: Plan) -> None:
    order = place.topology.order
    for task in order[: order.index("detect")]:
        work_off(place, plan, tasks=(task,))


def work_until(project: Project, *moments: str) -> list[int]:
    """Let workers work side by side until their moments have come; return how they ended, and free what they held."""
    module = [sys.executable, "-m", "tests.pipeline.killed_worker", str(project.folder)]
    running = [subprocess.Popen([*module, moment], cwd=REPOSITORY, env=project.env()) for moment in moments]
    ended = [process.wait(timeout=120) for process in running]
    with store_of(project) as store, store.begin() as work:  # the leases would run out in a minute
        work.connection.execute(update(t.instance).where(t.instance.c.state == RUNNING).values(lease_until=0.0))
    return ended


def test_a_worker_killed_at_any_moment_of_detect_leaves_ids_that_the_retry_takes_up(tmp_path: Path) -> None:
    project = project_in(tmp_path / "project", package_items=len(PICTURES))
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        work_off_before_detect(place, plan)
    seen = []
    for moment in MOMENTS:
        assert work_until(project, moment) == [-signal.SIGKILL]
        seen.append(table(project))
    assert seen[:2] == [[], []]  # rolled back with its transaction
    assert [row[0] for row in seen[2]] == list(range(1, OBJECTS + 1))
    assert seen[3] == seen[2]
    with project.place() as place:
        work_off(place, plan)
        resolved = resolve_ids(place.store, range(2 * OBJECTS))
    assert table(project) == seen[2]
    assert indexed(project) == {number: (picture, ordinal) for number, picture, _, ordinal in seen[2]}
    assert {type(one) for one in resolved.values()} == {ObjectRow}
    assert {one.detector for one in resolved.values()} == {detector_version(str(DETECTOR))}
    assert faults(project) == []
    quiet = project_in(tmp_path / "quiet", package_items=len(PICTURES))
    run_here(quiet, DAY_1)
    assert books(project) == books(quiet)
    assert merged_rows(project) == merged_rows(quiet)
    assert indexed(project) == indexed(quiet)


def test_workers_that_detect_side_by_side_and_die_give_every_object_one_id(tmp_path: Path) -> None:
    project = project_in(tmp_path / "project", package_items=4)
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        work_off_before_detect(place, plan)
    for moments in (("looked", "registered", "committed"), ("written", "registered", "committed")):
        assert work_until(project, *moments) == [-signal.SIGKILL] * 3
        rows = table(project)
        assert [row[0] for row in rows] == list(
            range(1, len(rows) + 1)
        )  # no number is lost: nothing was rolled back late
    assert work_until(project, "never", "never", "never") == [0] * 3
    rows = table(project)
    assert len({row[1:] for row in rows}) == len(rows) == OBJECTS
    assert indexed(project) == {number: (picture, ordinal) for number, picture, _, ordinal in rows}
    of_picture: dict[str, list[int]] = {}
    for number, picture, _, ordinal in rows:
        mine = of_picture.setdefault(picture, [])
        assert ordinal == len(mine)  # rising with the ordinal, and in one piece
        assert mine in ([], list(range(number - ordinal, number)))
        mine.append(number)
    assert faults(project) == []
