"""The spec is the contract: closed, verified against the artifact, and the one source of the feature space's name."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.models.catalog import DEFAULT_EMBEDDER, SHIPPED
from pipeline.models.spec import ModelSpec, load_spec, sha256_of, write_spec
from reporting.errors import ConfigError, DataError

SHIPPED_FOLDER = SHIPPED / DEFAULT_EMBEDDER


def shipped_spec() -> ModelSpec:
    return ModelSpec.model_validate_json((SHIPPED_FOLDER / "spec.json").read_text(encoding="utf-8"))


def changed(block: str | None, **values: Any) -> ModelSpec:
    content = json.loads((SHIPPED_FOLDER / "spec.json").read_text(encoding="utf-8"))
    (content[block] if block else content).update(values)
    return ModelSpec.model_validate(content)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED_FOLDER, tmp_path / "model"))


def test_the_shipped_spec_names_the_bytes_of_the_shipped_artifact() -> None:
    artifact = (SHIPPED_FOLDER / "model.onnx").read_bytes()
    assert load_spec(SHIPPED_FOLDER).artifact_sha256 == hashlib.sha256(artifact).hexdigest()
    assert len(artifact) < 7_000_000


def test_the_shipped_weights_carry_their_licence() -> None:
    text = (SHIPPED_FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert "Copyright (c) 2020, ML Illustrated" in text
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_space_id_of_the_shipped_model_is_the_one_indexes_were_built_with() -> None:
    # A change of this literal orphans every index built before it: bump the model's version and say so in CHANGELOG.
    assert shipped_spec().space_id == "0112b058be016dde"


def test_the_space_id_is_the_digest_of_root_input_and_output_without_defaults() -> None:
    spec = shipped_spec()
    canonical = (
        '{"input":{"color":"RGB","crop_ratio":0.875,"dtype":"float32","height":224,"interpolation":"bicubic",'
        '"layout":"NCHW","mean":[127.0,127.0,127.0],"resize":"shortest_crop","std":[128.0,128.0,128.0],"width":224},'
        '"output":{"dim":1280,"kind":"embedder","l2_normalised":true,"metric":"cosine","tensor":"pooled"},'
        f'"root":"{spec.root_sha256}"}}'
    )
    assert spec.space_id == hashlib.sha256(canonical.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("block", "values"),
    [
        ("input", {"color": "BGR"}),
        ("input", {"crop_ratio": 1.0}),
        ("input", {"resize": "stretch"}),
        ("input", {"mean": [123.675, 116.28, 103.53]}),
        ("input", {"width": 256}),
        ("output", {"transform": "signed_sqrt"}),
        ("output", {"dim": 640}),
        (None, {"root_sha256": "0" * 64}),
    ],
)
def test_whatever_moves_the_vectors_changes_the_space_id(block: str | None, values: dict[str, Any]) -> None:
    assert changed(block, **values).space_id != shipped_spec().space_id


@pytest.mark.parametrize(
    "values",
    [
        {"metrics": {"hit@1": 0.5}},
        {"version": 2},
        {"precision": "int8", "artifact_sha256": "1" * 64, "parent_sha256": "2" * 64},
        {"backend": "ncnn"},
        {"engine_env": {"versions": {"onnxruntime": "9"}}},
        {"code_commit": "abc"},
    ],
)
def test_what_a_variant_may_change_keeps_the_space_id(values: dict[str, Any]) -> None:
    assert changed(None, **values).space_id == shipped_spec().space_id


def test_a_spec_survives_the_round_trip_through_its_file(model_folder: Path) -> None:
    spec = shipped_spec()
    write_spec(spec, model_folder)
    assert load_spec(model_folder) == spec


def test_a_damaged_artifact_is_refused_with_both_hashes(model_folder: Path) -> None:
    artifact = model_folder / "model.onnx"
    content = bytearray(artifact.read_bytes())
    content[1000] ^= 1
    artifact.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_spec(model_folder)
    message = str(caught.value)
    assert shipped_spec().artifact_sha256 in message
    assert hashlib.sha256(content).hexdigest() in message
    assert "restore" in message


def test_a_missing_artifact_or_spec_names_the_file(model_folder: Path) -> None:
    (model_folder / "model.onnx").unlink()
    with pytest.raises(DataError, match=r"model\.onnx: no such file"):
        load_spec(model_folder)
    (model_folder / "spec.json").unlink()
    with pytest.raises(ConfigError, match=r"spec\.json: no such file"):
        load_spec(model_folder)


@pytest.mark.parametrize(
    ("block", "values", "field"),
    [
        ("input", {"colour": "RGB"}, "input.colour"),
        ("input", {"std": [128.0, 0.0, 128.0]}, "std must be > 0"),
        ("input", {"mean": [1.0, 2.0]}, "input.mean.2"),
        ("input", {"height": 0}, "input.height"),
        ("output", {"kind": "oracle"}, "oracle"),
        (None, {"artifact_sha256": "abc"}, "artifact_sha256"),
        (None, {"name": "../up"}, "name"),
        (None, {"version": 0}, "version"),
    ],
)
def test_a_wrong_spec_is_refused_by_file_and_field(
    model_folder: Path, block: str | None, values: dict[str, Any], field: str
) -> None:
    path = model_folder / "spec.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    (content[block] if block else content).update(values)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_spec(model_folder)
    assert str(path) in str(caught.value)
    assert field in str(caught.value)


def test_the_digest_of_a_file_longer_than_one_read_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000  # 2.3 MB, more than two reads of 1 MiB
    path = tmp_path / "file"
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()
