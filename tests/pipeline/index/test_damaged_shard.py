"""A shard that was damaged, be it by one bit, is built again in its place; the wrong one is kept aside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.index.merge import merge_digest
from pipeline.index.part import ShardPart
from pipeline.index.shard_folder import INDEX, MANIFEST, ShardFolder, find_shards, write_shard
from reporting.errors import ContractViolation, StoreError
from tests.pipeline.shard_parts import CATEGORY, SPACE, bytes_of, part, quantizer, unit


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def merged(shards: list[ShardFolder]) -> str:
    parts = [ShardPart(one.manifest, one.index, None) for one in shards]
    return merge_digest(quantizer(), parts, category=CATEGORY, space_id=SPACE).sha256


def written(root: Path) -> list[ShardFolder]:
    parts = [part(range(day * 30, day * 30 + 30), unit(30, seed=day), day=day) for day in range(2)]
    return [write_shard(root, bytes_of(one), one.manifest) for one in parts]


def test_a_damaged_shard_of_equal_size_is_refused_by_the_merge_and_mended_by_building_it_again(tmp_path):
    shards = written(tmp_path)
    before = merged(shards)
    kept = shards[0].index.stat().st_ino
    flip(shards[1].index)
    with pytest.raises(ContractViolation, match="shard shoes/2026-03-02: sha256"):
        merged(shards)
    again = written(tmp_path)
    assert merged(again) == before
    assert [one.path for one in again] == [one.path for one in shards]
    assert again[0].index.stat().st_ino == kept  # what was whole is not written again
    (aside,) = [path for path in shards[1].path.parent.iterdir() if path != shards[1].path]
    assert aside.name.startswith(f".damaged-{shards[1].path.name}-")
    assert [one.path for one in find_shards([tmp_path])] == [one.path for one in shards]


def cut(folder: Path) -> None:
    (folder / INDEX).chmod(0o644)
    os.truncate(folder / INDEX, 10)


def lose_index(folder: Path) -> None:
    (folder / INDEX).unlink()


def lose_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def lie(folder: Path) -> None:
    path = folder / MANIFEST
    text = path.read_text().replace('"rows": 30', '"rows": 31')
    path.chmod(0o644)
    path.write_text(text)


@pytest.mark.parametrize("damage", [cut, lose_index, lose_manifest, lie])
def test_whatever_is_wrong_with_it_the_shard_is_written_anew(tmp_path, damage):
    shards = written(tmp_path)
    before = merged(shards)
    damage(shards[0].path)
    assert merged(written(tmp_path)) == before


def test_a_shard_that_is_wanted_again_is_young_and_keeps_who_built_it_first(tmp_path):
    one = part(range(30), unit(30))
    first = write_shard(tmp_path, bytes_of(one), one.manifest.model_copy(update={"builder": "old"}))
    os.utime(first.path, (1_000_000_000, 1_000_000_000))
    again = write_shard(tmp_path, bytes_of(one), one.manifest.model_copy(update={"builder": "new", "attempt": 2}))
    assert again == first
    assert first.path.stat().st_mtime > 1_000_000_000


def test_the_parent_is_flushed_also_where_the_shard_is_there(tmp_path, monkeypatch):
    written(tmp_path)
    flushed: list[Path] = []
    monkeypatch.setattr("pipeline.index.shard_folder.flush_folder", flushed.append)
    shards = written(tmp_path)
    assert flushed == [one.path.parent for one in shards]


def test_what_a_sweep_has_condemned_and_a_killed_build_left_are_no_shards(tmp_path):
    shards = written(tmp_path)
    for name in (".swept-aaaa", ".writing-bbbb", ".damaged-cccc"):
        (shards[0].path.parent / name).mkdir()
        (shards[0].path.parent / name / MANIFEST).write_text("half of one")
    assert [one.path for one in find_shards([tmp_path])] == [one.path for one in shards]


def test_a_disk_that_refuses_is_said(tmp_path, monkeypatch):
    shards = written(tmp_path)
    flip(shards[0].index)

    def refuses(*_: object) -> None:
        raise PermissionError(13, "refused")

    monkeypatch.setattr(Path, "rename", refuses)
    with pytest.raises(StoreError, match="cannot be written: refused"):
        written(tmp_path)
