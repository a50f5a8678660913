"""categorise: objects go where gallery and detector say, the reason is kept, the source's word is compared."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from checks.kinds.version import VersionCheck
from checks.result import Status
from checks.scan import scan
from pipeline.category.decision import Decision
from pipeline.category.gallery import LabelledRow, open_gallery, seal, write_gallery
from pipeline.category.spec import FusionRules
from pipeline.images.crop import DEFAULT_MARGIN, DEFAULT_SIDE, crop_object, decode_crop, encode_crop
from pipeline.images.decode import DecodeLimits, Rgb
from pipeline.lake import Lake
from pipeline.models.catalog import open_embedder
from pipeline.partitions import Partitions
from pipeline.tasks import categorise
from pipeline.tasks.embed import vectors_of
from pipeline.tasks.pictures import iter_crops
from reporting.booking import Booking
from reporting.digest import Digest
from reporting.errors import DataError
from reporting.record import TaskRecord
from reporting.stores.base import RecordQuery
from reporting.testing import MOMENT, make_record
from tests.checks.judging import judged
from tests.pipeline.category.voting import ABOUT
from tests.pipeline.project import DAY_1, Project, plan_day, store_of, work_off
from tests.pipeline.squares import DETECTOR, GRID, box_of, square_project, squares

MODEL = "efficientnet-lite0"
LIMITS = DecodeLimits()
CELL = 9
DECLARED = {1: "red", 2: "red", 3: "red", 4: "", 5: "Blue/Things"}
SCORES = {1: {9: 0.9}, 2: {0: 0.8, 27: 1.0, 63: -0.9}, 3: {40: -0.8}, 4: {18: 0.7}, 5: {33: -0.6}}
"""Picture to its squares: red, or blue where negative; an object is called by its picture and its ordinal."""
RED, BLUE = {"1#0", "2#0", "2#2", "4#0"}, {"2#1", "3#0", "5#0"}


def write_colours(folder: Path, *, own: str = "", **rules: Any) -> Path:
    """Write a gallery of eight red and eight blue squares; `own` is the sku of the listing that all come from."""
    labels, pixels = [], []
    for number in range(16):
        name, sign = (("red", 1), ("blue", -1))[number % 2]
        labels.append(LabelledRow(name, f"{name}-{number}", "acme" if own else "", own))
        pixels.append(cut_square(100 + number, sign * (0.6 + number / 50)))
    embedder = open_embedder(MODEL)
    about = ABOUT._replace(name="colours", space_id=embedder.space_id)
    write_gallery(seal(embedder.embed(pixels), labels, about, FusionRules(**rules)), folder)
    return folder


def cut_square(number: int, score: float) -> Rgb:
    data = encode_crop(np.asarray(squares(number, {CELL: score})))
    return crop_object(data, box_of(CELL), margin=DEFAULT_MARGIN, side=DEFAULT_SIDE, limits=LIMITS)


def run_until_categorise(project: Project, *, then: tuple[str, ...] = ()) -> None:
    rows = [
        {
            "path": project.picture(f"{number}.png", squares(number, scores)),
            "sku": f"s{number}",
            "merchant": "acme",
            "category": DECLARED[number],
            "title": "A square",
            "listed": "true",
        }
        for number, scores in SCORES.items()
    ]
    project.manifest(DAY_1, rows)
    with project.place() as place:
        plan = plan_day(place, DAY_1)
        done = place.topology.order
        work_off(place, plan, tasks=(*done[: done.index("categorise") + 1], *then))


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A day of squares, categorised by detector and gallery, and embedded. Read only."""
    folder = tmp_path_factory.mktemp("categorise")
    project = square_project(folder / "day")
    project.configure(categorise={"by": "predicted", "gallery": str(write_colours(folder / "colours"))})
    run_until_categorise(project, then=("embed",))
    return project


def rows_by_category(project: Project) -> dict[str, pa.Table]:
    with project.place() as place:
        plan = place.store.plans()[0]
        (part,) = Partitions(place.store, place.topology, plan).of_task("categorise", DAY_1)
    files = (project.folder / "lake" / part.folder).glob("items-*.parquet")
    return {path.stem.removeprefix("items-"): pq.read_table(path) for path in files}


