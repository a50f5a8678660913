"""Merge: a pure function of the kept rows, and a contract that raw faiss does not keep."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.index.lists import index_vectors
from pipeline.index.merge import ShardPart, merge_shards, open_shard
from pipeline.index.quantizer import from_bytes, to_bytes, train_quantizer
from pipeline.index.search import search_index
from pipeline.index.shard import build_shard, describe_shard
from reporting.errors import DataError

DAY = dt.date(2026, 3, 1)


def unit(rows: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


QUANTIZER = to_bytes(train_quantizer(unit(400), nlist=5))
EXACT = to_bytes(train_quantizer(unit(0), nlist=1))


def part(ids, vectors, *, day=0, quantizer=QUANTIZER, keep=None, **claims) -> ShardPart:
    ids = np.asarray(ids, np.int64)
    data = build_shard(quantizer, ids, vectors)
    manifest = describe_shard(data, category="shoes", date=DAY + dt.timedelta(day), space_id="lite0/1")
    kept = np.sort(ids) if keep is None else np.asarray(keep, np.int64)
    return ShardPart(manifest.model_copy(update=claims), data, kept)


def bytes_of(piece: ShardPart) -> bytes:
    assert isinstance(piece.index, bytes)
    return piece.index


def merge(parts, quantizer=QUANTIZER):
    return merge_shards(quantizer, parts, category="shoes", space_id="lite0/1")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_merge_is_byte_equal_to_one_shard_of_the_kept_rows_in_any_order(data):
    rows = data.draw(st.integers(0, 60))
    quantizer = data.draw(st.sampled_from([QUANTIZER, EXACT]))
    distinct = data.draw(st.integers(1, 60))  # few distinct vectors: exact ties in every list
    vectors = unit(distinct, seed=3)[np.arange(rows) % distinct]
    ids = np.array(data.draw(st.permutations(range(100, 100 + rows))), np.int64) * 2**40
    days = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)), np.int64)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), np.bool_)
    parts = [
        part(ids[days == day], vectors[days == day], day=day, quantizer=quantizer,
             keep=np.sort(ids[(days == day) & kept]))
        for day in range(4)
    ]  # fmt: skip
    merged = merge(data.draw(st.permutations(parts)), quantizer)
    assert merged.data == build_shard(quantizer, ids[kept], vectors[kept])
    assert merged.sha256 == hashlib.sha256(merged.data).hexdigest()
    assert merged.rows == kept.sum() == sum(merged.taken.values())
    np.testing.assert_array_equal(merged.ids, np.sort(ids[kept]))
    got_ids, got_vectors = index_vectors(from_bytes(merged.data))
    order = np.argsort(ids[kept])
    np.testing.assert_array_equal(got_ids, ids[kept][order])
    np.testing.assert_array_equal(got_vectors, vectors[kept][order])


@pytest.mark.data
def test_on_sift_a_merge_of_days_equals_one_build_and_finds_every_vector(shared_data):
    table = np.loadtxt(shared_data / "sift5k" / "sift-dataset-5k.tsv.gz", dtype=np.float32, ndmin=2)[:, :128]
    vectors = table / np.linalg.norm(table, axis=1, keepdims=True)
    ids = np.random.default_rng(5).permutation(len(vectors)).astype(np.int64)
    quantizer = to_bytes(train_quantizer(vectors, nlist=64))
    cuts = [0, 1, 20, 700, 700, 3100, 5000]  # days of 1, 19, 0 and thousands of rows
    parts = [
        part(ids[a:b], vectors[a:b], day=day, quantizer=quantizer)
        for day, (a, b) in enumerate(itertools.pairwise(cuts))
    ]
    merged = merge(parts[::-1], quantizer)
    assert merged.data == build_shard(quantizer, ids, vectors)
    index = from_bytes(merged.data)
    distances, found = search_index(index, vectors[:500], 1, 1)
    assert np.all(distances[:, 0] < 1e-6)
    assert (found[:, 0] == ids[:500]).mean() > 0.99  # the rest have an exact copy with a lower id


def test_a_merge_from_files_equals_a_merge_from_bytes(tmp_path):
    inside = [part(range(day * 50, day * 50 + 50), unit(50, seed=day), day=day) for day in range(3)]
    outside = []
    for number, piece in enumerate(inside):
        path = tmp_path / f"{number}.index"
        path.write_bytes(bytes_of(piece))
        outside.append(ShardPart(piece.manifest, path, piece.keep_ids))
    assert merge(outside).data == merge(inside).data


def test_no_part_and_empty_shards_give_an_empty_index():
    assert merge([]).data == merge([part([], unit(0))]).data == QUANTIZER
    assert merge([part([7, 8], unit(2), keep=[])]).taken == {DAY: 0}


def test_raw_faiss_merges_another_metric_silently_and_ours_refuses():
    inner = from_bytes(QUANTIZER)
    other = faiss.IndexIVFFlat(inner.quantizer, 8, 5, faiss.METRIC_L2)
    other.add_with_ids(unit(20, seed=1), np.arange(100, 120))
    wrong = to_bytes(other)
    manifest = describe_shard(wrong, category="shoes", date=DAY, space_id="lite0/1")
    inner.merge_from(other, 0)
    assert inner.ntotal == 20  # faiss: no error
    with pytest.raises(DataError, match=r"shard shoes/2026-03-01: fingerprint is \w{64}, expected"):
        merge([ShardPart(manifest, wrong, np.arange(100, 120))])


def test_raw_faiss_merges_other_scalar_ranges_silently_breaking_the_rows_and_ours_refuses():
    owner = from_bytes(QUANTIZER)  # kept alive: faiss' Python frees the centroids with it
    narrow, wide = (
        faiss.IndexIVFScalarQuantizer(owner.quantizer, 8, 5, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        for _ in range(2)
    )
    narrow.train(unit(400))
    wide.train(unit(400) * np.array([1, 4, 16, 1, 4, 16, 1, 4], np.float32))
    empty = to_bytes(narrow)
    vectors = unit(300, seed=2)
    wide.add_with_ids(vectors, np.arange(300))
    data = to_bytes(wide)
    manifest = describe_shard(data, category="shoes", date=DAY, space_id="lite0/1")
    narrow.merge_from(wide, 0)
    narrow.nprobe = 5
    _, before = from_bytes(data).search(vectors, 1)
    _, after = narrow.search(vectors, 1)
    assert (after[:, 0] == np.arange(300)).mean() < (before[:, 0] == np.arange(300)).mean() - 0.1
    with pytest.raises(DataError, match="fingerprint is"):
        merge([ShardPart(manifest, data, np.arange(300))], empty)


def test_raw_faiss_keeps_colliding_ids_silently_and_ours_refuses_naming_both_shards():
    first, second = part([1, 2, 3], unit(3)), part([3, 4], unit(2, seed=1), day=1)
    raw = from_bytes(bytes_of(first))
    raw.merge_from(from_bytes(bytes_of(second)), 0)
    assert raw.ntotal == 5  # faiss: id 3 twice, no error
    with pytest.raises(DataError, match="first 3 from shard shoes/2026-03-01 and shard shoes/2026-03-02"):
        merge([second, first])
    kept_once = ShardPart(second.manifest, second.index, np.array([4]))
    assert merge([first, kept_once]).rows == 4


def test_a_shard_of_another_training_is_refused():
    other = to_bytes(train_quantizer(unit(400, seed=9), nlist=5))
    with pytest.raises(DataError, match="shard shoes/2026-03-03: fingerprint is"):
        merge([part([1], unit(1)), part([2], unit(1), day=2, quantizer=other)])


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"category": "hats"}, "shard hats/2026-03-01: category is hats, expected shoes"),
        ({"space_id": "lite0/2"}, "space_id is lite0/2, expected lite0/1"),
        ({"rows": 3}, "rows is 2, expected 3"),
        ({"dim": 9}, "dim is 8, expected 9"),
        ({"nlist": 4}, "nlist is 5, expected 4"),
        ({"fingerprint": "0" * 64}, "fingerprint is .*, expected 000"),
        ({"sha256": "0" * 64}, "sha256 is .*, expected 000"),
    ],
)
def test_a_manifest_that_lies_is_refused_with_shard_and_field(claim, message):
    with pytest.raises(DataError, match=message):
        merge([part([1, 2], unit(2), **claim)])


@pytest.mark.parametrize("flip", [0, 40, 200, -1])
def test_one_changed_byte_is_refused_before_faiss_reads_it(flip):
    good = part([1, 2], unit(2))
    changed = bytearray(bytes_of(good))
    changed[flip] ^= 1
    with pytest.raises(DataError, match="sha256 is"):
        open_shard(good.manifest, bytes(changed))


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ([2, 5], "1 ids to keep are not in the shard, first 5"),
        ([2, 1], "keep_ids do not rise"),
        ([1, 1], "1 ids occur more than once, first 1"),
        ([-1, 1], "id -1 is negative"),
    ],
)
def test_ids_to_keep_must_be_there_once_and_in_order(keep, message):
    with pytest.raises(DataError, match=message):
        merge([part([1, 2], unit(2), keep=keep)])


def test_a_missing_shard_file_is_named(tmp_path):
    good = part([1], unit(1))
    with pytest.raises(DataError, match=r"shard shoes/2026-03-01: .*gone.index does not exist"):
        merge([ShardPart(good.manifest, tmp_path / "gone.index", good.keep_ids)])


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        ([1, 1], unit(2), "occur more than once"),
        ([1, -2], unit(2), "id -2 is negative"),
        ([1], unit(2), "1 ids with vectors of shape"),
        ([1, 2], unit(2, dim=9), r"expected \(2, 8\)"),
        ([1, 2], unit(2) * np.float32(1.1), "not L2-normalised"),
    ],
)
def test_a_shard_of_bad_rows_is_refused(ids, vectors, message):
    with pytest.raises(DataError, match=message):
        build_shard(QUANTIZER, np.array(ids, np.int64), vectors)


def test_a_shard_is_never_built_on_rows_that_are_already_there():
    with pytest.raises(DataError, match="already holds 1 rows"):
        build_shard(bytes_of(part([1], unit(1))), np.array([2]), unit(1))
