"""The GPU's path without a GPU: its guard, and that a copy which only finds candidates answers as the index does."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from pipeline.index.gpu import MirroredIndex, on_gpu, require_gpu, train_on_gpu
from pipeline.index.lists import encode, read_rows, write_rows
from pipeline.index.opened import OpenIndex
from pipeline.index.quantizer import to_bytes, train_quantizer
from pipeline.index.search import search_index
from reporting.errors import ConfigError, DataError

REPOSITORY = Path(__file__).parents[3]


def unit(rows: int, seed: int = 0) -> np.ndarray:
    vectors: np.ndarray = np.random.default_rng(seed).normal(size=(rows, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


# Every vector three times: exact ties at every cut.
VECTORS = np.repeat(unit(700), 3, axis=0)
IDS = np.random.default_rng(1).permutation(10 * len(VECTORS))[: len(VECTORS)]


@functools.cache
def filled(codec: str) -> OpenIndex:
    index = train_quantizer(VECTORS, nlist=6, codec=codec)
    write_rows(index, encode(index, IDS, VECTORS))
    return OpenIndex(index)


@pytest.mark.parametrize("codec", ["flat", "sq8", "pq4x4", "opq4x4"])
@pytest.mark.parametrize("most", [None, 20])
def test_a_mirror_answers_as_search_index_does_to_the_bit(codec, most):
    source = filled(codec)
    queries = np.concatenate([VECTORS[:40], unit(40, seed=2)])
    for keep in (None, np.sort(IDS[::2])):
        counting = OpenIndex(source.index, keep=keep)
        mirror = MirroredIndex(counting, faiss.clone_index(source.ivf), most=most)
        for k, nprobe in ((1, 1), (10, 3), (30, 99)):
            expected, got = search_index(counting, queries, k, nprobe), mirror.search(queries, k, nprobe)
            np.testing.assert_array_equal(got[1], expected[1])
            np.testing.assert_array_equal(got[0], expected[0])


def test_what_faiss_finds_is_what_the_mirror_is_asked_for():
    """A mirror of other rows shows in the answers: they do come from it."""
    source = filled("flat")
    half: Any = faiss.clone_index(source.ivf)
    half.remove_ids(np.sort(IDS)[1000:])
    _, found = MirroredIndex(source, half).search(VECTORS[:200], 3, 6)
    assert set(found.reshape(-1).tolist()) <= set(np.sort(IDS)[:1000].tolist())


def test_an_empty_mirror_finds_nothing_and_bad_questions_are_refused():
    empty = OpenIndex(train_quantizer(VECTORS, nlist=6))
    mirror = MirroredIndex(empty, empty.ivf)
    assert (mirror.search(VECTORS[:2], 3, 1)[1] == -1).all()
    with pytest.raises(DataError, match="nprobe is 0"):
        mirror.search(VECTORS[:2], 3, 0)


def test_the_lists_are_those_that_the_assigner_finds():
    """Training by an assigner is the same training, and it is the assigner that is asked."""
    plain = train_quantizer(VECTORS, nlist=6)
    assert to_bytes(train_quantizer(VECTORS, nlist=6, assigner=faiss.IndexFlatIP(16))) == to_bytes(plain)
    wrong_way = faiss.IndexFlatL2(16)
    farthest = train_quantizer(VECTORS, nlist=6, codec="sq8", assigner=wrong_way)
    assert wrong_way.ntotal == 6
    assert read_rows(farthest).ids.size == 0


@pytest.mark.skipif(hasattr(faiss, "StandardGpuResources"), reason="this faiss has GPUs")
def test_without_a_gpu_build_it_says_what_to_install():
    calls = (
        require_gpu,
        lambda: train_on_gpu(VECTORS, nlist=6),
        lambda: on_gpu(OpenIndex(train_quantizer(VECTORS, nlist=6))),
    )
    for call in calls:
        with pytest.raises(ConfigError, match=r"install funnelgate\[gpu\] into an environment of its own"):
            call()


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    require_gpu(1)
    for device in (2, -1):
        with pytest.raises(ConfigError, match=f"there is no GPU {device}: faiss sees 2"):
            require_gpu(device)


@pytest.mark.slow
@pytest.mark.skipif(hasattr(faiss, "StandardGpuResources"), reason="this faiss has GPUs")
def test_the_comparison_ends_with_the_reason_where_there_is_no_gpu():
    script = REPOSITORY / "examples" / "gpu" / "compare.py"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "install funnelgate[gpu]" in ended.stderr
    assert "Traceback" not in ended.stderr
