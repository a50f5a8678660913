"""How much an object stands apart within its list, against all pairs compared one by one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.index import uniqueness as module
from pipeline.index.lists import assign
from pipeline.index.quantizer import from_bytes, to_bytes, train_quantizer
from pipeline.index.shard import build_shard
from pipeline.index.uniqueness import uniqueness_column, uniqueness_in_lists
from reporting.errors import DataError


def unit(rows: int, dim: int = 8, seed: int = 0) -> NDArray[np.float32]:
    found = np.random.default_rng(seed).normal(size=(rows, dim))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def naive(vectors: NDArray[np.float32], lists: NDArray[np.int64], groups: NDArray[np.int64]) -> list[float | None]:
    """Compare each with every other of its list, in float64."""
    found: list[float | None] = []
    for row in range(len(vectors)):
        others = [
            1 - float(np.dot(vectors[row].astype(np.float64), vectors[other].astype(np.float64)))
            for other in range(len(vectors))
            if lists[other] == lists[row] and groups[other] != groups[row]
        ]
        found.append(min(1.0, max(0.0, min(others))) if others else None)
    return found


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=30), st.integers(0, 99))
def test_it_is_the_distance_to_the_nearest_of_another_product_in_the_same_list(
    placed: list[tuple[int, int]], seed: int
) -> None:
    lists, groups = (np.array([one[at] for one in placed], np.int64) for at in (0, 1))
    vectors, ids = unit(len(placed), seed=seed), np.random.default_rng(seed).permutation(len(placed)).astype(np.int64)
    found = uniqueness_in_lists(vectors, lists, groups, ids)
    expected = [np.nan if one is None else one for one in naive(vectors, lists, groups)]
    assert found.tolist() == pytest.approx(expected, abs=1e-6, nan_ok=True)
    shuffled = np.random.default_rng(1).permutation(len(placed))
    again = uniqueness_in_lists(vectors[shuffled], lists[shuffled], groups[shuffled], ids[shuffled])
    assert again.tolist() == pytest.approx(found[shuffled].tolist(), abs=1e-6, nan_ok=True)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, ids = unit(50), np.arange(50)
    lists, groups = ids % 2, ids % 7
    whole = uniqueness_in_lists(vectors, lists, groups, ids)
    monkeypatch.setattr(module, "_BLOCK", 3)
    assert uniqueness_in_lists(vectors, lists, groups, ids).tolist() == pytest.approx(whole.tolist(), abs=1e-6)


def test_of_a_long_list_a_sample_is_looked_at_that_depends_on_the_ids_alone_and_never_comes_too_near() -> None:
    rows = 400
    vectors, ids, lists = unit(rows), np.arange(1000, 1000 + rows), np.zeros(rows, np.int64)
    groups = np.arange(rows) // 2
    exact = uniqueness_in_lists(vectors, lists, groups, ids)
    sampled = uniqueness_in_lists(vectors, lists, groups, ids, most=40)
    assert (sampled >= exact - 1e-6).all()
    assert (sampled > exact + 1e-6).any()
    order = np.random.default_rng(2).permutation(rows)
    again = uniqueness_in_lists(vectors[order], lists, groups[order], ids[order], most=40)
    assert again.tolist() == pytest.approx(sampled[order].tolist(), abs=1e-6)
    looked_at = {
        int(row) for row in np.flatnonzero(np.isclose(vectors @ vectors.T, 1 - sampled[:, None], atol=1e-6).any(0))
    }
    assert len(looked_at) <= 40, "whom anybody is nearest to is one of the sample"


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="3 vectors, 2 lists, 3 groups, 3 ids; expected as many"):
        uniqueness_in_lists(unit(3), np.zeros(2, np.int64), np.zeros(3, np.int64), np.arange(3))


def test_the_column_of_a_shard_goes_by_the_lists_that_the_index_has() -> None:
    vectors, ids = unit(200), np.random.default_rng(3).permutation(200).astype(np.int64)
    quantizer = to_bytes(train_quantizer(vectors, nlist=4))
    groups = pa.array([None if row % 50 == 0 else f"g{row % 9}" for row in range(200)])
    found = uniqueness_column(build_shard(quantizer, ids, vectors), ids, vectors, groups)
    numbers = np.array([1000 + row if row % 50 == 0 else row % 9 for row in range(200)])
    expected = naive(vectors, assign(from_bytes(quantizer), vectors), numbers)
    assert found.type == pa.float32()
    assert found.to_pylist() == pytest.approx(expected, abs=1e-6)


def test_an_object_alone_in_its_list_or_among_its_own_product_is_null() -> None:
    vectors = unit(3)
    quantizer = to_bytes(train_quantizer(vectors, nlist=1))
    ids = np.array([5, 3, 9])
    for groups, known in ((["a", "a", "a"], 0), (["a", "b", "a"], 3)):
        found = uniqueness_column(build_shard(quantizer, ids, vectors), ids, vectors, pa.array(groups))
        assert len(found) - found.null_count == known
    empty = uniqueness_column(
        build_shard(quantizer, ids[:0], vectors[:0]), ids[:0], vectors[:0], pa.array([], pa.string())
    )
    assert (len(empty), empty.type) == (0, pa.float32())
