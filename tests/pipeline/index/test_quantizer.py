"""Quantizer: deterministic, silent, and a fingerprint that sees what faiss does not compare."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.index.lists import assign
from pipeline.index.quantizer import (
    centroids,
    choose_nlist,
    fingerprint,
    from_bytes,
    to_bytes,
    train_quantizer,
)
from reporting.errors import DataError

EXACT_FINGERPRINT = "c63fa902b2f14f49ed91e1463426787e19f3537ceb2698c029fb4da16d56614a"


def unit(rows: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def test_the_same_training_gives_the_same_bytes_on_any_number_of_threads():
    vectors = unit(4000, 64)
    before = faiss.omp_get_max_threads()
    trained = []
    try:
        for threads in (1, 2, 4):
            faiss.omp_set_num_threads(threads)
            trained.append(to_bytes(train_quantizer(vectors, nlist=40)))
            assert faiss.omp_get_max_threads() == threads
    finally:
        faiss.omp_set_num_threads(before)
    assert trained[0] == trained[1] == trained[2]


def test_another_seed_gives_another_fingerprint_and_centroids_are_unit_vectors():
    vectors = unit(800)
    one, two = (train_quantizer(vectors, nlist=8, seed=seed) for seed in (1, 2))
    assert fingerprint(one) != fingerprint(two)
    np.testing.assert_allclose(np.linalg.norm(centroids(one), axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 3, 39, 78, 500])
def test_faiss_prints_nothing_when_nlist_is_what_choose_nlist_says(rows, capfd):
    nlist = choose_nlist(rows, 3000, exact_rows=0)
    index = train_quantizer(unit(rows), nlist=nlist)
    index.add(unit(5, seed=1))
    assert (index.nlist, index.ntotal, index.is_trained) == (nlist, 5, True)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert capfd.readouterr() == ("", "")


def test_faiss_would_print_a_warning_one_vector_below_the_rule_and_we_refuse(capfd):
    index = faiss.index_factory(16, "IVF2,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(unit(77))
    assert "WARNING clustering 77 points to 2 centroids" in "".join(capfd.readouterr())
    with pytest.raises(DataError, match=r"77 training vectors are too few for 2 lists.*at most 1 lists"):
        train_quantizer(unit(77), nlist=2)


@given(st.integers(0, 10**7), st.integers(1, 400))
def test_choose_nlist_keeps_39_points_a_list_and_small_windows_exact(n_day, window_days):
    nlist = choose_nlist(n_day, window_days)
    assert nlist == 1 or nlist * 39 <= n_day
    if n_day * window_days <= 4096:
        assert nlist == 1


def test_two_exact_quantizers_of_one_dimension_are_one():
    assert fingerprint(train_quantizer(unit(50), nlist=1)) == fingerprint(
        train_quantizer(np.zeros((0, 16), np.float32), nlist=1)
    )


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((80, 16), np.float32), "not L2-normalised: row 0 has norm 4"),
        (np.full((80, 16), np.nan, np.float32), "80 of 80 vectors.*norm nan"),
        (np.eye(16), "float64 of shape"),
        (np.ones(16, np.float32), r"shape \(16,\)"),
    ],
)
def test_vectors_that_are_not_unit_float32_rows_are_refused(vectors, message):
    with pytest.raises(DataError, match=message):
        train_quantizer(vectors, nlist=1)


def test_the_fingerprint_is_of_the_training_and_not_of_the_rows():
    index = train_quantizer(unit(400), nlist=4)
    before = fingerprint(index)
    index.add(unit(10))
    assert fingerprint(from_bytes(to_bytes(index))) == before


def codec_variants() -> dict[str, Any]:
    """Indexes that share coarse centroids, most of which raw faiss merges into one another."""
    flat = train_quantizer(unit(400), nlist=4)
    variants: dict[str, Any] = {"flat": flat}
    for name, metric in (("l2", faiss.METRIC_L2), ("ip", faiss.METRIC_INNER_PRODUCT)):
        for scale in (1, 4):
            sq = faiss.IndexIVFScalarQuantizer(flat.quantizer, 16, 4, faiss.ScalarQuantizer.QT_8bit, metric)
            sq.train(unit(400) * np.float32(scale))
            variants[f"sq8-{name}-{scale}"] = sq
    for seed in (1, 2):
        pq = faiss.IndexIVFPQ(flat.quantizer, 16, 4, 4, 4)
        pq.train(unit(800, seed=seed))
        variants[f"pq-{seed}"] = pq
        plain: Any = faiss.clone_index(pq)
        plain.by_residual = False  # the same bytes of a row then mean another vector
        variants[f"pq-{seed}-plain"] = plain
        for name in ("first", "second"):
            rotation = faiss.RandomRotationMatrix(16, 16)
            rotation.init(seed if name == "first" else seed + 2)
            variants[f"pq-{seed}-rotated-{name}"] = faiss.IndexPreTransform(rotation, pq)
    matrix: Any = faiss.LinearTransform(16, 16, True)
    faiss.copy_array_to_vector(np.eye(16, dtype=np.float32).ravel(), matrix.A)
    for shift in (0, 1):
        faiss.copy_array_to_vector(np.full(16, shift, np.float32), matrix.b)
        matrix.is_trained = True
        variants[f"shifted-{shift}"] = faiss.clone_index(faiss.IndexPreTransform(matrix, flat))
    return variants


def test_the_fingerprint_separates_metric_scalar_ranges_product_codebooks_residuals_and_what_lies_before():
    prints = {name: fingerprint(index) for name, index in codec_variants().items()}
    assert len(set(prints.values())) == len(prints)


def test_the_fingerprint_of_flat_training_is_what_lakes_already_hold():
    """Booked before there were codecs: another value would make every shard of theirs unmergeable."""
    corners = np.array([(a, b, c, d) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1) for d in (-1, 1)], np.float32)
    vectors = np.tile(corners / np.float32(2), (10, 1))
    assert fingerprint(train_quantizer(vectors, nlist=1)) == EXACT_FINGERPRINT


def test_an_index_type_without_a_defined_fingerprint_is_refused():
    index: Any = faiss.index_factory(16, "IVF4,RQ2x4")
    with pytest.raises(DataError, match="no fingerprint is defined for IndexIVFResidualQuantizer"):
        fingerprint(index)
    for factory in ("IVF4,FlatPanorama4", "IVF4_HNSW,Flat", "L2norm,IVF4,Flat"):
        other: Any = faiss.index_factory(16, factory, faiss.METRIC_INNER_PRODUCT)
        other.train(unit(400))
        with pytest.raises(DataError, match=r"no fingerprint is defined|expected a trained linear transform"):
            fingerprint(other)
    untrained: Any = faiss.index_factory(16, "IVF4,Flat")
    with pytest.raises(DataError, match="IndexIVFFlat is not trained"):
        fingerprint(untrained)


def test_broken_bytes_and_other_indexes_are_refused_with_their_place():
    data = to_bytes(train_quantizer(unit(400), nlist=4))
    for cut in (0, 4, 60, len(data) - 1):
        with pytest.raises(DataError, match="lake/x: faiss cannot read"):
            from_bytes(data[:cut], where="lake/x")
    with pytest.raises(DataError, match="index bytes: holds a IndexFlatIP"):
        from_bytes(to_bytes(faiss.IndexFlatIP(4)))


def test_a_vector_half_way_between_two_centroids_falls_into_one_list_in_every_batch():
    index = train_quantizer(unit(4000, 32), nlist=50)
    centres = centroids(index)
    between = centres[:, None, :] + centres[None, :, :]
    between = between[np.triu_indices(50, 1)].astype(np.float32)
    between /= np.linalg.norm(between, axis=1, keepdims=True)
    together = assign(index, between)
    alone = np.concatenate([assign(index, between[row : row + 1]) for row in range(len(between))])
    np.testing.assert_array_equal(together, alone)
    oracle = np.argmax(between.astype(np.float64) @ centres.T.astype(np.float64), axis=1)
    assert (together == oracle).mean() > 0.99  # a matrix product in float64 may itself flip an exact tie
