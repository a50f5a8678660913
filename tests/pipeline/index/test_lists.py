"""Rows of an index: their hash, the blocks of their ids, and reading back what was written."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.index.lists import Rows, encode, id_blocks, index_vectors, is_in, read_rows, rows_sha256, write_rows
from pipeline.index.opened import OpenIndex, open_file
from pipeline.index.quantizer import to_bytes, train_quantizer
from pipeline.index.search import exact_search, search_index

DIM = 16


def unit(rows: int, seed: int = 0) -> np.ndarray:
    vectors: np.ndarray = np.random.default_rng(seed).normal(size=(rows, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


VECTORS = unit(900)
IDS = np.random.default_rng(4).permutation(9000)[:900] * 2**40
CODECS = ["flat", "sq8", "pq4x4", "opq4x4", "opq4_8x4"]


def filled(codec: str) -> Any:
    index = train_quantizer(VECTORS, nlist=5, codec=codec)
    write_rows(index, encode(index, IDS, VECTORS))
    return index


@given(st.data())
def test_the_hash_of_rows_is_that_of_their_definition_in_any_order(data):
    count = data.draw(st.integers(0, 12))
    ids = data.draw(st.lists(st.integers(0, 2**63 - 1), min_size=count, max_size=count, unique=True))
    numbers = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    codes = data.draw(st.lists(st.binary(min_size=3, max_size=3), min_size=count, max_size=count))
    content = b""
    ordered = sorted(zip(numbers, ids, codes, strict=True))
    for number, group in itertools.groupby(ordered, key=lambda row: row[0]):
        held = list(group)
        content += number.to_bytes(8, "little") + len(held).to_bytes(8, "little")
        content += b"".join(row[1].to_bytes(8, "little") for row in held) + b"".join(row[2] for row in held)
    order = data.draw(st.permutations(range(count)))
    rows = Rows(
        np.array([numbers[i] for i in order], np.int64),
        np.array([ids[i] for i in order], np.int64),
        np.frombuffer(b"".join(codes[i] for i in order), np.uint8).reshape(-1, 3),
    )
    assert rows_sha256(rows) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("change", ["id", "list", "code", "row"])
def test_any_change_to_a_row_changes_the_hash(change):
    rows = read_rows(filled("sq8"))
    other = Rows(rows.list_numbers.copy(), rows.ids.copy(), rows.codes.copy())
    if change == "id":
        other.ids[7] += 1
    elif change == "list":
        other.list_numbers[7] += 1
    elif change == "code":
        other.codes[7, 3] ^= 1
    else:
        other = Rows(rows.list_numbers[1:], rows.ids[1:], rows.codes[1:])
    assert rows_sha256(other) != rows_sha256(rows)


@given(st.lists(st.integers(0, 400) | st.integers(0, 2**63 - 1), unique=True), st.integers(1, 9))
def test_blocks_cover_all_ids_and_hold_as_little_else_as_so_many_blocks_can(numbers, limit):
    ids = np.array(numbers, np.int64)
    blocks = id_blocks(ids, limit)
    assert len(blocks) <= limit
    flat = [end for block in blocks for end in block]
    assert flat == sorted(flat)
    assert len(set(flat)) == sum(1 if first == last else 2 for first, last in blocks)
    assert set(flat) <= set(numbers)
    assert all(any(first <= one <= last for first, last in blocks) for one in numbers)
    gaps = sorted((b - a - 1 for a, b in itertools.pairwise(sorted(numbers))), reverse=True)
    held_beside = sum(last - first + 1 for first, last in blocks) - len(numbers)
    assert held_beside == sum(gaps[limit - 1 :])


@given(st.lists(st.integers(-1, 30)), st.lists(st.integers(0, 30), unique=True))
def test_membership_is_that_of_a_set(asked, members):
    found = is_in(np.array(asked, np.int64), np.sort(np.array(members, np.int64)))
    assert found.tolist() == [one in set(members) for one in asked]


def stacked(index: Any, parts: int) -> OpenIndex:
    """The same rows as a stack of several indexes' lists, which hands out copies."""
    rows = read_rows(index)
    shards = []
    for part in range(parts):
        shard = train_quantizer(VECTORS, nlist=5)
        write_rows(shard, Rows(rows.list_numbers[part::parts], rows.ids[part::parts], rows.codes[part::parts]))
        shards.append(shard)
    whole: Any = train_quantizer(VECTORS, nlist=5)
    raw: Any = faiss
    vector = raw.InvertedListsPtrVector()
    for shard in shards:
        vector.push_back(shard.invlists)
    lists = raw.HStackInvertedLists(vector.size(), vector.data())
    whole.replace_invlists(lists, False)
    whole.ntotal = len(rows.ids)
    return OpenIndex(whole, owned=(shards, vector, lists))


def test_rows_are_read_alike_from_memory_a_mapped_file_and_a_stack_with_those_that_count_only(tmp_path):
    index = filled("flat")
    path = tmp_path / "index.faiss"
    path.write_bytes(to_bytes(index))
    expected = rows_sha256(read_rows(index))
    stack = stacked(index, 3)
    assert rows_sha256(read_rows(open_file(path))) == rows_sha256(read_rows(stack)) == expected
    keep = np.sort(IDS[::3])
    shown = index_vectors(OpenIndex(stack.index, keep=keep, owned=stack.owned))
    order = np.argsort(IDS)
    counting = np.isin(IDS[order], keep)
    np.testing.assert_array_equal(shown[0], keep)
    np.testing.assert_array_equal(shown[1], VECTORS[order][counting])


@pytest.mark.parametrize("codec", CODECS)
def test_stored_vectors_are_near_to_those_added_in_the_space_of_the_queries(codec):
    index = filled(codec)
    ids, stored = index_vectors(index)
    order = np.argsort(IDS)
    np.testing.assert_array_equal(ids, IDS[order])
    assert stored.shape == VECTORS.shape
    similar = np.sum(stored * VECTORS[order], axis=1) / np.linalg.norm(stored, axis=1)
    assert similar.mean() > {"flat": 0.9999999, "sq8": 0.999}.get(codec, 0.5)
    queries = unit(50, seed=8)
    distances, found = search_index(index, queries, 7, 5)
    exact, at = exact_search(ids, stored, queries, 7)
    np.testing.assert_allclose(distances, exact, atol=2e-7)
    assert np.mean(found == at) > (0.99 if codec.startswith("opq") else 0.9999)
