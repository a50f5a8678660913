"""Resources of any business: versions, channels, verified files."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.release.manifest import Decision
from pipeline.release.objects import ObjectStore
from pipeline.release.registry import (
    businesses,
    channels,
    point_channel,
    publish_resource,
    registered,
    resolve_resource,
    resource_names,
    rollback_resource,
)
from pipeline.release.resource_files import materialise
from reporting.errors import ConfigError, ContractViolation, DataError, GateRefused, StoreError, UsageError
from reporting.verdict import Outcome, Verdict
from tests.pipeline.releasing import DAY, NOW, WAIVED, files_under, model

WHY = Decision(by="ana", why="the second is bad", at=NOW)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def test_a_version_lists_every_file_with_size_sha256_and_md5_and_comes_back_byte_for_byte(lake: Path) -> None:
    made = model(lake, "a")
    source = lake.parent / "lake-lite0-a"
    assert [one.path for one in made.files] == ["deep/spec.json", "model.onnx"]
    for one in made.files:
        data = (source / one.path).read_bytes()
        assert one.bytes == len(data)
        assert one.sha256 == hashlib.sha256(data).hexdigest()
        assert one.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()
    rows = [[one.path, one.bytes, one.sha256] for one in made.files]
    assert made.sha256 == hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()
    assert (made.label, made.version, made.parent, made.waiver) == ("lite0@1", 1, None, WAIVED)
    folder = materialise(lake, made, lake)
    assert files_under(folder) == files_under(source)
    assert materialise(lake, made, lake) == folder


def test_a_single_file_is_a_resource_too_and_so_is_any_business(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("shoe\n")
    made = publish_resource(lake, "dictionary", "words", tmp_path / "words.txt", at=NOW, waiver=WAIVED)
    assert (materialise(lake, made, tmp_path / "home") / "words.txt").read_text() == "shoe\n"
    model(lake, "a")
    assert businesses(lake) == ["dictionary", "model"]
    assert resource_names(lake, "model") == ["lite0"]


def test_channels_name_versions_the_same_content_is_one_version_and_a_tried_one_moves_on(lake: Path) -> None:
    first, again = model(lake, "a"), model(lake, "a")
    assert first == again
    tried = model(lake, "b", channel="beta")
    assert (tried.number, tried.parent) == (2, None)
    assert channels(lake, "model", "lite0") == ["beta", "stable"]
    assert resolve_resource(lake, "model", "lite0") == first
    assert resolve_resource(lake, "model", "lite0", "beta") == resolve_resource(lake, "model", "lite0", 2) == tried
    assert point_channel(lake, "model", "lite0", "stable", 2) == tried
    assert resolve_resource(lake, "model", "lite0") == tried
    with pytest.raises(StoreError, match="cannot go back to 1: numbers only rise; roll back"):
        point_channel(lake, "model", "lite0", "stable", 1)


def test_a_rollback_is_a_new_version_with_old_content(lake: Path) -> None:
    first, second = model(lake, "a"), model(lake, "b")
    back = rollback_resource(lake, "model", "lite0", 1, decided=WHY)
    assert (back.number, back.parent, back.rollback_to, back.decided) == (3, 2, 1, WHY)
    assert (back.sha256, back.files, back.waiver) == (first.sha256, first.files, first.waiver)
    with pytest.raises(UsageError, match="has the content of version 1 already"):
        rollback_resource(lake, "model", "lite0", 1, decided=WHY)
    ObjectStore(lake).path(second.files[0].sha256).unlink()
    with pytest.raises(ContractViolation, match=r"deep/spec.json of its files are gone"):
        rollback_resource(lake, "model", "lite0", 2, decided=WHY)
    assert registered(lake, "model", "lite0") == back


def test_publishing_needs_a_pass_that_lists_the_content_or_a_waiver(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "w").write_text("weights")
    sha256 = model(tmp_path / "other", "x").sha256
    for verdict, said in [
        (None, "no verdict"),
        (_verdict(Outcome.FAIL, sha256), "FAIL"),
        (_verdict(Outcome.PASS, "c" * 64), "other inputs"),
    ]:
        with pytest.raises(GateRefused, match=f"a waiver instead of: {said}"):
            publish_resource(lake, "model", "w", tmp_path / "w", at=NOW, verdict=verdict)
    assert not lake.exists()
    rows = [["w", 7, hashlib.sha256(b"weights").hexdigest()]]
    content = hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()
    made = publish_resource(
        lake, "model", "w", tmp_path / "w", at=NOW, verdict=_verdict(Outcome.PASS, content), waiver=WAIVED
    )
    assert (made.sha256, made.verdict_id, made.waiver) == (content, "v", None)


def _verdict(outcome: Outcome, sha256: str) -> Verdict:
    return Verdict(verdict_id="v", date=DAY, planid="p", outcome=outcome, inputs={"weights": sha256}, decided_at=NOW)


def test_what_is_not_there_is_said_with_the_nearest_names(lake: Path) -> None:
    with pytest.raises(ConfigError, match="unknown model in the registry 'lite0'; none are declared"):
        resolve_resource(lake, "model", "lite0")
    assert registered(lake, "model", "lite0") is None
    model(lake, "a")
    with pytest.raises(ConfigError, match="unknown channel 'stabel'; did you mean stable"):
        resolve_resource(lake, "model", "lite0", "stabel")
    with pytest.raises(ConfigError, match="unknown version '2'"):
        resolve_resource(lake, "model", "lite0", 2)
    for bad in ("../x", "A", "", ".hidden", "a/b"):
        with pytest.raises(ConfigError, match="expected small letters"):
            resolve_resource(lake, "model", bad)


@pytest.mark.parametrize("damage", ["object", "laid out"])
def test_a_damaged_file_of_a_resource_is_named_and_never_used(lake: Path, tmp_path: Path, damage: str) -> None:
    made = model(lake, "a")
    if damage == "laid out":
        target = materialise(lake, made, tmp_path / "home") / "model.onnx"
    else:
        target = ObjectStore(lake).path(made.files[1].sha256)
    target.chmod(0o644)
    target.write_bytes(target.read_bytes()[:-1] + b"?")
    with pytest.raises(ContractViolation, match=r"model.onnx: has sha256 .*, expected .* for lite0@1"):
        materialise(lake, made, tmp_path / "home")


def test_a_missing_object_leaves_no_half_of_a_folder(lake: Path, tmp_path: Path) -> None:
    made = model(lake, "a")
    ObjectStore(lake).path(made.files[1].sha256).unlink()
    with pytest.raises(StoreError, match="lite0@1 cannot be laid out"):
        materialise(lake, made, tmp_path / "home")
    assert files_under(tmp_path / "home") == {}


def test_processes_that_lay_out_a_resource_at_once_agree(lake: Path, tmp_path: Path) -> None:
    made = model(lake, "a")
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: materialise(lake, made, tmp_path / "home"), range(16)))
    assert len(folders) == 1
    assert len(files_under(tmp_path / "home")) == 2


def test_a_folder_with_a_link_a_hidden_file_or_nothing_is_no_resource(lake: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(DataError, match="holds no file"):
        publish_resource(lake, "model", "x", folder, at=NOW, waiver=WAIVED)
    (folder / ".git").write_text("x")
    with pytest.raises(DataError, match="starts with a dot"):
        publish_resource(lake, "model", "x", folder, at=NOW, waiver=WAIVED)
    (folder / ".git").unlink()
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="links are not followed"):
        publish_resource(lake, "model", "x", folder, at=NOW, waiver=WAIVED)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="holds no file"):
        publish_resource(lake, "model", "x", folder, at=NOW, waiver=WAIVED)
