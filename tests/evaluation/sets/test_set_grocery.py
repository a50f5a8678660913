"""Real photos: the Grocery Store Dataset as an evaluation set, from its own lists and from the example's tables."""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from evaluation.building import Sources, build_set
from evaluation.catalog import Role
from evaluation.evalset import EvalSet, Gallery
from evaluation.leakage import near_copies
from evaluation.set_files import load_set, write_set
from evaluation.set_pictures import read_picture
from evaluation.set_report import report_of
from evaluation.validators import Severity, validate
from examples.grocery import make_source
from pipeline.images.dhash import dhash64

pytestmark = [pytest.mark.slow, pytest.mark.data]
GALLERY = Gallery(query_domain="phone photos in shops", gallery_domain="phone photos in shops and catalogue pictures")


def table(path: Path, columns: str, rows: Iterable[Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns.split(","))
        writer.writerows(rows)
    return path


def near_hash(data: bytes) -> str:
    value = dhash64(data).value
    return "" if value is None else f"{value:016x}"


@pytest.fixture(scope="module")
def grocery(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    """Queries: val. Products: the classes shown there. Distractors: the other 21 classes, and blood cells."""
    folder, data = tmp_path_factory.mktemp("grocery"), shared_data / "grocery"
    classes = make_source.read_classes(data)
    asked = {fine for _, fine in make_source.read_list(data, "val.txt")}

    def named(fine: str) -> tuple[str, str]:
        return classes[fine]["Class Name (str)"], classes[fine]["Coarse Class Name (str)"]

    photos = [(f"grocery/{path}", fine) for path, fine in make_source.read_list(data, "train.txt")]
    photos += [(f"grocery{row['Iconic Image Path (str)']}", fine) for fine, row in classes.items()]
    queries = [(f"grocery/{path}", *named(fine)) for path, fine in make_source.read_list(data, "val.txt")]
    catalog = [(path, *named(fine)) for path, fine in photos if fine in asked]
    others = [(path, *named(fine), "same_style") for path, fine in photos if fine not in asked]
    cells = sorted((shared_data / "bccd" / "JPEGImages").iterdir())
    others += [(f"bccd/JPEGImages/{path.name}", f"cell-{path.stem}", "cells", "noise") for path in cells]
    sources = Sources(
        queries=table(folder / "queries.csv", "path,group,category", queries),
        catalog=(table(folder / "catalog.csv", "path,group,category", catalog),),
        distractors=(table(folder / "others.csv", "path,group,category,role", others),),
        root=shared_data,
    )
    return build_set(sources, name="grocery", gallery=GALLERY)


def test_the_set_holds_what_the_lists_say_and_is_sound(grocery, shared_data, tmp_path):
    val = Counter(re.findall(r", (\d+), \d+$", (shared_data / "grocery" / "val.txt").read_text(), re.MULTILINE))
    train = Counter(re.findall(r", (\d+), \d+$", (shared_data / "grocery" / "train.txt").read_text(), re.MULTILINE))
    report = report_of(grocery)
    assert (report.counts["queries"], report.counts["clusters"]) == (296, 60) == (val.total(), len(val))
    assert report.counts["product"] == sum(train[fine] + 1 for fine in val)
    assert report.counts["same_style"] == sum(train[fine] + 1 for fine in train.keys() - val.keys())
    assert report.counts["noise"] == 364
    assert [fault for fault in report.faults if fault.severity is Severity.ERROR] == []
    assert {fault.code for fault in report.faults} == {"underpowered"}
    assert load_set(write_set(grocery, tmp_path)) == grocery
    assert read_picture(grocery, grocery.queries[0])[:2] == b"\xff\xd8"


def test_its_power_table_says_that_only_margins_of_two_to_eight_points_can_be_proven(grocery):
    report = report_of(grocery)
    rows = {row.slice: row for row in report.slices}
    assert (rows["all"].margin_pp, rows["all"].margin_pp_worst) == (
        {"0.01": 1.701, "0.02": 2.405, "0.05": 3.803},
        {"0.01": 4.87, "0.02": 5.343, "0.05": 8.448},
    )
    assert all(row.underpowered for row in rows.values())  # each coarse class has 3 to 29 queries
    assert {name for name in rows if name.startswith("freq=")} == {"freq=head"}  # every class has 15 pictures or more
    categories = {name: row.queries for name, row in rows.items() if name.startswith("category=")}
    assert (sum(categories.values()), min(categories.values())) == (296, 3)


def test_the_examples_own_tables_are_a_source(shared_data, tmp_path, monkeypatch):
    data = shared_data / "grocery"
    monkeypatch.setattr(sys, "argv", ["make_source.py", "--data", str(data), "--out", str(tmp_path)])
    make_source.main()
    noise = tmp_path / "others" / "noise"
    noise.mkdir(parents=True)
    for path in sorted((shared_data / "bccd" / "JPEGImages").iterdir())[:20]:
        (noise / path.name).write_bytes(path.read_bytes())
    sources = Sources(
        tmp_path / "queries.csv",
        catalog=(tmp_path / "source.csv",),
        distractors=(tmp_path / "others",),
        root=data,
    )
    found = build_set(sources, name="grocery", gallery=GALLERY)
    assert {fault.code for fault in validate(found)} == {"underpowered", "one_kind_of_distractor"}
    assert sum(image.role is Role.PRODUCT for image in found.catalog) == 2640 + 81
    assert len(found.queries) == 296
    assert found.catalog[0].image_id.startswith("distractors/noise/")
    assert all(read_picture(found, one) for one in (found.queries[0], found.catalog[0], found.catalog[-1]))


def test_a_photo_saved_anew_is_found_among_others_of_its_kind(shared_data, tmp_path):
    photos = sorted((shared_data / "grocery" / "val" / "Fruit" / "Apple").rglob("*.jpg"))
    group = tmp_path / "shop" / "fruit" / "apple"
    for folder in (group, tmp_path / "asked" / "fruit" / "apple"):
        folder.mkdir(parents=True)
    for number, path in enumerate(photos):
        side = group if number % 2 else tmp_path / "asked" / "fruit" / "apple"
        (side / path.name).write_bytes(path.read_bytes())
    with Image.open(photos[0]) as photo:
        photo.save(group / "anew.jpg", quality=60)
    sources = Sources(tmp_path / "asked", gallery_from=(tmp_path / "shop",))
    found = build_set(sources, name="apples", gallery=GALLERY, near_hash=near_hash)
    assert len(photos) == 22
    assert [names[:2] for names in near_copies(found)] == [(f"fruit/apple/{photos[0].name}", "fruit/apple/anew.jpg")]
    assert "leakage" not in {fault.code for fault in validate(found)}