def records(project: Project) -> dict[str, TaskRecord]:
    with store_of(project) as store:
        return {one.key.category: one for one in store.records(RecordQuery(tasks=("categorise",)))}


def names_of(table: pa.Table) -> set[str]:
    """Return the objects of a table by the number of their picture: `2#1`."""
    numbers = [sku.removeprefix("s") for sku in table["sku"].to_pylist()]
    return {f"{number}#{ordinal}" for number, ordinal in zip(numbers, table["ordinal"].to_pylist(), strict=True)}


def test_every_object_goes_where_it_belongs_whatever_its_merchant_says(predicted: Project):
    found = rows_by_category(predicted)
    assert {name: names_of(table) for name, table in found.items()} == {"red": RED, "blue": BLUE, "other": set()}
    assert all(table["placed"].to_pylist() == [name] * table.num_rows for name, table in found.items())


def test_the_books_have_every_category_and_their_sums_are_what_crop_handed_on(predicted: Project):
    found = records(predicted)
    assert {name: (one.input, one.output, one.produced) for name, one in found.items()} == {
        "red": (4, 4, 4),
        "blue": (3, 3, 3),
        "other": (0, 0, 0),
    }
    with store_of(predicted) as store:
        (crop,) = store.records(RecordQuery(tasks=("crop",)))
    objects = {name: table["object"].to_pylist() for name, table in rows_by_category(predicted).items()}
    assert crop.produced == sum(one.input for one in found.values())
    assert crop.digest_out == str(Digest.of(name for names in objects.values() for name in names))
    assert {name: one.digest_in for name, one in found.items()} == {
        name: str(Digest.of(names)) for name, names in objects.items()
    }


def test_the_record_holds_its_column_of_the_confusion_and_who_agrees(predicted: Project):
    metrics = {name: one.metrics for name, one in records(predicted).items()}
    both = {"fell_back": 0, "not_declared": 0}
    assert metrics["red"] == both | {"declared_as_red": 3, "not_declared": 1, "detector_agrees": 4, "vote_agrees": 4}
    assert metrics["blue"] == both | {
        "declared_as_red": 2,
        "declared_as_Blue-Things": 1,
        "detector_agrees": 3,
        "vote_agrees": 3,
    }
    assert metrics["other"] == both | {"detector_agrees": 0, "vote_agrees": 0}


def test_the_record_names_the_gallery_and_its_space(predicted: Project):
    gallery = open_gallery(str(predicted.folder.parent / "colours"))
    for record in records(predicted).values():
        assert record.versions["gallery"] == f"colours@1:{gallery.spec.sha256[:16]}"
        assert record.versions["space"] == gallery.spec.space_id


def test_every_task_names_its_model_as_a_registry_does_so_that_edges_can_be_compared(predicted: Project):
    with predicted.place() as place:
        view = scan(place.store, place.topology, DAY_1, as_of=datetime.now(UTC))
    used = {(one.key.task, one.versions["model"]) for one in view.records if "model" in one.versions}
    assert used == {("detect", "square-detector@1"), ("categorise", f"{MODEL}@1"), ("embed", f"{MODEL}@1")}
    found = judged(VersionCheck, view, fields=["model"], tasks=["categorise", "embed"], along=True)
    assert found["categorise->embed model"].status is Status.PASS


def test_a_person_can_ask_each_object_why(predicted: Project):
    for name, table in rows_by_category(predicted).items():
        for text, row in zip(table["why"].to_pylist(), table.to_pylist(), strict=True):
            why = Decision.model_validate_json(text)
            assert (why.category, why.by) == (name, "fusion")
            assert why.declared == DECLARED[int(row["sku"][1:])].replace("/", "-")
            assert why.votes[name] > 0.5 < why.detector[name]
            assert why.reason.startswith(f"{sum(one == name for one in ['red'] * 8 + ['blue'] * 8)} of 16 neighbours")
            assert len(why.nearest) == 5


