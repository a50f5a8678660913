"""The hash of its rows that a manifest notes is never believed, and no whole index is held to look at it."""

from __future__ import annotations

import datetime as dt
import tracemalloc

import numpy as np
import pytest

from pipeline.index.lists import read_rows, rows_sha256
from pipeline.index.merge import merge_digest, merge_to
from pipeline.index.opened import open_file
from pipeline.index.quantizer import from_bytes, to_bytes, train_quantizer
from pipeline.index.shard import build_shard
from pipeline.index.shard_folder import write_shard
from pipeline.index.verify import verify_days, verify_shards
from reporting.errors import ContractViolation
from tests.pipeline.shard_parts import CATEGORY, DAY, SPACE, bytes_of, part, quantizer, unit

LIE = "c" * 64


def test_a_whole_shard_whose_manifest_notes_another_hash_of_its_rows_is_refused_and_nothing_is_written(tmp_path):
    honest, lying = part(range(40), unit(40)), part(range(40, 80), unit(40, seed=1), day=1, rows_sha256=LIE)
    said = f"shard {CATEGORY}/2026-03-02: rows_sha256 is [0-9a-f]{{64}}, expected {LIE}"
    with pytest.raises(ContractViolation, match=said):
        merge_digest(quantizer(), [honest, lying], category=CATEGORY, space_id=SPACE)
    with pytest.raises(ContractViolation, match=said):
        merge_to(tmp_path / "m.faiss", quantizer(), [honest, lying], category=CATEGORY, space_id=SPACE)
    assert list(tmp_path.iterdir()) == []


def test_shards_of_which_one_notes_another_hash_are_verified_and_the_one_is_named(tmp_path):
    parts = [part(range(40), unit(40)), part(range(40, 80), unit(40, seed=1), day=1, rows_sha256=LIE)]
    found = verify_shards([write_shard(tmp_path, bytes_of(one), one.manifest) for one in parts])
    assert [(one["shard"], one["field"]) for one in found.violations] == [(parts[1].manifest.name, "rows_sha256")]
    assert found.sha256 is None


def test_days_are_verified_list_by_list_and_as_by_the_whole(tmp_path):
    rows, days = 20_000, 3
    vectors = unit(rows, dim=64)
    trained = to_bytes(train_quantizer(vectors, nlist=100))
    data = build_shard(trained, np.arange(rows), vectors)
    path = tmp_path / "m.faiss"
    path.write_bytes(data)
    ids = {DAY + dt.timedelta(day): np.arange(day, rows, days)[::-1] for day in range(days)}
    noted = {}
    for day, mine in ids.items():
        alone = read_rows(from_bytes(build_shard(trained, np.sort(mine), vectors[np.sort(mine)])))
        noted[day] = (len(mine), rows_sha256(alone))
    index = open_file(path)
    tracemalloc.start()
    assert verify_days(index, ids, noted, "m") == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(data) / 3
