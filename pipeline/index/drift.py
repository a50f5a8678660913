"""How well frozen centroids still fit a day's vectors.

A quantizer is trained once, so that shards stay mergeable, while the catalogue moves on: lists grow uneven, which
costs time, and codes grow coarse, which costs recall (DeDrift, Baranchuk et al. 2023, arXiv 2308.02752). Both are
measured for every day here; when they have risen, a new training (and a build of everything) is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.index.lists import decode, encode
from pipeline.index.opened import opened
from pipeline.index.quantizer import centroids, checked_vectors
from reporting.errors import DataError

# Vectors whose codes are decoded at a time: 16 MB of floats for 1,280 dimensions.
_BLOCK = 3277


@dataclass(frozen=True, slots=True)
class Drift:
    """How a set of vectors falls into an index's lists and codes; the figures of the task `train`.

    Attributes:
        imbalance: faiss' imbalance factor, nlist x sum(size^2) / rows^2, of the lists' sizes: 1 when all are equal,
            nlist when one holds everything; about the factor by which a search scans more than it need. 0: no rows.
        quantisation_error: Mean squared distance from a vector to its stored (decoded) form, or, where a `flat` index
            stores it as it is, to the centroid of its list. In [0, 4]. 0: no rows.
        ratio: `quantisation_error` over the reference's: 1 on the training vectors, more as the content drifts.
            None without a reference, or where its error is 0.
    """

    imbalance: float
    quantisation_error: float
    ratio: float | None = None


def list_imbalance(sizes: NDArray[np.int64]) -> float:
    """Return faiss' imbalance factor of list sizes (nlist,) int64; 0 when all are empty.

    Example:
        >>> list_imbalance(np.array([5, 5, 5])), list_imbalance(np.array([15, 0, 0]))
        (1.0, 3.0)
    """
    wide = sizes.astype(np.float64)
    total = float(wide.sum())
    return float(len(wide) * np.square(wide).sum() / total**2) if total else 0.0


def drift_of(index: Any, vectors: NDArray[np.float32], reference: Drift | None = None) -> Drift:
    """Measure how vectors fit the lists and codec of a trained index, whose own rows do not matter.

    Pure: the same index and vectors, in any order, give the same figures but for the rounding of a sum.

    Args:
        index: Trained index (`OpenIndex` or faiss'); not changed.
        vectors: Shape (n, d) float32, L2-normalised; n = 0 gives zeros, and no ratio.
        reference: Of the vectors that it was trained on.

    Raises:
        DataError: The vectors are not normalised, or of another dimension than the index.
    """
    source = opened(index)
    vectors = checked_vectors(vectors)
    if vectors.shape[1] != source.dim:
        raise DataError(f"vectors have {vectors.shape[1]} dimensions, the index has {source.dim}")
    sizes = np.zeros(source.nlist, np.int64)
    squared = 0.0
    centres = centroids(source.index) if source.is_flat else None
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        rows = encode(source.index, np.arange(len(block), dtype=np.int64), block)
        sizes += np.bincount(rows.list_numbers, minlength=source.nlist)
        stored = decode(source, rows.list_numbers, rows.codes) if centres is None else centres[rows.list_numbers]
        squared += float(np.square(source.transform(block).astype(np.float64) - stored).sum())
    if not len(vectors):
        return Drift(0.0, 0.0)
    error = squared / len(vectors)
    before = 0.0 if reference is None else reference.quantisation_error
    return Drift(list_imbalance(sizes), error, error / before if before else None)
