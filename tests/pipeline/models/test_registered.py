"""Models of the version registry: found by name and number, frozen by a plan, verified, and gone with a release."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.category.gallery import DEFAULT_GALLERY, open_gallery
from pipeline.category.gallery import SHIPPED as SHIPPED_GALLERIES
from pipeline.lake import Lake
from pipeline.models.catalog import (
    DEFAULT_DETECTOR,
    DEFAULT_EMBEDDER,
    SHIPPED,
    detector_version,
    open_embedder,
    resolve,
)
from pipeline.models.registered import find_registered, pinned_label, use_registry, vetted
from pipeline.models.spec import load_spec, write_spec
from pipeline.release.consumer import Consumer
from pipeline.release.manifest import Waiver
from pipeline.release.pointer import current
from pipeline.release.registry import publish_resource
from pipeline.release.resources import Resource
from pipeline.serve.generation import Generation
from pipeline.tasks import with_registered_versions
from reporting.errors import ConfigError, ContractViolation
from reporting.stores.base import RecordQuery
from tests.pipeline.project import DAY_1, draw, new_project, row, run_here
from tests.pipeline.searchable import encoded

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "lake"
    root.mkdir()
    use_registry(root)
    yield root
    use_registry(None)


def publish(root: Path, business: str, name: str, folder: Path) -> Resource:
    facts, after = vetted(business, name, folder)
    waiver = Waiver(by="ana", why="a test of the registry", at=NOW, instead_of="no verdict")
    return publish_resource(root, business, name, folder, at=NOW, waiver=waiver, facts=facts, after=after)


def copy_of_model(name: str, folder: Path, **changes: object) -> Path:
    """Copy a shipped model; a changed mean gives another feature space."""
    shutil.copytree(SHIPPED / name, folder)
    spec = load_spec(folder)
    write_spec(spec.model_copy(update=changes), folder)
    return folder


def other_input(name: str) -> object:
    spec = load_spec(SHIPPED / name)
    return spec.input.model_copy(update={"mean": (1.0, 2.0, 3.0)})


def test_a_name_means_the_registry_s_stable_version_and_a_number_that_version_or_the_shipped_one(registry, tmp_path):
    shipped = load_spec(SHIPPED / DEFAULT_EMBEDDER)
    assert resolve(DEFAULT_EMBEDDER)[0].ref == shipped.ref
    folder = copy_of_model(DEFAULT_EMBEDDER, tmp_path / "new", input=other_input(DEFAULT_EMBEDDER))
    made = publish(registry, "model", DEFAULT_EMBEDDER, folder)
    assert made.number == shipped.version + 1  # never the number of what is shipped: a label means one model
    spec, where = resolve(DEFAULT_EMBEDDER)
    assert (str(spec.ref), spec.space_id) == (made.label, load_spec(folder).space_id)
    assert where.is_relative_to(registry)
    assert resolve(str(shipped.ref)) == (shipped, SHIPPED / DEFAULT_EMBEDDER)
    assert resolve(made.label) == (spec, where)
    with pytest.raises(ConfigError, match="the registry has no such version"):
        resolve(f"{DEFAULT_EMBEDDER}@7")
    with pytest.raises(ConfigError, match="no number of a version"):
        resolve(f"{DEFAULT_EMBEDDER}@beta")


def test_who_needs_a_space_gets_the_version_that_answers_in_it_whatever_is_stable(registry, tmp_path):
    old = load_spec(SHIPPED / DEFAULT_EMBEDDER).space_id
    folder = copy_of_model(DEFAULT_EMBEDDER, tmp_path / "new", input=other_input(DEFAULT_EMBEDDER))
    publish(registry, "model", DEFAULT_EMBEDDER, folder)
    new = load_spec(folder).space_id
    assert open_embedder(DEFAULT_EMBEDDER).space_id == new
    assert open_embedder(DEFAULT_EMBEDDER, space_id=old).space_id == old
    assert open_embedder(f"{DEFAULT_EMBEDDER}@1", space_id=new).space_id == new
    assert open_embedder(DEFAULT_EMBEDDER, space_id="0" * 16).space_id == new  # nobody does: the caller says so


def test_a_detector_and_a_gallery_come_from_the_registry_too(registry, tmp_path):
    before = detector_version(DEFAULT_DETECTOR)
    folder = copy_of_model(DEFAULT_DETECTOR, tmp_path / "detector", input=other_input(DEFAULT_DETECTOR))
    publish(registry, "model", DEFAULT_DETECTOR, folder)
    assert detector_version(DEFAULT_DETECTOR) != before
    assert detector_version(f"{DEFAULT_DETECTOR}@1") == before
    shutil.copytree(SHIPPED_GALLERIES / DEFAULT_GALLERY, tmp_path / "gallery")
    made = publish(registry, "gallery", "mine", tmp_path / "gallery")
    assert open_gallery("mine").spec == open_gallery(DEFAULT_GALLERY).spec == open_gallery(made.label).spec


def test_a_version_whose_file_was_exchanged_is_refused_by_name_and_never_loaded(registry, tmp_path):
    made = publish(registry, "model", DEFAULT_EMBEDDER, copy_of_model(DEFAULT_EMBEDDER, tmp_path / "new"))
    (artifact,) = [one for one in made.files if one.path == "model.onnx"]
    path = next(registry.glob(f"objects/*/{artifact.sha256}"))
    path.chmod(0o644)
    path.write_bytes(b"another graph")
    with pytest.raises(ContractViolation, match=artifact.path):
        find_registered("model", DEFAULT_EMBEDDER)


def test_what_is_no_model_or_one_of_another_name_is_not_published(registry, tmp_path):
    folder = copy_of_model(DEFAULT_EMBEDDER, tmp_path / "new")
    with pytest.raises(ConfigError, match="holds the model 'efficientnet-lite0', expected 'lite9'"):
        vetted("model", "lite9", folder)
    (folder / "spec.json").write_text("{}")
    with pytest.raises(ConfigError, match="not a model spec"):
        vetted("model", DEFAULT_EMBEDDER, folder)
    with pytest.raises(ConfigError):
        vetted("gallery", "g", folder)
    assert vetted("dictionary", "words", folder) == ({}, 0)


def test_names_are_pinned_to_numbers_only_where_the_registry_has_them(registry, tmp_path):
    assert pinned_label("model", DEFAULT_EMBEDDER) == DEFAULT_EMBEDDER
    made = publish(registry, "model", DEFAULT_EMBEDDER, copy_of_model(DEFAULT_EMBEDDER, tmp_path / "new"))
    assert pinned_label("model", DEFAULT_EMBEDDER) == made.label
    assert pinned_label("model", f"{DEFAULT_EMBEDDER}@1") == f"{DEFAULT_EMBEDDER}@1"
    assert pinned_label("model", f"own/{DEFAULT_EMBEDDER}") == f"own/{DEFAULT_EMBEDDER}"


@pytest.mark.slow
def test_a_day_books_the_registry_s_version_and_its_release_carries_the_model_to_a_consumer(tmp_path):
    project = new_project(tmp_path / "project")
    project.manifest(DAY_1, [row(project.drawn(number), f"s{number}") for number in range(3)])
    root = project.folder / "lake"
    root.mkdir()
    folder = copy_of_model(DEFAULT_EMBEDDER, tmp_path / "new", input=other_input(DEFAULT_EMBEDDER))
    try:
        use_registry(root)
        made = publish(root, "model", DEFAULT_EMBEDDER, folder)
        with project.place() as place:
            plain = place.topology
            frozen = with_registered_versions(plain)
            run_here(project, DAY_1)
            records = place.store.records(RecordQuery(tasks=("embed",)))
            (plan,) = place.store.plans()
        released = current(root)
        assert released is not None
        home = tmp_path / "home"
        Consumer(str(root), home).poll()
        use_registry(home)
        at_home = current(home)
        assert at_home is not None
        generation = Generation(Lake(str(home)), at_home.categories, at_home.front)
        (hits,) = generation.search([encoded(draw(1))], 1)
        embedder = generation.embedders()[0]
    finally:
        use_registry(None)
    assert frozen.tasks["embed"].settings["model"] == made.label
    assert plain.tasks["embed"].settings.get("model") is None
    assert made.label in str(plan.config)
    assert {record.versions["model"] for record in records if record.input} == {made.label}
    assert [(ref.business, ref.name, ref.version) for ref in released.resources] == [("model", made.name, made.number)]
    assert {entry.model for entry in released.categories.values()} == {made.label}
    assert round(hits[0].distance, 5) == 0.0
    assert embedder.space_id == load_spec(folder).space_id
    assert next(home.glob(f"resources/model/{made.name}/*/model.onnx")).is_file()
