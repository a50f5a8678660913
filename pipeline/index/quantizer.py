"""The coarse quantizer: how many lists, how they are trained, and the fingerprint that a merge compares.

faiss compares only a quarter of what makes two IVF indexes compatible (`IndexIVF::check_compatible_for_merge`
looks at d, nlist, code size, type and coarse centroids, neither at the metric nor at the codec's own
training), and merges the rest silently. The fingerprint here is read from the index object itself, never from
declared metadata.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from reporting.errors import DataError

# faiss' own rule (ClusteringParameters::min_points_per_centroid); below it faiss prints a warning.
MIN_POINTS_PER_CENTROID = 39
# Up to here one list scans everything: 4,096 x 1,280 floats are 21 MB, about 2 ms a query, and no ANN loss.
EXACT_ROWS = 4096
# L2 norms of float32 vectors of a few thousand dimensions differ from 1 by less than this.
NORM_TOLERANCE = 1e-3
_FINGERPRINT_VERSION = b"funnelgate-ivf/1"


def choose_nlist(n_day: int, window_days: int, *, exact_rows: int = EXACT_ROWS) -> int:
    """Choose the number of inverted lists for a category.

    The window's rows N = `n_day` x `window_days` ask for about 4 sqrt(N) lists (faiss wiki, "Guidelines to
    choose an index"); the training set, which is one day, allows at most `n_day` / 39.

    Args:
        n_day: Rows of one day, which are also the training vectors; >= 0.
        window_days: Days the merged index will hold; >= 1.
        exact_rows: At most so many rows in the window are searched exactly, with one list.

    Returns:
        Number of lists, >= 1; 1 means that the search is exact.

    Example:
        >>> choose_nlist(100, 7), choose_nlist(100_000, 30), choose_nlist(5_000, 30), choose_nlist(0, 7)
        (1, 2564, 128, 1)
    """
    rows = n_day * window_days
    if rows <= exact_rows:
        return 1
    return max(1, min(round(4 * math.sqrt(rows)), n_day // MIN_POINTS_PER_CENTROID))


def train_quantizer(vectors: NDArray[np.float32], *, nlist: int, seed: int = 1234) -> faiss.IndexIVFFlat:
    """Train an empty inner-product `IndexIVFFlat` by spherical k-means, deterministically.

    The same vectors, `nlist` and `seed` give the same centroids to the bit, whatever the number of threads
    (training runs on one). `nlist` 1 is not trained at all: its one centroid is the zero vector, so that two
    exact indexes of one dimension always merge, and no vector is needed (n = 0 is allowed).

    Args:
        vectors: Shape (n, d) float32, each row L2-normalised; not changed. faiss uses at
            most 256 a list.
        nlist: Number of lists, >= 1; see `choose_nlist`.
        seed: Seed of the k-means start.

    Raises:
        DataError: The vectors are not finite, not normalised or not of that shape, or n < 39 x nlist.
    """
    vectors = checked_vectors(vectors)
    rows, dim = vectors.shape
    if nlist < 1 or dim < 1:
        raise DataError(f"cannot train {nlist} lists of {dim} dimensions: both must be at least 1")
    if nlist > 1 and rows < MIN_POINTS_PER_CENTROID * nlist:
        raise DataError(
            f"{rows} training vectors are too few for {nlist} lists: faiss asks for {MIN_POINTS_PER_CENTROID}"
            f" a list; take choose_nlist's answer, at most {max(1, rows // MIN_POINTS_PER_CENTROID)} lists"
        )
    coarse = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFFlat(coarse, dim, nlist, faiss.METRIC_INNER_PRODUCT)
    if nlist == 1:
        coarse.add(np.zeros((1, dim), np.float32))
        index.is_trained = True
    else:
        index.cp.seed = seed
        threads = faiss.omp_get_max_threads()
        # BLAS sums a GEMM in another order on another number of threads; one thread gives one answer.
        faiss.omp_set_num_threads(1)
        try:
            index.train(vectors)
        finally:
            faiss.omp_set_num_threads(threads)
    # Deserialised, the index owns its coarse quantizer; as built, it would only borrow Python's.
    return cast(faiss.IndexIVFFlat, from_bytes(to_bytes(index)))


def checked_vectors(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vectors C-contiguous, or raise if they are not (n, d) float32, finite and L2-normalised.

    Raises:
        DataError: Names the first bad row.
    """
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise DataError(f"vectors are {vectors.dtype} of shape {vectors.shape}; expected float32 of shape (n, d)")
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    bad = np.flatnonzero(~(np.abs(norms - 1.0) <= NORM_TOLERANCE))  # the negation also catches NaN
    if bad.size:
        raise DataError(
            f"{bad.size} of {len(vectors)} vectors are not L2-normalised: row {bad[0]} has norm"
            f" {norms[bad[0]]:.6g}; divide each vector by its norm and drop those that have none"
        )
    return np.ascontiguousarray(vectors)