def test_each_row_has_the_vector_of_its_crop_and_what_else_its_picture_shows(predicted: Project):
    embedder = open_embedder(MODEL)
    lake = Lake(str(predicted.folder / "lake"))
    found = rows_by_category(predicted)
    for table in (found["red"], found["blue"]):
        crops = [decode_crop(data, LIMITS) for _, data in iter_crops(lake, table, [])]
        np.testing.assert_allclose(vectors_of(table), embedder.embed(crops), atol=1e-5)
        assert set(table["space"].to_pylist()) == {embedder.space_id}
        assert "class_scores" not in table.column_names
    elsewhere = {
        f"{row['sku'][1:]}#{row['ordinal']}": row["elsewhere"] for one in found.values() for row in one.to_pylist()
    }
    assert elsewhere == {name: [] for name in RED | BLUE} | {
        "2#0": ["blue", "red"],
        "2#1": ["red"],
        "2#2": ["blue", "red"],
    }


def test_the_listing_an_object_comes_from_does_not_vote(tmp_path: Path):
    """All rows of the gallery are of the listing s4, whose object only the detector can then place."""
    project = square_project(tmp_path / "day")
    project.configure(categorise={"by": "predicted", "gallery": str(write_colours(tmp_path / "colours", own="s4"))})
    run_until_categorise(project)
    why = {
        row["sku"]: Decision.model_validate_json(row["why"])
        for table in rows_by_category(project).values()
        for row in table.to_pylist()
    }
    assert (why["s4"].category, why["s4"].by, why["s4"].nearest) == ("red", "detector", ())
    assert {one.by for sku, one in why.items() if sku != "s4"} == {"fusion"}


def test_declared_categories_are_believed_and_nothing_is_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(categorise, "open_embedder", None)
    project = square_project(tmp_path / "day")
    run_until_categorise(project)
    found = rows_by_category(project)
    counts = {name: table.num_rows for name, table in found.items()}
    assert counts == {"red": 5, "other": 1, "Blue-Things": 1}
    assert not {"vector", "space", "class_scores"} & set(found["red"].column_names)
    metrics = {name: one.metrics for name, one in records(project).items()}
    assert metrics["red"] == {"declared_as_red": 5, "not_declared": 0}
    assert metrics["other"] == {"not_declared": 1}
    assert {Decision.model_validate_json(text).by for text in found["other"]["why"].to_pylist()} == {"declared"}


