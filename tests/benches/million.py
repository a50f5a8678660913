"""A million vectors in an inverted file that finds 95 of 100 true neighbours: what the search benchmarks share."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

ROWS, DIM, K, AIM = 1_000_000, 128, 10, 0.95
# 4 sqrt(ROWS), as choose_nlist asks for.
LISTS = 4000
# Directions that the vectors really vary in. Of SIFT's 128 dimensions about as many matter to its neighbourhoods.
_LATENT = 12


@dataclass(frozen=True)
class Million:
    """An index with queries, and the fewest lists that give the recall aimed at.

    Attributes:
        index: `IndexIVFFlat`, inner product, 1,000,000 x 128.
        queries: Shape (2000, 128) float32, of the same distribution.
        nprobe: Lists to probe.
        recall: recall@10 on the first 500 queries with them, 0..1.
    """

    index: Any
    queries: Vectors
    nprobe: int
    recall: float


def directions(rows: int, seed: int) -> Vectors:
    """Return unit vectors (rows, DIM) float32 that vary in `_LATENT` directions, with a little noise in all others."""
    axes = np.random.default_rng(0).normal(size=(_LATENT, DIM)).astype(np.float32)
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((rows, _LATENT), np.float32) @ axes
    vectors += np.float32(0.2) * rng.standard_normal((rows, DIM), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@functools.cache
def million() -> Million:
    """Build it: about a minute on two cores, once a session."""
    vectors, queries = directions(ROWS, 1), directions(2000, 2)
    index: Any = faiss.index_factory(DIM, f"IVF{LISTS},Flat", faiss.METRIC_INNER_PRODUCT)
    index.own_fields = True
    index.cp.niter = 6
    index.train(vectors[: 39 * LISTS])
    index.add_with_ids(vectors, np.arange(ROWS))
    asked = queries[:500]
    _, truth = faiss.knn(asked, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)
    index.nprobe = 1
    while (recall := _recall(index.search(asked, K)[1], truth)) < AIM:
        index.nprobe += max(1, index.nprobe // 8)
    return Million(index, queries, index.nprobe, recall)


def _recall(found: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, truth, strict=True)]))
