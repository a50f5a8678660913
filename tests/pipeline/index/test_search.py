"""Search: canonical order against a numpy brute force, with exact ties."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest
from faiss.contrib.evaluation import check_ref_knn_with_draws
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.index.lists import decode, encode, index_vectors, read_rows, write_rows
from pipeline.index.opened import OpenIndex, open_file
from pipeline.index.quantizer import from_bytes, to_bytes, train_quantizer
from pipeline.index.search import exact_search, search_index, search_one
from pipeline.index.shard import build_shard
from reporting.errors import DataError


def brute_force(ids, vectors, queries, k):
    """Rank by float64 cosine distance, rounded to float32 so that equal vectors tie, then by id."""
    distances = np.full((len(queries), k), np.nan, np.float32)
    found = np.full((len(queries), k), -1, np.int64)
    for row, query in enumerate(queries):
        inner = np.array([np.sum(v.astype(np.float64) * query.astype(np.float64)) for v in vectors])
        every = np.clip(1 - inner, 0, 2).astype(np.float32)
        order = sorted(range(len(ids)), key=lambda at: (every[at], ids[at]))[:k]
        distances[row, : len(order)], found[row, : len(order)] = every[order], ids[order]
    return distances, found


def assert_same(got, expected):
    np.testing.assert_array_equal(got[1], expected[1])
    np.testing.assert_array_equal(got[0], expected[0])
    assert (got[0].dtype, got[1].dtype) == (np.float32, np.int64)


def assert_alone(index, queries, k, nprobe, expected):
    """The same rows for each query asked alone, without the padding."""
    for query, distances, ids in zip(queries, *expected, strict=True):
        wanted = [pair for pair in zip(distances.tolist(), ids.tolist(), strict=True) if pair[1] >= 0]
        assert search_one(index, query[None], k, nprobe) == wanted


# Small integer grids give many vectors of equal direction and many equal inner products.
GRID = np.array([(a, b, c) for a in range(-2, 3) for b in range(-2, 3) for c in range(-2, 3) if a or b or c])
DIRECTIONS = (GRID / np.linalg.norm(GRID, axis=1, keepdims=True)).astype(np.float32)
QUANTIZER = to_bytes(train_quantizer(np.tile(DIRECTIONS, (4, 1)), nlist=4))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, len(DIRECTIONS) - 1), max_size=60),
    st.integers(1, 40),
    st.lists(st.integers(0, len(DIRECTIONS) - 1), max_size=4),
    st.randoms(use_true_random=False),
)
def test_search_equals_brute_force_on_vectors_full_of_exact_ties(picks, k, asked, random):
    ids = np.array(random.sample(range(10**6), len(picks)), np.int64)
    vectors, queries = DIRECTIONS[picks].reshape(-1, 3), DIRECTIONS[asked].reshape(-1, 3)
    index = from_bytes(build_shard(QUANTIZER, ids, vectors))
    expected = brute_force(ids, vectors, queries, k)
    assert_same(search_index(index, queries, k, 4), expected)
    assert_same(exact_search(ids, vectors, queries, k), expected)
    assert_alone(index, queries, k, 4, expected)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60),
    st.integers(1, 40),
    st.sampled_from([0, 1, 20]),
)
def test_with_ids_to_keep_it_is_a_search_of_these_rows_alone(picks, k, dropped_ties):
    """Of ten directions, so that whole runs of ties are left out of the first candidates."""
    picks += [(0, False)] * dropped_ties
    counting = np.array([kept for _, kept in picks], np.bool_)
    ids = np.random.default_rng(len(picks)).permutation(1000)[: len(picks)]
    vectors = DIRECTIONS[[direction for direction, _ in picks]].reshape(-1, 3)
    index = from_bytes(build_shard(QUANTIZER, ids, vectors))
    source = OpenIndex(index, keep=np.sort(ids[counting]))
    expected = brute_force(ids[counting], vectors[counting], DIRECTIONS[:3], k)
    assert_same(search_index(source, DIRECTIONS[:3], k, 4), expected)
    assert_alone(source, DIRECTIONS[:3], k, 4, expected)
    assert source.rows == counting.sum()


@pytest.mark.parametrize("batch", [1, 3])
def test_rows_that_do_not_count_never_crowd_out_those_that_do(batch):
    """The 300 nearest are left out, far more than the first fetch holds."""
    vectors = np.repeat(DIRECTIONS[[0, 1]], [300, 400], axis=0)
    index = from_bytes(build_shard(QUANTIZER, np.arange(700), vectors))
    source = OpenIndex(index, keep=np.arange(300, 700))
    _, found = search_index(source, np.repeat(DIRECTIONS[:1], batch, axis=0), 3, 4)
    assert found.tolist() == [[300, 301, 302]] * batch
    _, found = search_index(OpenIndex(index, keep=np.arange(698, 700)), DIRECTIONS[:batch], 3, 4)
    assert found.tolist() == [[698, 699, -1]] * batch
    assert (search_index(OpenIndex(index, keep=np.arange(0)), DIRECTIONS[:batch], 3, 4)[1] == -1).all()


@pytest.mark.parametrize("codec", ["sq8", "pq1x4", "opq1x4"])
def test_with_every_codec_it_is_brute_force_over_what_is_stored(codec):
    index = train_quantizer(np.tile(DIRECTIONS, (8, 1)), nlist=4, codec=codec)
    ids = np.random.default_rng(1).permutation(5 * len(DIRECTIONS))
    vectors = np.tile(DIRECTIONS, (5, 1))
    rows = encode(index, ids, vectors)
    write_rows(index, rows)
    inner = OpenIndex(index).transform(DIRECTIONS)
    expected = brute_force(rows.ids, decode(index, rows.list_numbers, rows.codes), inner, 9)
    assert_same(search_index(index, DIRECTIONS, 9, 4), expected)
    assert_alone(index, DIRECTIONS, 9, 4, expected)
    keep = np.sort(ids[::3])
    counting = np.isin(rows.ids, keep)
    stored = decode(index, rows.list_numbers[counting], rows.codes[counting])
    expected = brute_force(rows.ids[counting], stored, inner[:20], 9)
    assert_same(search_index(OpenIndex(index, keep=keep), DIRECTIONS[:20], 9, 4), expected)


@pytest.mark.parametrize("codec", ["flat", "sq8", "pq1x4", "opq1x4"])
@pytest.mark.parametrize("batch", [1, 5])
def test_lists_that_hold_less_than_k_rows_leave_the_rest_without_a_neighbour(codec, batch):
    """What faiss writes there would be decoded to something: it must be neither read nor ranked."""
    index = train_quantizer(np.tile(DIRECTIONS, (8, 1)), nlist=4, codec=codec)
    rows = encode(index, np.arange(len(DIRECTIONS)), DIRECTIONS)
    write_rows(index, rows)
    sizes = np.bincount(rows.list_numbers)
    queries = DIRECTIONS[:batch]
    distances, ids = search_index(index, queries, 60, 1)
    for row, held in enumerate(encode(index, np.arange(batch), queries).list_numbers):
        real = sizes[held]
        assert 0 < real < 60
        assert set(ids[row, :real].tolist()) == set(rows.ids[rows.list_numbers == held].tolist())
        assert (ids[row, real:] == -1).all()
        assert np.isnan(distances[row, real:]).all()
        assert not np.isnan(distances[row, :real]).any()


def test_a_mapped_file_answers_as_the_bytes_do(tmp_path):
    vectors = np.tile(DIRECTIONS, (3, 1))
    data = build_shard(QUANTIZER, np.arange(len(vectors)), vectors)
    path = tmp_path / "index.faiss"
    path.write_bytes(data)
    mapped = open_file(path)
    assert (mapped.rows, mapped.dim, mapped.nlist) == (len(vectors), 3, 4)
    assert_same(search_index(mapped, DIRECTIONS, 5, 2), search_index(from_bytes(data), DIRECTIONS, 5, 2))


def test_a_file_that_is_missing_broken_or_no_inverted_file_is_named(tmp_path):
    path = tmp_path / "index.faiss"
    with pytest.raises(DataError, match=r"index.faiss: faiss cannot read"):
        open_file(path)
    path.write_bytes(QUANTIZER[:50])
    with pytest.raises(DataError, match=r"index.faiss: faiss cannot read"):
        open_file(path)
    path.write_bytes(faiss.serialize_index(faiss.IndexFlatIP(3)).tobytes())
    with pytest.raises(DataError, match=r"index.faiss: holds a IndexFlatIP"):
        open_file(path)


def test_many_threads_search_one_open_index_at_once():
    vectors = np.tile(DIRECTIONS, (30, 1))
    source = OpenIndex(from_bytes(build_shard(QUANTIZER, np.arange(len(vectors)), vectors)))
    expected = [search_index(OpenIndex(source.index), DIRECTIONS[row : row + 1], 7, 2) for row in range(100)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda row: search_index(source, DIRECTIONS[row : row + 1], 7, 2), range(100)))
    for one, other in zip(got, expected, strict=True):
        assert_same(one, other)


def test_ties_that_go_on_far_beyond_k_are_cut_at_the_lowest_ids():
    ids = np.random.default_rng(0).permutation(500).astype(np.int64)
    vectors = np.repeat(DIRECTIONS[:1], 500, axis=0)
    index = from_bytes(build_shard(QUANTIZER, ids, vectors))
    distances, found = search_index(index, DIRECTIONS[:1], 3, 4)
    assert found.tolist() == [[0, 1, 2]]
    assert len(set(distances[0].tolist())) == 1


@pytest.mark.parametrize("low_first", [True, False])
def test_ties_between_two_lists_go_to_the_lowest_ids_whichever_list_is_scanned_first(low_first):
    """200 rows on each side of the query at one angle; more of them than the first fetch can hold."""
    sides = np.array([[0.8, 0.6, 0.0], [0.8, -0.6, 0.0]], np.float32)
    near = np.repeat(sides, 50, axis=0) + np.random.default_rng(0).normal(scale=0.05, size=(100, 3)).astype(np.float32)
    quantizer = to_bytes(train_quantizer(near / np.linalg.norm(near, axis=1, keepdims=True), nlist=2))
    vectors = np.repeat(sides if low_first else sides[::-1], 200, axis=0)
    index = from_bytes(build_shard(quantizer, np.arange(400, dtype=np.int64), vectors))
    assert np.bincount(read_rows(index).list_numbers).tolist() == [200, 200]
    query = np.array([[1, 0, 0]], np.float32)
    _, found = search_index(index, query, 7, 2)
    assert found.tolist() == [list(range(7))]
    assert exact_search(np.arange(400)[::-1].copy(), vectors, query, 7)[1].tolist() == [list(range(7))]


@pytest.fixture(scope="module")
def sift(shared_data):
    table = np.loadtxt(shared_data / "sift5k" / "sift-dataset-5k.tsv.gz", dtype=np.float32, ndmin=2)[:, :128]
    asked = np.loadtxt(shared_data / "sift5k" / "sift-query-3.tsv", dtype=np.float32, ndmin=2)[:, :128]
    return tuple(rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (table, asked))


@pytest.mark.slow
@pytest.mark.data
def test_on_sift_with_every_vector_twice_all_lists_equal_brute_force(sift):
    vectors, asked = sift
    queries = np.concatenate([asked, vectors[:20]])
    ids = np.random.default_rng(1).permutation(2 * len(vectors)).astype(np.int64)
    double = np.concatenate([vectors, vectors])
    index = from_bytes(build_shard(to_bytes(train_quantizer(vectors, nlist=100)), ids, double))
    expected = brute_force(ids, double, queries, 11)
    got = search_index(index, queries, 11, 100)
    assert_same(got, expected)
    assert_same(exact_search(*index_vectors(index), queries, 11), expected)
    # an independent judge that knows ties: faiss' own, over faiss' own answer
    index.nprobe = 100
    raw_scores, raw_ids = index.search(queries, 11)
    check_ref_knn_with_draws(1 - raw_scores, raw_ids, *got, rtol=1e-4, atol=2e-7)
    few_distances, few_ids = search_index(index, queries, 11, 2)
    hits = np.mean([len(set(a) & set(b)) / 11 for a, b in zip(few_ids, got[1], strict=True)])
    assert 0.3 < hits < 1.0  # 2 of 100 lists: it loses some, which is what exact search is there to show
    assert np.all(few_distances >= got[0])


def test_the_answer_to_a_query_does_not_depend_on_its_batch():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(3000, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = from_bytes(
        build_shard(to_bytes(train_quantizer(vectors, nlist=32)), np.arange(3000, dtype=np.int64), vectors)
    )
    together = search_index(index, vectors[:70], 5, 4)
    alone = [search_index(index, vectors[row : row + 1], 5, 4) for row in range(70)]
    assert_same(together, tuple(np.concatenate(column) for column in zip(*alone, strict=True)))
    assert_alone(index, vectors[:70], 5, 4, together)


@pytest.mark.parametrize("rows", [0, 2])
def test_missing_neighbours_are_id_minus_one_and_distance_nan(rows):
    index = from_bytes(build_shard(QUANTIZER, np.arange(rows, dtype=np.int64), DIRECTIONS[:rows]))
    distances, ids = search_index(index, DIRECTIONS[:2], 4, 99)
    assert (ids[:, rows:] == -1).all()
    assert np.isnan(distances[:, rows:]).all()
    assert (ids[:, :rows] >= 0).all()
    assert search_index(index, DIRECTIONS[:0], 4, 1)[1].shape == (0, 4)


def test_the_distance_of_a_vector_to_itself_and_its_opposite_stay_in_range():
    vectors = np.concatenate([DIRECTIONS, -DIRECTIONS])
    ids = np.arange(len(vectors), dtype=np.int64)
    distances, _ = exact_search(ids, vectors, vectors, len(vectors))
    assert distances.min() >= 0
    assert distances.max() <= 2
    assert distances.max() > 1.999999


@pytest.mark.parametrize(
    ("queries", "k", "nprobe", "message"),
    [
        (DIRECTIONS[:1], 0, 1, "k is 0"),
        (DIRECTIONS[:1], 1, 0, "nprobe is 0"),
        (np.eye(4, dtype=np.float32), 1, 1, "queries have 4 dimensions, the index has 3"),
        (DIRECTIONS[:1] * np.float32(2), 1, 1, "not L2-normalised"),
        (DIRECTIONS[:1] * np.float32(np.nan), 1, 1, "not L2-normalised"),
        (DIRECTIONS[:3] * np.float32(1.01), 1, 1, "3 of 3 vectors are not L2-normalised"),
        (DIRECTIONS[:1].astype(np.float64), 1, 1, "vectors are float64"),
        (DIRECTIONS[0], 1, 1, r"of shape \(3,\)"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(queries, k, nprobe, message):
    with pytest.raises(DataError, match=message):
        search_index(from_bytes(QUANTIZER), queries, k, nprobe)
    if len(queries) == 1:
        full = from_bytes(build_shard(QUANTIZER, np.arange(len(DIRECTIONS)), DIRECTIONS))
        for index in (from_bytes(QUANTIZER), full):
            with pytest.raises(DataError, match=message):
                search_one(index, queries, k, nprobe)


def test_one_query_is_one():
    for queries in (DIRECTIONS[:0], DIRECTIONS[:2]):
        with pytest.raises(DataError, match=f"{len(queries)} queries, expected one"):
            search_one(from_bytes(QUANTIZER), queries, 1, 1)
