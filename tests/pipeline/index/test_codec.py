"""Codec: every text has one meaning, its sizes are faiss' own, and what a vector becomes depends on it alone."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.index.codec import Codec
from pipeline.index.lists import assign, encode
from pipeline.index.quantizer import codec_of, fingerprint, from_bytes, to_bytes, train_quantizer
from pipeline.index.wrapped import ivf_of, transformed
from reporting.errors import ConfigError, DataError


def unit(rows: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    vectors: np.ndarray = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


SMALL = ["flat", "sq8", "pq4x4", "pq8x5", "opq4x4", "opq4_8x4"]


@given(
    st.sampled_from(["flat", "sq8"])
    | st.builds(
        lambda rotated, parts, each, bits: f"{rotated}pq{parts}{f'_{parts * each}' if rotated and each else ''}{bits}",
        st.sampled_from(["", "o"]),
        st.integers(1, 64),
        st.integers(0, 16),
        st.sampled_from(["", "x4", "x6", "x8", "x12"]),
    )
)
def test_a_codec_is_written_as_it_is_read(text):
    codec = Codec.parse(text)
    assert Codec.parse(str(codec)) == codec
    assert str(codec) == text.removesuffix("x8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "is unknown; expected flat, sq8") for text in ("", "Flat", "pq", "pq0", "pq8x", "pq8_16", "sq4")),
        *((text, "is unknown") for text in (" flat", "flat\n", "pq8 ", "opq8_", "pq99999", "pq1٣", "pq-1")),
        ("pq8x3", "has 3 bits a part; expected 4 to 12"),
        ("opq8x13", "has 13 bits"),
        ("opq8_12", "12 dimensions cannot be cut into 8 equal parts"),
    ],
)  # fmt: skip
def test_what_is_no_codec_is_refused_with_what_there_is(text, message):
    with pytest.raises(ConfigError, match=message):
        Codec.parse(text)


@pytest.mark.parametrize("text", SMALL)
@pytest.mark.parametrize("nlist", [1, 4])
def test_an_index_has_the_codec_it_was_trained_with_and_faiss_size(text, nlist):
    index = train_quantizer(unit(1300), nlist=nlist, codec=text)
    again = from_bytes(to_bytes(index))
    assert codec_of(index) == codec_of(again) == text
    assert fingerprint(again) == fingerprint(index)
    assert Codec.parse(text).code_size(16) == ivf_of(index).code_size
    assert (index.ntotal, index.nlist if nlist == 1 and text == "flat" else ivf_of(index).nlist) == (0, nlist)


@pytest.mark.parametrize("text", SMALL)
def test_training_a_codec_gives_the_same_bytes_on_any_number_of_threads(text):
    vectors = unit(1300)
    before = faiss.omp_get_max_threads()
    trained = set()
    try:
        for threads in (1, 2, 3):
            faiss.omp_set_num_threads(threads)
            trained.add(to_bytes(train_quantizer(vectors, nlist=4, codec=text)))
            assert faiss.omp_get_max_threads() == threads
    finally:
        faiss.omp_set_num_threads(before)
    assert len(trained) == 1


@pytest.mark.parametrize("text", SMALL)
def test_faiss_prints_nothing_with_as_few_vectors_as_the_codec_allows_and_one_less_is_refused(text, capfd):
    rows = Codec.parse(text).min_rows
    train_quantizer(unit(rows), nlist=1, codec=text)
    assert capfd.readouterr() == ("", "")
    if rows:
        with pytest.raises(DataError, match=rf"{rows - 1} training vectors are too few for codec {text}"):
            train_quantizer(unit(rows - 1), nlist=1, codec=text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pq5x4", "16 dimensions cannot be cut into 5 equal parts"),
        ("opq4_32x4", "vectors of 16 dimensions cannot be rotated to 32"),
    ],
)
def test_a_codec_that_does_not_fit_the_dimensions_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        train_quantizer(unit(700), nlist=1, codec=text)


def test_residuals_are_stored_where_they_are_shorter_than_the_vectors():
    """Scattered directions are nearer to nothing than to a centroid; bundled ones are nearer to theirs."""
    assert not train_quantizer(unit(1300, 64), nlist=4, codec="sq8").by_residual
    bundled: np.ndarray = np.repeat(unit(4, 64), 320, axis=0) + np.float32(0.3) * unit(1280, 64, seed=1)
    bundled /= np.linalg.norm(bundled, axis=1, keepdims=True)
    assert train_quantizer(bundled, nlist=4, codec="sq8").by_residual


def half_way(index: Any) -> np.ndarray:
    """Vectors of which one part lies half-way between two of its codes: the batch could decide which it gets."""
    ivf: Any = ivf_of(index)
    codes = faiss.vector_to_array(ivf.pq.centroids).reshape(ivf.pq.M, -1, ivf.pq.dsub)
    middles = (codes[0, :, None] + codes[0, None, :]).reshape(-1, ivf.pq.dsub) / 2
    vectors = np.zeros((len(middles), ivf.d), np.float32)
    vectors[:, : ivf.pq.dsub] = middles
    return vectors


@pytest.mark.parametrize(("text", "dim"), [("pq4x4", 16), ("pq2x4", 32), ("pq1x5", 64)])
def test_a_vector_half_way_between_two_codes_gets_one_code_in_every_batch(text, dim):
    index = train_quantizer(unit(1300, dim), nlist=1, codec=text)
    vectors = half_way(index)
    ids = np.arange(len(vectors))
    together = encode(index, ids, vectors).codes
    shuffled = np.random.default_rng(0).permutation(len(vectors))
    np.testing.assert_array_equal(encode(index, ids, vectors[shuffled]).codes, together[shuffled])
    alone = [encode(index, ids[:1], vectors[row : row + 1]).codes for row in ids]
    np.testing.assert_array_equal(np.concatenate(alone), together)


@pytest.mark.parametrize("text", SMALL)
def test_a_code_and_its_list_do_not_depend_on_the_batch(text):
    index = train_quantizer(unit(1300), nlist=8, codec=text)
    vectors, ids = unit(300, seed=3), np.arange(300)
    together = encode(index, ids, vectors)
    parts = [encode(index, ids[cut], vectors[cut]) for cut in (slice(0, 1), slice(1, 20), slice(20, 300))]
    np.testing.assert_array_equal(np.concatenate([part.codes for part in parts]), together.codes)
    np.testing.assert_array_equal(np.concatenate([part.list_numbers for part in parts]), together.list_numbers)
    np.testing.assert_array_equal(assign(index, vectors), together.list_numbers)


def test_a_rotated_vector_does_not_depend_on_the_batch():
    index = train_quantizer(unit(700, 64), nlist=1, codec="opq4_32x4")
    vectors = unit(300, 64, seed=5)
    together = transformed(index, vectors)
    alone = np.concatenate([transformed(index, vectors[row : row + 1]) for row in range(300)])
    np.testing.assert_array_equal(alone, together)
    raw = index.chain.at(0).apply(vectors)  # faiss' own product in float32, which does
    np.testing.assert_allclose(raw, together, atol=1e-6)


def test_an_index_of_another_codec_or_transform_has_no_name():
    for factory in ("IVF4,SQ4", "IVF4,SQfp16", "PCA8,IVF4,Flat"):
        index = faiss.index_factory(16, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(unit(400))
        with pytest.raises(DataError, match="no codec is named for IndexIVF"):
            codec_of(index)
