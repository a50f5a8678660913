"""A day of several objects a picture, run to its release, and searched with the pictures it came from: real models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.category.gallery import LabelledRow, seal, write_gallery
from pipeline.category.spec import About, FusionRules
from pipeline.images.crop import crop_object
from pipeline.images.decode import DecodeLimits
from pipeline.lake import Lake
from pipeline.models.catalog import detector_version, open_embedder
from pipeline.models.spec import SPEC_NAME
from pipeline.release.pointer import current
from pipeline.serve.answer import Answer, answer_all
from pipeline.serve.front import front_of
from reporting.record import State
from reporting.stores.base import RecordQuery
from tests.pipeline.project import DAY_1, Project, run_here
from tests.pipeline.squares import DETECTOR, box_of, drawn_rows, square_project

pytestmark = pytest.mark.slow
MARGIN = 0.5
PICTURES = {number: {number * 7: 0.9, 63 - number: 0.7} for number in range(1, 7)}
"""Number to the scores of its two squares."""


class Ran(NamedTuple):
    project: Project
    detector: Path
    gallery: Path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A day whose categories are predicted: the objects of odd pictures are `odd`. Read only."""
    folder = tmp_path_factory.mktemp("searched")
    detector = Path(shutil.copytree(DETECTOR, folder / "detector"))
    project = square_project(folder / "project")
    rows = drawn_rows(project, PICTURES)
    embedder = open_embedder("efficientnet-lite0")
    crops, labels = [], []
    for number, cells in PICTURES.items():
        data = (project.folder / f"pictures/{number}.png").read_bytes()
        for cell in cells:
            crops.append(crop_object(data, box_of(cell), margin=MARGIN, side=256, limits=DecodeLimits()))
            labels.append(LabelledRow("odd" if number % 2 else "even", f"g{number}-{cell}"))
    about = About("mine", 1, "efficientnet-lite0", embedder.space_id, "squares", MARGIN, 256, "MIT", "")
    nearest_only = FusionRules(neighbours=1, alpha=0)  # red squares are much alike
    write_gallery(seal(embedder.embed(crops), labels, about, nearest_only), folder / "gallery")
    project.configure(
        detect={"detector": str(detector)},
        crop={"margin": MARGIN},
        categorise={"by": "predicted", "gallery": str(folder / "gallery")},
    )
    project.manifest(DAY_1, [{**one, "category": "even"} for one in rows])
    run_here(project, DAY_1)
    return Ran(project, detector, folder / "gallery")


def searched(project: Project, **options: Any) -> dict[int, Answer]:
    paths = [project.folder / f"pictures/{number}.png" for number in PICTURES]
    answers = answer_all(Lake(str(project.folder / "lake")), paths, 12, **options)
    return dict(zip(PICTURES, answers, strict=True))


def test_an_object_finds_itself_at_distance_0_in_the_category_it_was_put_in(ran: Ran) -> None:
    """Query and library must see equal pixels and decide alike: any difference shows in the last digit."""
    for number, found in searched(ran.project).items():
        best, second = PICTURES[number]
        category = "odd" if number % 2 else "even"
        assert (found.object.box, found.object.category) == (box_of(best), category)
        assert [other.box for other in found.others] == [box_of(second)]
        assert found.object.note == ""
        assert {hit.category for hit in found.results} == {category}
        hit = found.results[0]
        assert (hit.distance, hit.box) == (0.0, box_of(best))
        assert {offer.sku for offer in hit.offers} == {f"s{number}"}


def test_the_other_object_is_found_by_its_box(ran: Ran) -> None:
    for number, cells in PICTURES.items():
        box = box_of(list(cells)[1])
        found = searched(ran.project, box=box)[number]
        assert (found.object.box, found.results[0].distance, found.results[0].box) == (box, 0.0, box)


def test_the_front_was_judged_with_the_indexes_and_is_released_with_them(ran: Ran) -> None:
    with ran.project.place() as place:
        front = front_of(place.topology)
        (record,) = place.store.records(RecordQuery(tasks=("evaluate",)))
        verdicts = place.store.verdicts(record.key.planid)
    assert front is not None
    assert record.state is State.SUCCEEDED
    assert record.metrics["self_hit_at_1"] == 1.0
    assert record.input == len(PICTURES)  # only a picture's main object can be asked for by the picture
    assert [set(verdict.inputs) for verdict in verdicts] == [{"front", "ranking", "category=even", "category=odd"}]
    manifest = current(ran.project.folder / "lake")
    assert manifest is not None
    assert manifest.front == front
    assert front.detector_version == detector_version(str(ran.detector))


def test_models_that_were_replaced_after_the_release_are_refused_by_name(ran: Ran, tmp_path: Path) -> None:
    """In processes of their own: what a process has loaded stays loaded."""
    search = ("search", "pictures/1.png", "--json")
    spec = ran.detector / SPEC_NAME
    before = spec.read_text()
    spec.write_text(json.dumps(json.loads(before) | {"version": 2}))
    try:
        refused = ran.project.call(*search)
    finally:
        spec.write_text(before)
    name = json.loads(before)["name"]
    assert refused.returncode == 2
    assert f"is {name}@2:" in refused.stderr
    assert f"built with {name}@1:" in refused.stderr
    shutil.move(ran.gallery, tmp_path / "away")
    try:
        missing = ran.project.call(*search)
    finally:
        shutil.move(tmp_path / "away", ran.gallery)
    assert missing.returncode == 2
    assert str(ran.gallery) in missing.stderr
    assert ran.project.call(*search).returncode == 0
