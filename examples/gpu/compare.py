"""Compare training and search on a GPU with the processor's, on a machine that has one.

    python -m venv gpu-venv && gpu-venv/bin/pip install '.[gpu]'
    gpu-venv/bin/python examples/gpu/compare.py --rows 1000000 --nlist 4000 --codec flat

draws unit vectors, trains the same lists on both, and searches one index on both. It prints one JSON object: seconds
of each, how well each training fits (`list_imbalance`, `quantisation_error`), queries a second, and the share of
answers, ids and distances alike, that are equal (aim: 1.0, as both rank canonically). Exit code 0 if all are equal, 1
if not, 2 if faiss sees no GPU here.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.index.drift import drift_of
from pipeline.index.gpu import on_gpu, require_gpu, train_on_gpu
from pipeline.index.lists import encode, write_rows
from pipeline.index.opened import OpenIndex
from pipeline.index.quantizer import train_quantizer
from pipeline.index.search import search_index
from reporting.errors import FunnelgateError

DIM, LATENT, K = 128, 12, 10
T = TypeVar("T")


def directions(rows: int, seed: int) -> NDArray[np.float32]:
    """Return unit vectors (rows, 128) float32 that vary mostly in twelve directions."""
    axes = np.random.default_rng(0).normal(size=(LATENT, DIM)).astype(np.float32)
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((rows, LATENT), np.float32) @ axes
    vectors += np.float32(0.2) * rng.standard_normal((rows, DIM), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what the work returns, and its seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def compare(rows: int, queries: int, nlist: int, nprobe: int, codec: str, device: int) -> dict[str, object]:
    """Train and search on both."""
    require_gpu(device)
    vectors, asked = directions(rows, 1), directions(queries, 2)
    index, cpu_train = timed(lambda: train_quantizer(vectors, nlist=nlist, codec=codec))
    other, gpu_train = timed(lambda: train_on_gpu(vectors, nlist=nlist, codec=codec, device=device))
    cpu_fit, gpu_fit = drift_of(index, asked), drift_of(other, asked)
    write_rows(index, encode(index, np.arange(rows, dtype=np.int64), vectors))
    source = OpenIndex(index)
    mirror, copied = timed(lambda: on_gpu(source, device))
    mirror.search(asked[:64], K, nprobe)  # the first call makes the GPU's buffers
    expected, cpu_search = timed(lambda: search_index(source, asked, K, nprobe))
    got, gpu_search = timed(lambda: mirror.search(asked, K, nprobe))
    same = (expected[1] == got[1]) & (expected[0] == got[0])
    return {
        "rows": rows, "nlist": nlist, "nprobe": nprobe, "codec": codec,
        "train_seconds": {"cpu": round(cpu_train, 3), "gpu": round(gpu_train, 3)},
        "list_imbalance": {"cpu": cpu_fit.imbalance, "gpu": gpu_fit.imbalance},
        "quantisation_error": {"cpu": cpu_fit.quantisation_error, "gpu": gpu_fit.quantisation_error},
        "copy_to_gpu_seconds": round(copied, 3),
        "queries_per_second": {"cpu": round(queries / cpu_search, 1), "gpu": round(queries / gpu_search, 1)},
        "equal_answers": float(same.mean()),
    }  # fmt: skip


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Compare faiss on a GPU with faiss on the processor.")
    for name, value in {"rows": 1_000_000, "queries": 10_000, "nlist": 4000, "nprobe": 32, "device": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--codec", default="flat", help="flat, sq8, pq32, opq32, ...")
    try:
        found = compare(**vars(parser.parse_args()))
    except FunnelgateError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(found, indent=1))
    return 0 if found["equal_answers"] == 1.0 else 1


if __name__ == "__main__":
    sys.exit(main())
