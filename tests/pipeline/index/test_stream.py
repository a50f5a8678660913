"""The stream: to the bit what faiss writes of the canonical index in memory, whatever the split, order and codec."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.index.stream as streaming
from pipeline.index.lists import Rows, write_rows
from pipeline.index.merge import ShardPart
from pipeline.index.quantizer import from_bytes, to_bytes
from pipeline.index.shard import build_shard
from pipeline.index.stream import header, write_canonical
from pipeline.index.wrapped import ivf_of
from reporting.errors import ContractViolation, DataError
from tests.pipeline.shard_parts import CODECS, bytes_of, described, on_disk, part, quantizer, unit


def stream(trained: bytes, parts) -> bytes:
    out = io.BytesIO()
    written = write_canonical(trained, parts, out)
    data = out.getvalue()
    assert (written.sha256, written.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    hashed = write_canonical(trained, parts, None)
    assert hashed == written
    return data


@settings(max_examples=25)
@given(st.data())
def test_any_split_in_any_order_is_byte_equal_to_one_shard_of_the_kept_rows(data):
    codec, nlist = data.draw(st.sampled_from([(codec, 5) for codec in CODECS] + [("flat", 1)]))
    trained = quantizer(codec, nlist)
    rows = data.draw(st.integers(0, 60))
    distinct = data.draw(st.integers(1, 60))  # few distinct vectors: exact ties in every list
    vectors = unit(distinct, seed=3)[np.arange(rows) % distinct]
    ids = np.array(data.draw(st.permutations(range(100, 100 + rows))), np.int64) * 2**40
    days = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)), np.int64)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), np.bool_)
    whole = data.draw(st.sets(st.integers(0, 3)))  # days of which every row is taken, without a list of ids
    kept |= np.isin(days, list(whole))
    parts = [
        part(ids[days == day], vectors[days == day], day=day // 2, trained=trained,
             keep=None if day in whole else np.sort(ids[(days == day) & kept]))
        for day in range(4)
    ]  # fmt: skip
    assert stream(trained, data.draw(st.permutations(parts))) == build_shard(trained, ids[kept], vectors[kept])


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=5, max_size=5), st.sampled_from(CODECS))
def test_the_header_is_faiss_own_for_any_pattern_of_empty_lists(sizes, codec):
    index = from_bytes(quantizer(codec))
    total, width = sum(sizes), ivf_of(index).code_size
    write_rows(index, Rows(np.repeat(np.arange(5), sizes), np.arange(total), np.zeros((total, width), np.uint8)))
    data = to_bytes(index)
    head = header(quantizer(codec), np.array(sizes, np.int64))
    assert data.startswith(head)
    assert len(data) - len(head) == total * (width + 8)


@pytest.mark.parametrize("codec", CODECS)
def test_shards_that_faiss_filled_in_any_order_are_sorted_on_the_way(codec):
    trained, vectors = quantizer(codec), unit(200, seed=4)
    ids = np.random.default_rng(8).permutation(200)
    parts = []
    for day in range(3):
        index = from_bytes(trained)
        index.add_with_ids(vectors[day::3], ids[day::3])  # stored as they come, not by id
        parts.append(described(to_bytes(index), day=day))
    together = from_bytes(trained)
    together.add_with_ids(vectors, ids)
    in_one = from_bytes(stream(trained, [described(to_bytes(together))]))
    assert stream(trained, parts) == to_bytes(in_one)
    near, found = in_one.search(vectors, 1)
    raw_near, raw_found = together.search(vectors, 1)
    np.testing.assert_array_equal(near, raw_near)
    assert (found == raw_found).mean() > 0.95  # the rest are ties among equal codes


def test_small_batches_and_files_change_nothing(tmp_path, monkeypatch):
    parts = [part(range(day, 300, 3), unit(100, seed=day), day=day % 2) for day in range(3)]
    expected = stream(quantizer(), parts)
    monkeypatch.setattr(streaming, "_BATCH_BYTES", 64)
    monkeypatch.setattr(streaming, "_WRITE_BYTES", 33)
    assert stream(quantizer(), on_disk(parts, tmp_path)) == expected
    with (tmp_path / "out").open("wb") as file:
        file.write(b"before")  # what a buffer holds goes first
        write_canonical(quantizer(), on_disk(parts, tmp_path), file)
    assert (tmp_path / "out").read_bytes() == b"before" + expected


def test_a_writer_that_fails_is_heard():
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_canonical(quantizer(), [part([1], unit(1))], Full())


def test_a_shard_that_shrinks_while_it_is_read_is_refused(tmp_path):
    (opened,) = on_disk([part(range(90), unit(90))], tmp_path)
    from pipeline.index.part import open_part

    one = open_part(opened)
    (tmp_path / "0.faiss").write_bytes(bytes_of(part([1], unit(1))))
    with pytest.raises(ContractViolation, match=r"shard shoes/2026-03-01: .*0.faiss ends \d+ bytes early"):
        write_canonical(quantizer(), [one], None)


def test_a_quantizer_with_rows_is_refused():
    with pytest.raises(DataError, match="already holds 1 rows"):
        write_canonical(bytes_of(part([1], unit(1))), [], None)


def test_days_are_listed_even_where_nothing_was_taken():
    parts = [part([1, 2], unit(2), keep=[]), part([3], unit(1), day=1)]
    written = write_canonical(quantizer(), [ShardPart(one.manifest, one.index, one.keep_ids) for one in parts], None)
    assert [(day.day, noted.rows) for day, noted in written.days.items()] == [(1, 0), (2, 1)]
    assert written.rows == 1
