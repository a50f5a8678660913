"""A virtual index answers every search as the merged file does."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.index.lists import index_vectors
from pipeline.index.merge import ShardPart
from pipeline.index.quantizer import from_bytes
from pipeline.index.search import search_index
from pipeline.index.shard import build_shard
from pipeline.index.virtual import open_virtual
from reporting.errors import ContractViolation
from tests.pipeline.shard_parts import CODECS, on_disk, part, quantizer, unit


@settings(max_examples=25)
@given(st.data())
def test_it_finds_what_one_index_of_the_kept_rows_finds(data):
    trained = quantizer(data.draw(st.sampled_from(CODECS)))
    owner = np.array(data.draw(st.lists(st.integers(0, 3), max_size=60)), np.int64)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(owner), max_size=len(owner))), np.bool_)
    ids, vectors = np.arange(len(owner)) * 3, unit(len(owner), seed=2)
    parts = [
        part(ids[owner == day], vectors[owner == day], day=day, trained=trained, keep=ids[(owner == day) & kept])
        for day in range(data.draw(st.integers(0, 4)))
    ]
    mine = kept & (owner < len(parts))
    virtual, one = open_virtual(trained, parts), from_bytes(build_shard(trained, ids[mine], vectors[mine]))
    k, nprobe = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 6))
    answers = (search_index(index, unit(9), k, nprobe) for index in (virtual, one))
    for got, expected in zip(*answers, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert virtual.rows == mine.sum()
    for got, expected in zip(index_vectors(virtual), index_vectors(one), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_nothing_is_copied_and_keep_is_only_there_where_rows_are_dropped(tmp_path):
    parts = on_disk([part(range(day * 9, day * 9 + 9), unit(9, seed=day), day=day) for day in range(3)], tmp_path)
    whole = open_virtual(quantizer(), parts)
    assert whole.keep is None
    stacked: Any = whole.ivf.invlists
    assert isinstance(faiss.downcast_InvertedLists(stacked), faiss.HStackInvertedLists)
    shards: tuple[Any, ...] = whole.owned[1]
    kinds = {type(faiss.downcast_InvertedLists(shard.ivf.invlists)) for shard in shards}
    assert kinds == {faiss.OnDiskInvertedLists}  # mapped files
    all_named = [ShardPart(one.manifest, one.index, np.arange(9) + 9 * day) for day, one in enumerate(parts)]
    assert open_virtual(quantizer(), all_named).keep is None
    all_named[1] = ShardPart(parts[1].manifest, parts[1].index, np.array([9, 12]))
    np.testing.assert_array_equal(
        open_virtual(quantizer(), all_named).keep, [*range(9), 9, 12, *range(18, 27)]
    )  # fmt: skip


def test_an_id_that_was_dropped_and_came_back_is_found_once_with_its_new_vector(tmp_path):
    old, new = unit(40, seed=1), unit(3, seed=2)
    first = part(range(40), old, keep=[number for number in range(40) if number != 7])
    again = part([7, 50, 51], new, day=8)
    for parts in ([first, again], on_disk([again, first], tmp_path)):
        virtual = open_virtual(quantizer(), parts)
        distances, ids = search_index(virtual, np.stack([new[0], old[7]]), 45, 5)
        assert [(row == 7).sum() for row in ids] == [1, 1]
        assert (ids[0][0], distances[0][0] < 1e-6) == (7, True)
        assert not np.any(distances[1] < 1e-6)  # the old vector of 7 is gone
        got, vectors = index_vectors(virtual)
        np.testing.assert_array_equal(vectors[got == 7], new[:1])


def test_one_shard_alone_and_none_are_indexes_too():
    assert open_virtual(quantizer(), []).rows == 0
    alone = open_virtual(quantizer(), [part(range(9), unit(9), keep=[2, 4])])
    assert alone.rows == 2
    np.testing.assert_array_equal(np.sort(search_index(alone, unit(1), 3, 5)[1][0]), [-1, 2, 4])


def test_a_damaged_shard_is_refused_before_it_is_searched_unless_it_was_verified_just_now(tmp_path):
    (good,) = on_disk([part(range(9), unit(9))], tmp_path)
    data = bytearray((tmp_path / "0.faiss").read_bytes())
    data[-1] ^= 1
    (tmp_path / "0.faiss").write_bytes(data)
    with pytest.raises(ContractViolation, match="shard shoes/2026-03-01: sha256 is"):
        open_virtual(quantizer(), [good])
    assert open_virtual(quantizer(), [good], verify=False).rows == 9
