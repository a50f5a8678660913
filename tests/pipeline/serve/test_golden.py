"""Golden queries and sampled vectors: the same content gives the same bytes, and another index is found out."""

from __future__ import annotations

import base64
import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.serve.drawn_release import Shape, draw_category, unit_vectors
from pipeline.index.lists import index_vectors, read_rows
from pipeline.index.opened import OpenIndex, open_bytes
from pipeline.index.part import ShardPart
from pipeline.index.quantizer import to_bytes, train_quantizer
from pipeline.index.sample import sample_vectors
from pipeline.index.shard import build_shard, describe_shard
from pipeline.index.virtual import open_virtual
from pipeline.lake import Lake
from pipeline.release.golden import Golden, check_golden, golden_of
from pipeline.release.manifest import CategoryIndex
from pipeline.serve.generation import Generation
from reporting.errors import DataError

SHAPE = Shape(rows=200, dim=8, nlist=4, nprobe=2)


def entry_in(home: Path, seed: int) -> CategoryIndex:
    return draw_category(home, seed, 1000, shape=SHAPE, model="one@1", space_id="space-1")


def generation(home: Path, **entries: CategoryIndex) -> Generation:
    return Generation(Lake(str(home)), entries)


@pytest.fixture
def red(tmp_path: Path) -> CategoryIndex:
    return entry_in(tmp_path, 1)


def test_equal_content_gives_equal_bytes_and_passes_its_own_check(tmp_path: Path, red: CategoryIndex) -> None:
    data = golden_of(generation(tmp_path, red=red))
    assert data == golden_of(generation(tmp_path, red=red))
    assert check_golden(generation(tmp_path, red=red), data) == []


def test_the_stored_answers_are_those_of_brute_force_at_full_probe(tmp_path: Path, red: CategoryIndex) -> None:
    everywhere = red.model_copy(update={"nprobe": SHAPE.nlist})
    golden = Golden.model_validate_json(golden_of(generation(tmp_path, red=everywhere), per_category=9))
    of_it = golden.categories["red"]
    assert of_it.asked.shape == (9, SHAPE.dim)
    stored = unit_vectors(1, SHAPE.rows, SHAPE.dim).astype(np.float64)
    far = (1 - (of_it.asked.astype(np.float64)[:, None] * stored).sum(axis=2)).astype(np.float32)
    order = np.argsort(far, axis=1, kind="stable")[:, : of_it.k]
    assert of_it.found.tolist() == (order + 1000).tolist()
    np.testing.assert_allclose(of_it.far, np.take_along_axis(far, order, axis=1), atol=1e-6)
    assert (of_it.far[:5, 0] < 1e-6).all()  # five stored vectors
    assert (of_it.far[5:, 0] > 1e-3).any()  # and four that lie between


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 2}, "query 0: id"),
        ({"nprobe": 1}, "category 'red', query"),
        ({"space_id": "space-2"}, "feature space space-2, its golden queries of space-1"),
        ({"name": "blue"}, "category 'blue' has no golden queries"),
    ],
)
def test_another_index_setting_or_space_is_found_out(
    tmp_path: Path, red: CategoryIndex, change: dict[str, Any], said: str
) -> None:
    data = golden_of(generation(tmp_path, red=red))
    entry = entry_in(tmp_path, change["seed"]) if "seed" in change else red
    entry = entry.model_copy(update={key: value for key, value in change.items() if key in CategoryIndex.model_fields})
    wrong = check_golden(generation(tmp_path, **{change.get("name", "red"): entry}), data)
    assert any(said in line for line in wrong), wrong


def test_other_distances_of_the_same_ids_are_found_out(tmp_path: Path, red: CategoryIndex) -> None:
    data = json.loads(golden_of(generation(tmp_path, red=red)))
    golden = Golden.model_validate(data)
    moved = golden.categories["red"].far + np.float32(1e-3)
    data["categories"]["red"]["distances"] = base64.b64encode(moved.astype("<f4").tobytes()).decode()
    wrong = check_golden(generation(tmp_path, red=red), json.dumps(data).encode())
    assert wrong[0] == "category 'red', query 0: the same ids at other distances"


@pytest.mark.parametrize("data", [b"", b"{}", b'{"version": 2, "categories": {}}', b"\x80\x04N."])
def test_bytes_that_are_no_golden_queries_are_refused(tmp_path: Path, red: CategoryIndex, data: bytes) -> None:
    with pytest.raises(DataError, match="are no golden queries"):
        check_golden(generation(tmp_path, red=red), data)


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path, red: CategoryIndex) -> None:
    data = json.loads(golden_of(generation(tmp_path, red=red)))
    data["categories"]["red"]["ids"] = data["categories"]["red"]["ids"][:-108]  # a row of ten ids less, in base64
    with pytest.raises(DataError, match="are no golden queries"):
        check_golden(generation(tmp_path, red=red), json.dumps(data).encode())


@pytest.mark.parametrize("codec", ["flat", "sq8", "pq4x4", "opq4x4"])
@pytest.mark.parametrize("count", [1, 7, 64, 1000])
def test_sampled_vectors_are_stored_ones_spread_over_the_ids(codec: str, count: int) -> None:
    vectors = unit_vectors(3, 800, 16)
    index = open_bytes(build_shard(_quantizer(codec), np.arange(800, dtype=np.int64) * 7, vectors))
    ids, sampled, lengths = sample_vectors(index, count)
    assert len(ids) == min(count, 800)
    assert (np.diff(ids) > 0).all()
    all_ids, all_vectors = index_vectors(index)
    expected = all_vectors[np.searchsorted(all_ids, ids)]
    np.testing.assert_allclose(sampled * lengths[:, None], expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(sampled, axis=1), 1, atol=1e-6)
    rows = read_rows(index)
    if count == 64:  # every list that holds as many rows as lie between two samples has one
        lists = set(rows.list_numbers[np.isin(rows.ids, ids)].tolist())
        assert {number for number in range(2) if (rows.list_numbers == number).sum() > 12} <= lists


def _quantizer(codec: str) -> bytes:
    return to_bytes(train_quantizer(unit_vectors(3, 800, 16), nlist=2, codec=codec))


def test_of_a_virtual_index_only_rows_that_count_are_sampled() -> None:
    quantizer, vectors = _quantizer("sq8"), unit_vectors(3, 800, 16)
    parts = []
    for day, ids in enumerate((np.arange(400, dtype=np.int64), np.arange(400, 800, dtype=np.int64))):
        shard = build_shard(quantizer, ids, vectors[ids])
        manifest = describe_shard(shard, category="red", date=dt.date(2026, 11, 1 + day), space_id="space-1")
        parts.append(ShardPart(manifest, shard, ids[::5]))
    index = open_virtual(quantizer, parts)
    ids, sampled, _ = sample_vectors(index, 40)
    assert len(ids) == 40
    assert not (ids % 5).any()
    assert {int(number) // 400 for number in ids} == {0, 1}
    all_ids, all_vectors = index_vectors(index)
    expected = all_vectors[np.searchsorted(all_ids, ids)]
    np.testing.assert_allclose(sampled, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_an_empty_index_gives_no_vector() -> None:
    ids, vectors, _ = sample_vectors(OpenIndex(train_quantizer(unit_vectors(3, 800, 16), nlist=2)), 5)
    assert (ids.shape, vectors.shape) == ((0,), (0, 16))
