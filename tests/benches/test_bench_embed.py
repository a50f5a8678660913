"""The embedder with its preprocessing against a bare ONNX Runtime loop over the same preprocessed batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.models.catalog import DEFAULT_EMBEDDER, SHIPPED, open_embedder
from pipeline.models.preprocess import preprocess

COUNT, BATCH, ROUNDS = 64, 8, 7


def photos() -> list[npt.NDArray[np.uint8]]:
    """Return pictures of 464 x 348 px, a phone photo after scaled decoding; their content does not change the time."""
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (464, 348, 3), dtype=np.uint8) for _ in range(COUNT)]


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def test_embedding_costs_little_more_than_the_bare_network(benchmark: Any) -> None:
    """Books the share of the CPU time that the network itself takes (aim: .85); both run interleaved, medians."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    bare = ort.InferenceSession(
        str(SHIPPED / DEFAULT_EMBEDDER / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    embedder = open_embedder(DEFAULT_EMBEDDER)
    images = photos()
    batches = [preprocess(images[i : i + BATCH], embedder.spec.input) for i in range(0, COUNT, BATCH)]

    def bare_loop() -> list[Any]:
        return [bare.run(None, {"pixels": batch}) for batch in batches]

    def ours() -> npt.NDArray[np.float32]:
        return embedder.embed(images)

    bare_loop()
    ours()
    pairs = [(cpu_seconds(bare_loop), cpu_seconds(ours)) for _ in range(ROUNDS)]
    bare_seconds, our_seconds = (statistics.median(column) for column in zip(*pairs, strict=True))
    benchmark.extra_info["bare_cpu_ms_per_picture"] = round(bare_seconds / COUNT * 1e3, 3)
    benchmark.extra_info["embed_cpu_ms_per_picture"] = round(our_seconds / COUNT * 1e3, 3)
    benchmark.extra_info["ratio_to_bare_network"] = round(bare_seconds / our_seconds, 3)
    vectors = benchmark.pedantic(ours, rounds=3, iterations=1)
    unit = np.concatenate([answer[0] for answer in bare_loop()])
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, unit, atol=1e-5)  # the two did the same work