def centroids(index: faiss.IndexIVF) -> NDArray[np.float32]:
    """Return the coarse centroids, shape (nlist, d) float32."""
    rows: NDArray[np.float32] = index.quantizer.reconstruct_n(0, index.nlist)
    return rows


def fingerprint(index: faiss.IndexIVF) -> str:
    """Hash all training state that two indexes must share before their rows may lie in one index.

    Covers d, metric, nlist, the coarse centroids' bytes, and the codec with its own training (scalar ranges,
    product codebooks). The rows held do not matter: an empty quantizer and its shards hash alike.

    Args:
        index: `IndexIVFFlat`, `IndexIVFScalarQuantizer` or `IndexIVFPQ`.

    Returns:
        SHA-256, 64 hex characters.

    Raises:
        DataError: The index is of another type, whose training state this function does not know,
            or is not trained.
    """
    codec = _codec(index)
    if not index.is_trained:
        raise DataError(f"{type(index).__name__} is not trained; only a trained index has a fingerprint")
    digest = hashlib.sha256(_FINGERPRINT_VERSION)
    for part in (
        f"d={index.d} metric={index.metric_type} nlist={index.nlist}".encode(),
        np.ascontiguousarray(centroids(index), dtype="<f4").tobytes(),
        codec,
    ):
        digest.update(len(part).to_bytes(8, "little"))  # length first: no two part lists concatenate alike
        digest.update(part)
    return digest.hexdigest()


def _codec(index: Any) -> bytes:
    """Return the codec's name, code size and training as bytes."""
    if isinstance(index, faiss.IndexIVFFlat):
        name, trained = "flat", np.zeros(0, np.float32)
    elif isinstance(index, faiss.IndexIVFScalarQuantizer):
        name, trained = f"sq{index.sq.qtype}", faiss.vector_to_array(index.sq.trained)
    elif isinstance(index, faiss.IndexIVFPQ):
        name, trained = f"pq{index.pq.M}x{index.pq.nbits}", faiss.vector_to_array(index.pq.centroids)
    else:
        raise DataError(
            f"no fingerprint is defined for {type(index).__name__}: expected IndexIVFFlat,"
            " IndexIVFScalarQuantizer or IndexIVFPQ"
        )
    head = f"{name} code_size={index.code_size} by_residual={index.by_residual} ".encode()
    return head + np.ascontiguousarray(trained, dtype="<f4").tobytes()


def to_bytes(index: faiss.Index) -> bytes:
    """Serialise an index in faiss' own format (never pickle)."""
    data: bytes = faiss.serialize_index(index).tobytes()
    return data


def from_bytes(data: bytes, *, where: str = "index bytes") -> faiss.IndexIVF:
    """Read an IVF index from bytes written by `to_bytes`.

    Verify the sha256 first when the bytes come from elsewhere: faiss' reader is no defence against a forger.

    Raises:
        DataError: The bytes are broken or hold no IVF index; the message names `where`.
    """
    try:
        index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
    except RuntimeError as error:
        raise DataError(f"{where}: faiss cannot read these {len(data)} bytes; build the index again") from error
    if not isinstance(index, faiss.IndexIVF):
        raise DataError(f"{where}: holds a {type(index).__name__}, expected an IVF index")
    return index
