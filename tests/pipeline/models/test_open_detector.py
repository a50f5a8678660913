"""Opening detectors: by name, by path, and what is refused before anything runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.images.decode import DecodeLimits
from pipeline.models import catalog
from pipeline.models.catalog import (
    DEFAULT_EMBEDDER,
    SHIPPED,
    WHOLE,
    detector_version,
    open_detector,
    open_embedder,
)
from pipeline.models.detections import Box, Found
from pipeline.models.detector import Detector, WholePicture
from pipeline.models.spec import sha256_of, write_spec
from reporting.errors import ConfigError, DataError
from tests.pipeline.models.blobs import BlobSession, detector_spec, encoded, scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder whose spec is a detector's and whose artifact is some graph."""
    found = tmp_path / "models" / "mine"
    found.mkdir(parents=True)
    shutil.copy(SHIPPED / DEFAULT_EMBEDDER / "model.onnx", found)
    write_spec(detector_spec(sha256=sha256_of(found / "model.onnx")), found)
    return found


def test_whole_names_no_model(tmp_path):
    assert isinstance(open_detector(WHOLE, folder=tmp_path), WholePicture)
    assert detector_version(WHOLE) == "whole-1"


def test_a_name_and_a_path_open_the_same_folder_once(folder, monkeypatch):
    named = open_detector("mine", folder=folder.parent)
    assert isinstance(named, Detector)
    assert open_detector(str(folder)) is named
    monkeypatch.chdir(folder.parent)
    assert open_detector("./mine") is named
    assert str(named.ref) == "blobs@1"
    assert named.version == detector_version("./mine") == detector_version("mine", folder=folder.parent)


def test_an_opened_detector_runs_what_the_catalog_loads(folder, monkeypatch):
    monkeypatch.setattr(catalog, "OrtSession", lambda path, threads: BlobSession())
    detector = open_detector(os.fspath(shutil.copytree(folder, folder.parent / "other")))
    (found,) = detector.detect([encoded(scene((90, 60), {"red": Box(8, 8, 40, 50)}))], DecodeLimits())
    assert isinstance(found, Found)
    assert [one.label for one in found.objects] == ["red"]


def test_an_unknown_name_is_refused_with_the_nearest(folder):
    with pytest.raises(ConfigError, match=r"unknown detector 'mini'; did you mean mine\?"):
        open_detector("mini", folder=folder.parent)
    with pytest.raises(ConfigError, match=r"a path has a slash in it.*unknown detector 'wholes'; did you mean whole\?"):
        open_detector("wholes")
    with pytest.raises(ConfigError, match=r"spec\.json: no such file"):
        open_detector(str(folder.parent / "absent"))
    with pytest.raises(ConfigError, match=r"spec\.json: no such file"):
        detector_version("./nowhere")


def test_models_of_the_other_kind_are_refused_both_ways(folder):
    with pytest.raises(ConfigError, match="answers as embedder, not as detector"):
        open_detector(DEFAULT_EMBEDDER)
    with pytest.raises(ConfigError, match="is a detector, not an embedder"):
        open_embedder("mine", folder=folder.parent)


def test_an_artifact_of_another_size_digest_or_kind_is_refused(folder):
    whole = (folder / "model.onnx").read_bytes()
    for damaged in (whole[:-1], whole[:1000] + b"\0" + whole[1001:], b""):
        (folder / "model.onnx").write_bytes(damaged)
        with pytest.raises(DataError, match=r"model\.onnx: sha256 is .*restore the folder of blobs@1"):
            open_detector(str(folder))
    (folder / "model.onnx").write_bytes(b"no graph")
    write_spec(detector_spec(sha256=sha256_of(folder / "model.onnx")), folder)
    with pytest.raises(DataError, match=r"model\.onnx: ONNX Runtime .* cannot load it"):
        open_detector(str(folder))
    (folder / "model.onnx").unlink()
    with pytest.raises(DataError, match=r"model\.onnx: no such file"):
        open_detector(str(folder))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("score_thr", 1.5, "less than or equal to 1"),
        ("nms_iou", "nan", "finite|valid number"),
        ("topk", 0, "greater than or equal to 1"),
        ("temperature", 0.0, "greater than 0"),
        ("classes", ["a", "a"], "classes must differ"),
        ("heat", "both", "agnostic"),
        ("anchors", 9, "Extra inputs"),
    ],
)
def test_a_spec_that_is_not_valid_is_refused_by_its_field(folder, key, value, says):
    content = json.loads((folder / "spec.json").read_text())
    content["output"][key] = value
    (folder / "spec.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=rf"spec\.json: not a model spec: output.*({says})"):
        open_detector(str(folder))


def test_heat_maps_of_classes_need_classes():
    assert detector_spec(classes=()).output
    with pytest.raises(ValidationError, match="needs a class for every heat map"):
        detector_spec(classes=(), heat="per_class")
