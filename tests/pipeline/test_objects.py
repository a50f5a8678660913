"""Pictures with no, one and many objects through the whole runner: the books balance where the unit changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.images.crop import crop_object, decode_crop
from pipeline.images.decode import DecodeLimits
from pipeline.item_ids import resolve_ids
from pipeline.item_rows import dropped_items
from pipeline.models.catalog import detector_version, open_embedder
from pipeline.models.detections import Box
from pipeline.partitions import Partitions
from pipeline.stale import find_stale
from pipeline.tasks.pictures import iter_crops, iter_pictures
from reporting.balance import balance
from reporting.digest import Digest
from reporting.ledger import gather_books
from reporting.plans import PlanKind, PlanState
from reporting.record import State, TaskRecord
from reporting.stores.base import RecordQuery
from tests.pipeline.comparison import faults
from tests.pipeline.project import DAY_1, DAY_2, Project, plan_day, row, run_here, store_of, work_off
from tests.pipeline.squares import (
    CELL,
    DETECTOR,
    another_version,
    box_of,
    drawn_rows,
    many,
    square_project,
    squares,
)

Copy = Callable[[Project], Project]
LIMITS = DecodeLimits()
PICTURES: dict[int, dict[int, float]] = {
    1: {},  # nothing is there
    2: {5: 0.3, 17: -0.2},  # two candidates, both too weak
    3: {9: 0.8},
    4: {0: 0.6, 63: -1.0, 27: 0.7, 40: 0.3},  # three objects and a candidate
    5: many(20),
    6: {12: 0.9, 50: -0.9},  # drawn half as large: what it shows is too small to be cut out
}
SMALL = 6
COUNTS = {1: 0, 2: 0, 3: 1, 4: 3, 5: 20, 6: 2}
ALL = sum(COUNTS.values())


@pytest.fixture(scope="module")
def objects_day(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One day of the pictures above in two packages. Read only: change a `copy_of` it."""
    project = square_project(tmp_path_factory.mktemp("objects") / "day", package_items=4)
    project.configure(crop={"min_side": 10})
    rows = drawn_rows(project, PICTURES)
    project.picture(f"{SMALL}.png", squares(SMALL, PICTURES[SMALL], side=64))
    project.manifest(DAY_1, rows)
    run_here(project, DAY_1)
    return project


def records(project: Project, task: str, **query: Any) -> list[TaskRecord]:
    with store_of(project) as store:
        return [one for one in store.records(RecordQuery(tasks=(task,), **query)) if one.state is State.SUCCEEDED]


def total(found: list[TaskRecord], name: str) -> int:
    return sum(getattr(one, name) for one in found)


def rows_of(project: Project, task: str, name: str = "items") -> list[dict[str, Any]]:
    """Return the rows of a task's partitions that count, with the number of the picture each belongs to."""
    found = []
    with project.place() as place:
        for part in Partitions(place.store, place.topology, None).of_task(task, DAY_1):
            found += place.lake.read_table(f"{part.folder}/{name}.parquet").to_pylist()
    return found


def number_of(one: dict[str, Any]) -> int:
    """Return the number of the picture a row comes from."""
    return int(one["sku"].removeprefix("s"))


def test_the_books_change_their_unit_and_close(objects_day: Project) -> None:
    detected, cropped = records(objects_day, "detect"), records(objects_day, "crop")
    assert (total(detected, "input"), total(detected, "output"), total(detected, "produced")) == (6, 4, ALL)
    assert sum((Counter(one.dropped) for one in detected), Counter()) == {"no_object": 1, "low_score": 1}
    assert (total(cropped, "input"), total(cropped, "output")) == (ALL, ALL - 2)
    assert sum((Counter(one.dropped) for one in cropped), Counter()) == {"too_small": 2}
    assert faults(objects_day) == []


def test_each_side_of_an_edge_books_the_same_objects_by_name(objects_day: Project) -> None:
    rows = rows_of(objects_day, "detect")
    names = [f"{one['item']}#{one['ordinal']}" for one in rows]
    assert names == [one["object"] for one in rows]
    for package in ("0001", "0002"):
        (detected,), (cropped,) = (
            [one for one in records(objects_day, task) if one.key.subinstance == package] for task in ("detect", "crop")
        )
        assert detected.digest_out == cropped.digest_in
    parts = [Digest.parse(one.digest_out or "") for one in records(objects_day, "detect")]
    assert sum(parts, Digest.of([])) == Digest.of(names)


