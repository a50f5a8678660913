"""An index as it was trained: an inverted file, alone or behind a linear transform (OPQ).

Everything in this folder speaks to the inverted file inside; only vectors that come from outside are transformed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from reporting.errors import DataError


@dataclass(frozen=True, eq=False)
class Transform:
    """One linear transform y = A x + b, as an index holds it.

    Attributes:
        kind: faiss' name of it, for instance `OPQMatrix`.
        matrix: A, shape (d_out, d_in) float32.
        bias: b, shape (d_out,) float32, or (0,) where there is none.
        wide: A in float64.
    """

    kind: str
    matrix: NDArray[np.float32]
    bias: NDArray[np.float32]
    wide: NDArray[np.float64]


def ivf_of(index: Any, where: str = "index") -> faiss.IndexIVF:
    """Return the inverted file of an index: itself, or the one behind an `IndexPreTransform`.

    Raises:
        DataError: It is no inverted file; the message names `where` and the type found.
    """
    inner: Any = index
    if isinstance(index, faiss.IndexPreTransform):
        inner = faiss.downcast_index(index.index)
        inner.referenced_objects = [index]  # it lies inside the other, which Python must not free before it
    if not isinstance(inner, faiss.IndexIVF):
        raise DataError(f"{where}: holds a {type(inner).__name__}, expected an IVF index")
    return inner


def transforms_of(index: Any, where: str = "index") -> tuple[Transform, ...]:
    """Return the transforms before the inverted file, in the order they are applied; () where there is none.

    Raises:
        DataError: One of them is not linear.
    """
    if not isinstance(index, faiss.IndexPreTransform):
        return ()
    found = []
    chain: Any = index.chain
    for number in range(chain.size()):
        one = faiss.downcast_VectorTransform(chain.at(number))
        if not isinstance(one, faiss.LinearTransform) or not one.is_trained:
            raise DataError(f"{where}: vectors go through a {type(one).__name__}, expected a trained linear transform")
        matrix = faiss.vector_to_array(one.A).reshape(one.d_out, one.d_in).astype(np.float32)
        bias = faiss.vector_to_array(one.b) if one.have_bias else np.zeros(0, np.float32)
        found.append(Transform(type(one).__name__, matrix, bias.astype(np.float32), matrix.astype(np.float64)))
    return tuple(found)


def transformed(index: Any, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors (n, d_in) float32 as the inverted file sees them, (n, d) float32 C-contiguous."""
    return apply_all(transforms_of(index), vectors)


def apply_all(transforms: Sequence[Transform], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply transforms to vectors (n, d_in) float32, giving (n, d_out) float32 C-contiguous.

    Computed in float64 and rounded once: a float32 product, which is what faiss takes, sums in another order for
    another number of rows, and a row's code would depend on its batch.
    """
    for one in transforms:
        wide = vectors.astype(np.float64) @ one.wide.T
        if one.bias.size:
            wide += one.bias
        vectors = wide.astype(np.float32)
    return np.ascontiguousarray(vectors)


def revert_all(transforms: Sequence[Transform], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take vectors (n, d_out) float32 back to (n, d_in) float32, C-contiguous, by the transposed matrices.

    An inner product with a vector from outside is kept, because A is orthonormal and without bias, as OPQ's is:
    <q, A' y> = <A q, y>.
    """
    for one in reversed(transforms):
        wide = vectors.astype(np.float64) - (one.bias if one.bias.size else 0.0)
        vectors = (wide @ one.wide).astype(np.float32)
    return np.ascontiguousarray(vectors)