class Leaf:
    """As much of a leaf as `categorise` needs."""

    def __init__(self, lake: Lake, rows: pa.Table, categories: tuple[str, ...] = ("blue", "red", "other")):
        self.lake, self.key = lake, make_record("categorise").key
        detect = SimpleNamespace(settings={"detector": str(DETECTOR)})
        self.topology = SimpleNamespace(task=lambda _name: detect)
        self.books: dict[str, Booking] = {}
        self.written: dict[str, pa.Table] = {}
        self._rows, self._split = rows, SimpleNamespace(categories=categories)

    def read(self, *_: str) -> pa.Table:
        return self._rows

    def day_split(self) -> Any:
        return self._split

    def books_of(self, category: str) -> Booking:
        return self.books.setdefault(category, Booking(self.key, started_at=MOMENT))

    def write(self, name: str, table: pa.Table) -> None:
        self.written[name] = table


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with the crop of a red square in the pack `p.bin`."""
    lake = Lake(str(tmp_path / "lake"))
    lake.write_bytes("p.bin", encode_crop(cut_square(1, 0.9)))
    return lake


def crop_rows(lake: Lake, count: int = 1, **columns: Any) -> pa.Table:
    size = len(lake.read_bytes("p.bin"))
    usual = {"category": "red", "merchant": "acme", "sku": "s", "picture": "p", "class_scores": [0.9, 0.1]}
    place = {"crop_pack": "p.bin", "crop_offset": 0, "crop_bytes": size}
    rows = [{"item": f"i{n}", "object": f"i{n}#0", **usual, **place, **columns} for n in range(count)]
    return pa.Table.from_pylist(rows)


def run(leaf: Leaf, gallery: Path) -> None:
    categorise.run(leaf, categorise.Settings(gallery=str(gallery)))  # type: ignore[arg-type]


def test_no_object_at_all_still_books_every_category(lake: Lake, tmp_path: Path):
    leaf = Leaf(lake, crop_rows(lake).slice(0, 0))
    run(leaf, write_colours(tmp_path / "colours"))
    assert {name: table.num_rows for name, table in leaf.written.items()} == dict.fromkeys(
        ("items-blue", "items-red", "items-other", "dropped"), 0
    )
    assert [books.input_count for books in leaf.books.values()] == [0, 0, 0]
    assert leaf.written["items-red"]["vector"].type.list_size == 1280


def test_an_object_that_resembles_nothing_falls_back_and_is_counted(lake: Lake, tmp_path: Path):
    leaf = Leaf(lake, crop_rows(lake, class_scores=[]))
    run(leaf, write_colours(tmp_path / "colours", min_similarity=1.0))
    record = leaf.books["other"].close(finished_at=MOMENT)
    assert (record.output, record.metrics["fell_back"]) == (1, 1)
    why = Decision.model_validate_json(leaf.written["items-other"]["why"][0].as_py())
    assert (why.by, why.reason.split(";")[0]) == (
        "fallback", "nothing alike is labelled: the nearest is below 1.00"
    )  # fmt: skip


@pytest.mark.parametrize(("alpha", "category"), [(0.4, "red"), (1.0, "blue")])
def test_only_the_voter_that_would_have_said_so_agrees(lake: Lake, tmp_path: Path, alpha: float, category: str):
    leaf = Leaf(lake, crop_rows(lake, class_scores=[0.2, 0.8]))
    run(leaf, write_colours(tmp_path / "colours", alpha=alpha))
    metrics = leaf.books[category].close(finished_at=MOMENT).metrics
    assert leaf.written[f"items-{category}"].num_rows == 1
    assert (metrics["vote_agrees"], metrics["detector_agrees"]) == (category == "red", category == "blue")


def test_a_source_that_names_a_thousand_categories_books_the_most_frequent(lake: Lake, tmp_path: Path):
    rows = crop_rows(lake, 700)
    declared = [f"c{n % 350:03}" if n < 690 else "often" for n in range(700)]
    leaf = Leaf(lake, rows.set_column(rows.column_names.index("category"), "category", pa.array(declared)))
    categorise.run(leaf, categorise.Settings(by="declared"))  # type: ignore[arg-type]
    metrics = leaf.books["other"].close(finished_at=MOMENT).metrics
    named = {name: count for name, count in metrics.items() if name.startswith("declared_as_")}
    assert (len(named), named["declared_as_often"]) == (300, 10)
    assert Counter(named.values())[2] == 299


@pytest.mark.parametrize(
    ("columns", "space", "fault"),
    [
        ({"class_scores": [0.5, 0.3, 0.2]}, None, "has 3 class scores, detector .* has 2 classes: .* run detect again"),
        ({"class_scores": [1.5, 0.0]}, None, "gives 'red' the probability 1.5"),
        ({"crop_bytes": 40}, None, "the crop of i0#0 cannot be read: .* run crop again"),
        ({}, "f" * 16, "vectors of space ffffffffffffffff, but model .* build the gallery again"),
    ],
)
def test_what_does_not_belong_together_fails_and_says_what_to_run(
    lake: Lake, tmp_path: Path, columns: dict[str, Any], space: str | None, fault: str
):
    folder = write_colours(tmp_path / "colours")
    if space is not None:
        gallery = open_gallery(str(folder))
        about = ABOUT._replace(space_id=space)
        write_gallery(seal(gallery.stored, gallery.labels, about), folder)
    leaf = Leaf(lake, crop_rows(lake, **columns))
    with pytest.raises(DataError, match=fault):
        run(leaf, folder)
    assert leaf.written == {}


def test_the_square_pictures_hold_what_is_counted_above():
    assert sum(score > 0 for one in SCORES.values() for score in one.values()) == len(RED)
    assert sum(score < 0 for one in SCORES.values() for score in one.values()) == len(BLUE)
    assert all(0 <= cell < GRID * GRID for one in SCORES.values() for cell in one)
