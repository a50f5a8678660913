"""Drift: figures computed by hand and by faiss, and that they rise when the content moves away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.index.drift import Drift, drift_of, list_imbalance
from pipeline.index.lists import assign
from pipeline.index.opened import OpenIndex
from pipeline.index.quantizer import centroids, to_bytes, train_quantizer
from pipeline.index.wrapped import ivf_of
from reporting.errors import DataError


def around(centre: int, rows: int, *, spread: float = 0.3, seed: int = 0) -> np.ndarray:
    """Unit vectors of 16 dimensions round one axis."""
    wide = np.eye(16)[centre] + np.random.default_rng(seed).normal(scale=spread / 4, size=(rows, 16))
    vectors: np.ndarray = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    return vectors


TRAINING = np.concatenate([around(axis, 160, seed=axis) for axis in range(4)])
CODECS = ["flat", "sq8", "pq4x4", "opq4x4"]


def test_the_imbalance_is_faiss_own():
    index = train_quantizer(TRAINING, nlist=4)
    numbers = assign(index, TRAINING[:217])
    index.add(TRAINING[:217])
    got = list_imbalance(np.bincount(numbers, minlength=4))
    assert got == pytest.approx(index.invlists.imbalance_factor())
    assert got > 1.2


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=50))
def test_the_imbalance_lies_between_one_and_the_number_of_lists(sizes):
    found = list_imbalance(np.array(sizes, np.int64))
    assert found == 0 if sum(sizes) == 0 else 1 - 1e-9 <= found <= len(sizes) + 1e-9


@pytest.mark.parametrize("codec", CODECS)
def test_the_error_is_the_mean_squared_distance_to_what_is_stored_and_for_flat_to_the_centroid(codec):
    index = train_quantizer(TRAINING, nlist=4, codec=codec)
    asked = np.concatenate([around(axis, 20, seed=9, spread=0.6) for axis in range(4)])
    inner = asked.astype(np.float64)
    if codec == "opq4x4":
        inner = index.chain.at(0).apply(asked).astype(np.float64)
    near = np.argmax(inner @ centroids(index).T.astype(np.float64), axis=1)
    if codec == "flat":
        stored = centroids(index)[near]
    else:
        ivf = ivf_of(index)
        ivf.add(inner.astype(np.float32))
        ivf.make_direct_map()
        stored = np.stack([ivf.reconstruct(row) for row in range(len(asked))])
        ivf.reset()
    expected = np.mean(np.sum((inner - stored) ** 2, axis=1))
    assert expected > 0
    assert drift_of(OpenIndex(index), asked).quantisation_error == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("codec", CODECS)
def test_the_training_vectors_have_a_ratio_of_one_and_content_that_moved_away_more(codec):
    index = train_quantizer(TRAINING, nlist=4, codec=codec)
    before = to_bytes(index)
    training = drift_of(index, TRAINING)
    again = drift_of(index, TRAINING[::-1].copy(), training)
    assert again.ratio == pytest.approx(1)
    assert again.imbalance == training.imbalance == pytest.approx(1, abs=0.01)
    moved = drift_of(index, np.concatenate([around(9, 160), TRAINING[:160]]), training)
    assert moved.ratio is not None
    assert moved.ratio > 1.2
    assert moved.imbalance > 1.3
    assert to_bytes(index) == before


def test_no_rows_and_no_reference_have_no_ratio():
    index = train_quantizer(TRAINING, nlist=4)
    assert drift_of(index, TRAINING[:0], Drift(1.0, 0.5)) == Drift(0.0, 0.0, None)
    assert drift_of(index, TRAINING).ratio is None
    assert drift_of(index, TRAINING, Drift(1.0, 0.0)).ratio is None


def test_vectors_of_another_dimension_are_refused():
    with pytest.raises(DataError, match="vectors have 4 dimensions, the index has 16"):
        drift_of(train_quantizer(TRAINING, nlist=4), np.eye(4, dtype=np.float32))
