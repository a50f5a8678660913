"""What faiss merges without a word, and how its rows suffer; the contract refuses each of them.

Facts 1 to 3 and 5 of the evaluation reference, section 0, on the faiss that is installed: if a later faiss refuses by
itself, the first half of a test here fails, and the clause can be thought over.
"""

from __future__ import annotations

import copy
from pathlib import Path

import faiss
import numpy as np
import pytest
from faiss.contrib.ondisk import merge_ondisk

from pipeline.index.contract import check_contract
from pipeline.index.lists import index_vectors
from pipeline.index.quantizer import from_bytes, to_bytes
from pipeline.index.stream import write_canonical
from tests.pipeline.shard_parts import CATEGORY, SPACE, bytes_of, described, on_disk, part, quantizer, unit

ROWS = 300


def self_recall(index: faiss.Index, vectors: np.ndarray, first_id: int) -> float:
    """Return the share of vectors that find their own id first, with every list probed."""
    faiss.ParameterSpace().set_index_parameter(index, "nprobe", 1000)
    _, found = index.search(vectors, 1)
    return float((found[:, 0] == np.arange(first_id, first_id + len(vectors))).mean())


def refused(trained: bytes, *shards: bytes) -> set[str]:
    """Return the fields of the contract that shards break, all of another day."""
    parts = [described(data, day=day) for day, data in enumerate(shards)]
    return {one.field for one in check_contract(trained, parts, category=CATEGORY, space_id=SPACE)}


def filled(trained: bytes, first_id: int, seed: int) -> tuple[bytes, np.ndarray]:
    index, vectors = from_bytes(trained), unit(ROWS, 16, seed)
    index.add_with_ids(vectors, np.arange(first_id, first_id + ROWS))
    return to_bytes(index), vectors


def scalar(scale: float) -> bytes:
    """Train SQ8 over one and the same coarse quantizer on vectors `scale` times as wide."""
    coarse = faiss.IndexFlatIP(16)
    coarse.add(unit(4, 16, 9))
    index = faiss.IndexIVFScalarQuantizer(coarse, 16, 4, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    index.train(unit(800, 16) * np.linspace(1, scale, 16, dtype=np.float32))
    return to_bytes(index)


def product(seed: int) -> bytes:
    """Train product codebooks of a seed over one and the same coarse quantizer."""
    coarse = faiss.IndexFlatIP(16)
    coarse.add(unit(4, 16, 9))
    index = faiss.IndexIVFPQ(coarse, 16, 4, 8, 4, faiss.METRIC_INNER_PRODUCT)
    index.train(unit(800, 16, seed))
    return to_bytes(index)


def rotated(seed: int) -> bytes:
    """Put a random rotation of a seed before one and the same index."""
    rotation = faiss.RandomRotationMatrix(16, 16)
    rotation.init(seed)
    index = faiss.IndexPreTransform(rotation, from_bytes(product(0)))
    index.is_trained = True
    return to_bytes(index)


@pytest.mark.parametrize(
    ("ours", "other", "at_most"),
    [(product(0), product(1), 0.1), (scalar(1), scalar(4), 0.9), (rotated(1), rotated(2), 0.1)],
    ids=["other product codebooks", "other scalar ranges", "another rotation"],
)
def test_faiss_merges_another_training_and_loses_the_rows_ours_refuses(ours, other, at_most):
    (first, _), (second, vectors) = filled(ours, 0, 5), filled(other, ROWS, 6)
    assert self_recall(from_bytes(second), vectors, ROWS) > at_most + 0.09
    raw = from_bytes(first)
    faiss.merge_into(raw, from_bytes(second), False)  # even the one that checks: no error
    assert raw.ntotal == 2 * ROWS
    assert self_recall(raw, vectors, ROWS) <= at_most
    assert "fingerprint" in refused(ours, first, second)
    assert refused(other, second) == set()


def test_faiss_merges_euclidean_with_inner_product_ours_refuses():
    inner = from_bytes(quantizer())
    other = faiss.IndexIVFFlat(inner.quantizer, 8, 5, faiss.METRIC_L2)
    other.add_with_ids(unit(20, seed=1), np.arange(100, 120))
    wrong = to_bytes(other)
    inner.merge_from(other, 0)
    assert inner.ntotal == 20  # no error
    assert refused(quantizer(), wrong) == {"fingerprint"}


def test_faiss_keeps_one_id_twice_ours_refuses():
    first, second = part([1, 2, 3], unit(3)), part([3, 4], unit(2, seed=1), day=1)
    raw = from_bytes(bytes_of(first))
    raw.merge_from(from_bytes(bytes_of(second)), 0)
    assert raw.ntotal == 5
    assert (index_vectors(raw)[0] == 3).sum() == 2
    assert refused(quantizer(), bytes_of(first), bytes_of(second)) == {"ids"}


@pytest.mark.parametrize("sizes", [(100, 500, 300), (500, 100, 300)])
def test_merge_ondisk_with_shifted_ids_loses_ids_of_unequal_shards_ours_has_no_shift(tmp_path, sizes, capfd):
    files, first = [], 0
    for number, size in enumerate(sizes):
        index = from_bytes(quantizer())
        index.add_with_ids(unit(size, seed=number), np.arange(size))
        files.append(str(tmp_path / f"{number}.index"))
        faiss.write_index(index, files[-1])
    raw = from_bytes(quantizer())
    merge_ondisk(raw, files, str(tmp_path / "raw.ivf"), shift_ids=True)
    capfd.readouterr()  # it prints a size
    assert raw.ntotal == 900
    assert len(np.unique(index_vectors(raw)[0])) == 700
    assert refused(quantizer(), *(Path(name).read_bytes() for name in files)) == {"ids"}  # all count from 0
    parts = []
    for number, size in enumerate(sizes):
        parts.append(part(np.arange(first, first + size), unit(size, seed=number), day=number))
        first += size
    written = write_canonical(quantizer(), on_disk(parts, tmp_path / "ours"), None)
    assert written.rows == 900
    assert check_contract(quantizer(), parts, category=CATEGORY, space_id=SPACE) == []


def test_the_sliding_window_of_faiss_loses_live_rows_after_a_takedown_ours_does_not():
    vectors = [unit(100, seed=day) for day in range(3)]
    window = faiss.SlidingIndexWindow(index := from_bytes(quantizer()))
    days = []
    for day in range(3):
        days.append(from_bytes(bytes_of(part(range(day * 100, day * 100 + 100), vectors[day]))))
        window.step(copy.deepcopy(days[day]), False)
    index.remove_ids(np.arange(20))  # a takedown in the oldest day
    window.step(None, True)
    assert index.ntotal < 200  # rows of the live days are gone, without an error
    parts = [part(range(day * 100, day * 100 + 100), vectors[day], day=day) for day in range(1, 3)]
    assert write_canonical(quantizer(), parts, None).rows == 200


def test_raw_merges_of_the_same_rows_in_another_order_are_other_bytes_ours_are_equal():
    parts = [part(range(day, 90, 3), unit(30, seed=day), day=day) for day in range(3)]

    def raw(order: tuple[int, ...]) -> bytes:
        index = from_bytes(quantizer())
        for number in order:
            index.merge_from(from_bytes(bytes_of(parts[number])), 0)
        return to_bytes(index)

    assert raw((0, 1, 2)) != raw((2, 1, 0))
    assert write_canonical(quantizer(), parts, None) == write_canonical(quantizer(), parts[::-1], None)
