"""Merging: the bytes depend on the kept rows alone, and what was published is never touched."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import pipeline.index.merge as merging
from pipeline.index.lists import index_vectors, read_rows, rows_sha256
from pipeline.index.merge import MergedIndex, ShardPart, merge_digest, merge_to
from pipeline.index.opened import open_file
from pipeline.index.quantizer import fingerprint, from_bytes, to_bytes, train_quantizer
from pipeline.index.search import search_index
from pipeline.index.shard import build_shard
from pipeline.index.stream import Written
from reporting.errors import ContractViolation, StoreError
from tests.pipeline.shard_parts import CATEGORY, DAY, SPACE, bytes_of, on_disk, part, quantizer, unit


def digest(parts, trained=None) -> MergedIndex:
    return merge_digest(trained or quantizer(), parts, category=CATEGORY, space_id=SPACE)


def write(path: Path, parts, trained=None) -> MergedIndex:
    return merge_to(path, trained or quantizer(), parts, category=CATEGORY, space_id=SPACE)


def three_days() -> list[ShardPart]:
    return [part(range(day * 50, day * 50 + 50), unit(50, seed=day), day=day) for day in range(3)]


def test_what_is_written_is_what_the_digest_said_and_one_build_of_all_rows(tmp_path):
    parts = on_disk(three_days(), tmp_path / "shards")
    said = digest(parts)
    assert write(tmp_path / "m.faiss", parts[::-1]) == said
    data = (tmp_path / "m.faiss").read_bytes()
    assert data == build_shard(quantizer(), np.arange(150), np.concatenate([unit(50, seed=day) for day in range(3)]))
    assert (said.sha256, said.bytes, said.rows) == (hashlib.sha256(data).hexdigest(), len(data), 150)
    assert (said.fingerprint, said.codec) == (fingerprint(from_bytes(quantizer())), "flat")
    assert (said.dim, said.nlist, said.category, said.space_id) == (8, 5, CATEGORY, SPACE)


def test_each_day_is_noted_with_its_rows_and_their_hash_whole_or_cut():
    whole, cut = part(range(40), unit(40)), part(range(40, 80), unit(40, seed=1), day=1, keep=range(45, 80, 5))
    none = part(range(80, 90), unit(10, seed=2), day=2, keep=[])
    days = digest([whole, cut, none]).days
    kept = build_shard(quantizer(), np.arange(45, 80, 5), unit(40, seed=1)[5::5])
    assert days[DAY] == (40, rows_sha256(read_rows(from_bytes(bytes_of(whole)))))
    assert days[DAY + dt.timedelta(1)] == (7, rows_sha256(read_rows(from_bytes(kept))))
    assert days[DAY + dt.timedelta(2)] == (0, hashlib.sha256().hexdigest())


def test_a_day_in_two_shards_is_noted_as_one_and_a_missing_note_is_computed():
    vectors = unit(60)
    halves = [part(range(a, 60, 2), vectors[a::2]) for a in (0, 1)]
    together = part(range(60), vectors, rows_sha256=None)
    assert digest(halves) == digest([together])
    assert digest(halves).days[DAY] == (60, rows_sha256(read_rows(from_bytes(bytes_of(together)))))


@pytest.mark.data
def test_on_sift_a_merge_of_days_equals_one_build_and_finds_every_vector(shared_data, tmp_path):
    table = np.loadtxt(shared_data / "sift5k" / "sift-dataset-5k.tsv.gz", dtype=np.float32, ndmin=2)[:, :128]
    vectors = table / np.linalg.norm(table, axis=1, keepdims=True)
    ids = np.random.default_rng(5).permutation(len(vectors)).astype(np.int64)
    trained = to_bytes(train_quantizer(vectors, nlist=64))
    cuts = [0, 1, 20, 700, 700, 3100, 5000]  # days of 1, 19, 0 and thousands of rows
    parts = [
        part(ids[a:b], vectors[a:b], day=day, trained=trained) for day, (a, b) in enumerate(itertools.pairwise(cuts))
    ]
    write(tmp_path / "m", parts[::-1], trained)
    assert (tmp_path / "m").read_bytes() == build_shard(trained, ids, vectors)
    distances, found = search_index(open_file(tmp_path / "m"), vectors[:500], 1, 1)
    assert np.all(distances[:, 0] < 1e-6)
    assert (found[:, 0] == ids[:500]).mean() > 0.99  # the rest have an exact copy with a lower id
    got_ids, got = index_vectors(open_file(tmp_path / "m"))
    np.testing.assert_array_equal(got, vectors[np.argsort(ids)])
    np.testing.assert_array_equal(got_ids, np.arange(5000))


def test_no_part_and_empty_shards_give_the_empty_index(tmp_path):
    empty = hashlib.sha256(quantizer()).hexdigest()
    assert digest([]).sha256 == digest([part([], unit(0))]).sha256 == digest([part([7], unit(1), keep=[])]).sha256
    assert write(tmp_path / "deep" / "er" / "m", []).sha256 == empty
    assert (tmp_path / "deep" / "er" / "m").read_bytes() == quantizer()


def test_the_file_is_read_only_and_alone_in_its_folder(tmp_path):
    write(tmp_path / "m", three_days())
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o444
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_file_that_holds_these_bytes_already_is_not_written_again(tmp_path):
    first = write(tmp_path / "m", three_days())
    before = (tmp_path / "m").stat()
    assert write(tmp_path / "m", three_days()) == first
    assert ((tmp_path / "m").stat().st_ino, (tmp_path / "m").stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_content_is_never_overwritten_also_when_it_comes_while_we_write(tmp_path, monkeypatch):
    (tmp_path / "m").write_bytes(b"served")
    with pytest.raises(ContractViolation, match=r"m: is there already with sha256 \w{64}, expected"):
        write(tmp_path / "m", three_days())
    assert (tmp_path / "m").read_bytes() == b"served"
    link = os.link
    monkeypatch.setattr(os, "link", lambda old, new: (new.write_bytes(b"faster"), link(old, new)))
    with pytest.raises(ContractViolation, match="is there already"):
        write(tmp_path / "late", three_days())
    assert (tmp_path / "late").read_bytes() == b"faster"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["late", "m"]


def test_a_contract_broken_or_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    with pytest.raises(ContractViolation, match="category is hats, expected shoes"):
        write(tmp_path / "m", [part([1], unit(1), category="hats")])
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match=r"the merged index was not written: .*No space left"):
        write(tmp_path / "m", three_days())
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_would_answer_otherwise_than_the_shards_gets_no_name(tmp_path, monkeypatch):
    parts = three_days()

    def of_another_world(trained, opened, out, *, progress=None) -> Written:
        other = build_shard(trained, np.arange(150), unit(150, seed=77))
        out.write(other)
        return Written(sha256="0" * 64, bytes=len(other), rows=150, nlist=5, days={})

    monkeypatch.setattr(merging, "write_canonical", of_another_world)
    with pytest.raises(ContractViolation, match="150 of 150 stored vectors find other neighbours than over the shards"):
        write(tmp_path / "m", parts)
    assert list(tmp_path.iterdir()) == []


def test_merges_of_one_index_at_once_write_it_once(tmp_path):
    parts, results = three_days(), []
    threads = [threading.Thread(target=lambda: results.append(write(tmp_path / "m", parts))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(set(map(str, results))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_progress_counts_bytes_up_to_all_of_them(tmp_path):
    told: list[tuple[int, int]] = []
    merged = merge_to(
        tmp_path / "m", quantizer(), three_days(), category=CATEGORY, space_id=SPACE,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told[-1] == (merged.bytes, merged.bytes)
    assert told == sorted(told)