def test_every_object_lies_where_it_was_drawn_best_first(objects_day: Project) -> None:
    rows = rows_of(objects_day, "detect")
    for number, cells in PICTURES.items():
        mine = [one for one in rows if number_of(one) == number]
        side = 64 if number == SMALL else 8 * CELL
        strong = {cell: score for cell, score in cells.items() if abs(score) >= 0.5}
        expected = sorted((-abs(score), box_of(cell, side), score) for cell, score in strong.items())
        assert [Box(one["x0"], one["y0"], one["x1"], one["y1"]) for one in mine] == [box for _, box, _ in expected]
        assert [one["ordinal"] for one in mine] == list(range(COUNTS[number]))
        assert [one["detected"] for one in mine] == ["red" if score > 0 else "blue" for *_, score in expected]
        assert [one["score"] for one in mine] == pytest.approx([-score for score, *_ in expected], abs=1e-2)
        assert {(one["width"], one["height"]) for one in mine} <= {(side, side)}
        assert all(abs(sum(one["class_scores"]) - 1) < 1e-5 for one in mine)


def test_ids_are_unique_rise_with_the_rows_and_resolve(objects_day: Project) -> None:
    by_package: dict[str, list[int]] = {}
    for one in rows_of(objects_day, "crop"):
        by_package.setdefault(one["crop_pack"], []).append(one["id"])
    for ids in by_package.values():
        assert ids == sorted(set(ids))
    rows = rows_of(objects_day, "detect")
    assert sorted(one["id"] for one in rows) == list(range(1, ALL + 1))
    with store_of(objects_day) as store:
        resolved = resolve_ids(store, [one["id"] for one in rows])
    version = detector_version(str(DETECTOR))
    for one in rows:
        found = resolved[one["id"]]
        assert (found.picture, found.detector, found.ordinal) == (one["picture"], version, one["ordinal"])
        assert found.box == Box(one["x0"], one["y0"], one["x1"], one["y1"])


def test_what_is_booked_of_objects_is_what_was_drawn(objects_day: Project) -> None:
    sums: dict[str, float] = {}
    for one in records(objects_day, "detect"):
        assert one.metrics["objects_per_picture"] == one.metrics["objects"] / one.input
        assert one.versions["detector"] == detector_version(str(DETECTOR))
        assert one.versions["model"] == "square-detector@1"
        for name in ("objects", "one_object", "several_objects", "low_score_boxes"):
            sums[name] = sums.get(name, 0) + one.metrics[name]
        sums["score"] = sums.get("score", 0) + one.metrics["mean_score"] * one.metrics["objects"]
    assert sums.pop("score") == pytest.approx(20 + 0.8 + 0.6 + 1 + 0.7 + 1.8, abs=0.05)
    assert sums == {"objects": ALL, "one_object": 1, "several_objects": 3, "low_score_boxes": 2}


def test_a_crop_is_the_canonical_one_of_its_picture(objects_day: Project) -> None:
    rows = rows_of(objects_day, "crop")
    with objects_day.place() as place:
        crops = dict(iter_crops(place.lake, pa.Table.from_pylist(rows), []))
        for one in rows[:8]:
            data = (objects_day.folder / "pictures" / f"{number_of(one)}.png").read_bytes()
            box = Box(one["x0"], one["y0"], one["x1"], one["y1"])
            expected = crop_object(data, box, margin=0.08, side=256, limits=LIMITS)
            assert (decode_crop(crops[one["object"]], LIMITS) == expected).all()


def test_a_vector_is_that_of_the_crop(objects_day: Project) -> None:
    embedder = open_embedder("efficientnet-lite0")
    rows = [one for one in rows_of(objects_day, "embed") if number_of(one) == 4]
    with objects_day.place() as place:
        images = [decode_crop(data, LIMITS) for _, data in iter_crops(place.lake, pa.Table.from_pylist(rows), [])]
    found = np.array([one["vector"] for one in rows], np.float32)
    assert found == pytest.approx(embedder.embed(images), abs=1e-5)
    assert {"object", "ordinal", "placed", "why", "crop_pack"} <= rows[0].keys()
    assert not {"space", "class_scores"} & rows[0].keys()


def test_the_index_holds_every_object_with_its_box_and_its_offers(objects_day: Project) -> None:
    merged = rows_of(objects_day, "merge")
    expected = rows_of(objects_day, "crop")
    columns = ("id", "object", "ordinal", "x0", "y0", "x1", "y1", "width", "height", "score", "detected")
    assert sorted(tuple(one[name] for name in columns) for one in merged) == sorted(
        tuple(one[name] for name in columns) for one in expected
    )
    assert all(one["why"] for one in merged)
    sku_of = {one["object"]: one["sku"] for one in expected}
    assert all([offer["sku"] for offer in one["offers"]] == [sku_of[one["object"]]] for one in merged)


def test_a_dropped_object_is_traced_to_its_picture(objects_day: Project) -> None:
    with objects_day.place() as place:
        found = {
            task: list(dropped_items(place.store, place.lake, place.topology, None, task, DAY_1, None))
            for task in ("detect", "crop")
        }
    assert sorted((one["sku"], one["reason"]) for one in found["detect"]) == [("s1", "no_object"), ("s2", "low_score")]
    assert "the best of its candidates has score 0.29" in next(
        one["detail"] for one in found["detect"] if one["sku"] == "s2"
    )
    assert [(one["sku"], one["reason"]) for one in found["crop"]] == [("s6", "too_small")] * 2
    assert sorted(one["item"].partition("#")[2] for one in found["crop"]) == ["0", "1"]
    assert all("8x8 px, the least is 10" in one["detail"] for one in found["crop"])


def test_a_day_without_any_object_books_every_picture(tmp_path: Path) -> None:
    project = square_project(tmp_path / "project")
    project.manifest(DAY_1, drawn_rows(project, {3: {9: 1.0}}))
    project.manifest(DAY_2, drawn_rows(project, {number: {} for number in range(20, 24)}))
    run_here(project, DAY_1, DAY_2)
    (detected,) = records(project, "detect", date_from=DAY_2)
    assert not any(one.input for one in records(project, "embed", date_from=DAY_2))
    assert (detected.input, detected.output, detected.produced) == (4, 0, 0)
    assert detected.dropped == {"no_object": 4}
    assert detected.metrics["objects_per_picture"] == 0
    assert "mean_score" not in detected.metrics
    assert faults(project) == []


def residuals(project: Project) -> dict[str, int]:
    with project.place() as place:
        found = balance(place.topology, gather_books(place.store, place.topology, DAY_1, DAY_1))
    return {one.where: one.residual for one in found.residuals}


def run_until_crop(project: Project) -> None:
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        for tasks in ((task,) for task in place.topology.order[: place.topology.order.index("crop") + 1]):
            work_off(place, plan, tasks=tasks)


def test_a_detector_gone_wild_breaks_the_ratio_and_nothing_else(tmp_path: Path) -> None:
    project = square_project(tmp_path / "project", package_items=1)
    project.configure(detect={"detector": str(another_version(tmp_path / "wild", topk=400))})
    project.manifest(DAY_1, drawn_rows(project, {1: many(55), 2: many(50)}))
    run_until_crop(project)
    found = residuals(project)
    assert list(found.values()) == [5]  # 55 objects of one picture, 50 may be
    assert next(iter(found)).startswith("listing -> crop 000")


def test_the_same_detector_gives_an_old_day_its_ids_again_and_a_new_one_others(
    objects_day: Project, copy_of: Copy, tmp_path: Path
) -> None:
    project = copy_of(objects_day)
    before = {one["object"]: one["id"] for one in rows_of(project, "detect")}
    (again,) = run_here(project, DAY_1, kind=PlanKind.RERUN, promote=True, source=None, tasks=("detect",))
    assert again.state is PlanState.PROMOTED
    assert {one["object"]: one["id"] for one in rows_of(project, "detect")} == before
    newer = another_version(tmp_path / "newer", score_thr=0.65)
    project.configure(detect={"detector": str(newer)})
    with project.place() as place:
        changed = {one.why for one in find_stale(place.store, place.topology) if one.task == "detect"}
    old, new = detector_version(str(DETECTOR)), detector_version(str(newer))
    assert changed == {f"detector changed ({old} then, {new} now)"}
    run_here(project, DAY_1, kind=PlanKind.RERUN, promote=True, source=None, tasks=("detect",))
    after = {one["object"]: one for one in rows_of(project, "detect")}
    newer_ids = range(ALL + 1, 2 * ALL)  # the threshold is higher: of picture 4 one object less
    assert sorted(one["id"] for one in after.values()) == list(newer_ids)
    assert {one["id"] for one in rows_of(project, "merge")} <= set(newer_ids)
    with store_of(project) as store:
        resolved = resolve_ids(store, before.values())
    assert {number: found.detector for number, found in resolved.items()} == dict.fromkeys(before.values(), old)
    assert faults(project) == []


def test_a_picture_that_no_longer_decodes_is_dropped_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = square_project(tmp_path / "project")
    project.manifest(DAY_1, drawn_rows(project, {3: {9: 1.0}, 4: {9: 1.0, 33: 1.0}}))
    poison = (project.folder / "pictures/4.png").read_bytes()
    monkeypatch.setattr(
        "pipeline.tasks.detect.iter_pictures",
        lambda lake, rows, drops: (
            (i, data[:300] if data == poison else data) for i, data in iter_pictures(lake, rows, drops)
        ),
    )
    run_until_crop(project)
    (detected,) = records(project, "detect")
    assert (detected.output, detected.produced, detected.dropped) == (1, 1, {"decode_error": 1})
    assert residuals(project) == {}


def test_a_picture_of_two_offers_gives_both_to_each_object_of_their_category(tmp_path: Path) -> None:
    project = square_project(tmp_path / "project")
    path = project.picture("pair.png", squares(7, {9: 1.0, 33: -1.0}))
    project.manifest(DAY_1, [row(path, "left", category="red"), row(path, "right", category="red", merchant="bolt")])
    run_here(project, DAY_1)
    merged = rows_of(project, "merge")
    assert [sorted(offer["sku"] for offer in one["offers"]) for one in merged] == [["left", "right"]] * 2
    assert {offer["category"] for one in merged for offer in one["offers"]} == {"red"}
    assert faults(project) == []
