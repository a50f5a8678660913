"""The coarse quantizer: how many lists, how they are trained, and the fingerprint that a merge compares.

faiss compares only a quarter of what makes two IVF indexes compatible (`IndexIVF::check_compatible_for_merge`
looks at d, nlist, code size, type and coarse centroids, neither at the metric nor at the codec's own
training), and merges the rest silently. The fingerprint here is read from the index object itself, never from
declared metadata.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pipeline.index.codec import MIN_POINTS_PER_CENTROID, Codec
from pipeline.index.wrapped import ivf_of, transforms_of
from reporting.errors import DataError

# Up to here one list scans everything: 4,096 x 1,280 floats are 21 MB, about 2 ms a query, and no ANN loss.
EXACT_ROWS = 4096
# L2 norms of float32 vectors of a few thousand dimensions differ from 1 by less than this.
NORM_TOLERANCE = 1e-3
# Vectors that a rotation learns from, for each codebook entry. Its 240 k-means steps take nearly all of the training:
# with faiss' 256 four times as long, for an error lower by a seventh; fewer of its 50 rounds would cost half again.
_ROTATION_ROWS_PER_ENTRY = 64
_FINGERPRINT_VERSION = b"funnelgate-ivf/1"


def choose_nlist(
    n_day: int, window_days: int, *, training_rows: int | None = None, exact_rows: int = EXACT_ROWS
) -> int:
    """Choose the number of inverted lists for a category.

    The window's rows N = `n_day` x `window_days` ask for about 4 sqrt(N) lists (faiss wiki, "Guidelines to
    choose an index"); the training set allows at most one for each 39 of its vectors.

    Args:
        n_day: Rows of one day; >= 0.
        window_days: Days the merged index will hold; >= 1.
        training_rows: Training vectors; None: those of one day.
        exact_rows: At most so many rows in the window are searched exactly, with one list.

    Returns:
        Number of lists, >= 1; 1 means that the search is exact.

    Example:
        >>> choose_nlist(100, 7), choose_nlist(100_000, 30), choose_nlist(5_000, 30), choose_nlist(0, 7)
        (1, 2564, 128, 1)
        >>> choose_nlist(5_000, 30, training_rows=150_000)
        1549
    """
    rows = n_day * window_days
    if rows <= exact_rows:
        return 1
    learnt = n_day if training_rows is None else training_rows
    return max(1, min(round(4 * math.sqrt(rows)), learnt // MIN_POINTS_PER_CENTROID))


def train_quantizer(
    vectors: NDArray[np.float32], *, nlist: int, codec: str = "flat", seed: int = 1234, assigner: Any = None
) -> Any:
    """Train an empty inner-product IVF index by spherical k-means, and its codec, deterministically.

    The same vectors, `nlist`, `codec` and `seed` give the same index to the bit, whatever the number of threads
    (training runs on one). The lists of `nlist` 1 are not trained at all: the one centroid is the zero vector, so
    that two exact flat indexes of one dimension always merge, and no vector is needed (n = 0 is allowed).

    Args:
        vectors: Shape (n, d) float32, each row L2-normalised; not changed. faiss uses at
            most 256 a list, 256 a codebook entry, and for a rotation 64 a codebook entry.
        nlist: Number of lists, >= 1; see `choose_nlist`.
        codec: How vectors are stored, see `pipeline.index.codec`.
        seed: Seed of the k-means starts.
        assigner: Empty inner-product index of the stored dimensions that k-means finds the nearest centroids with,
            see `pipeline.index.gpu`; None: the processor's.

    Returns:
        An inverted file (`faiss.IndexIVF`); with `opq...` one behind an `IndexPreTransform`.

    Raises:
        ConfigError: There is no such codec.
        DataError: The vectors are not finite, not normalised or not of that shape, n is less than the lists
            (39 each) or the codec need, or d does not fit the codec.
    """
    chosen = Codec.parse(codec)
    vectors = checked_vectors(vectors)
    _require_enough(vectors, nlist, chosen)
    with one_thread():
        rotation = _rotation(vectors, chosen, seed) if chosen.kind == "opq" else None
        inner = vectors if rotation is None else rotation.apply(vectors)
        coarse = _coarse(inner, nlist, seed, assigner)
        ivf = _with_codec(coarse, inner, nlist, chosen, seed)
    index = ivf if rotation is None else faiss.IndexPreTransform(rotation, ivf)
    # Deserialised, the index owns its coarse quantizer; as built, it would only borrow Python's.
    return from_bytes(to_bytes(index))


def _rotation(vectors: NDArray[np.float32], codec: Codec, seed: int) -> Any:
    """Learn OPQ's rotation for the codec's own parts and bits (faiss alone would take 8 bits)."""
    dim = codec.stored_dim(vectors.shape[1])
    rotation: Any = faiss.OPQMatrix(vectors.shape[1], codec.parts, dim)
    learner = faiss.ProductQuantizer(dim, codec.parts, codec.bits)
    learner.cp.seed = seed
    rotation.pq = learner
    rotation.max_train_points = _ROTATION_ROWS_PER_ENTRY << codec.bits
    rotation.train(vectors)
    rotation.pq = None  # it was only borrowed
    return rotation


def _coarse(vectors: NDArray[np.float32], nlist: int, seed: int, assigner: Any) -> faiss.IndexFlatIP:
    """Return the centroids, by spherical k-means as faiss trains an inner-product `IndexIVFFlat`."""
    coarse = faiss.IndexFlatIP(vectors.shape[1])
    if nlist == 1:
        coarse.add(np.zeros((1, vectors.shape[1]), np.float32))
        return coarse
    index: Any = faiss.IndexIVFFlat(coarse, vectors.shape[1], nlist, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed
    index.clustering_index = assigner
    index.train(vectors)
    return coarse


def _require_enough(vectors: NDArray[np.float32], nlist: int, codec: Codec) -> None:
    """Raise if the training vectors are too few for the lists or the codec, or of dimensions it cannot cut."""
    rows, dim = vectors.shape
    codec.stored_dim(dim)
    if nlist < 1 or dim < 1:
        raise DataError(f"cannot train {nlist} lists of {dim} dimensions: both must be at least 1")
    if nlist > 1 and rows < MIN_POINTS_PER_CENTROID * nlist:
        raise DataError(
            f"{rows} training vectors are too few for {nlist} lists: faiss asks for {MIN_POINTS_PER_CENTROID}"
            f" a list; take choose_nlist's answer, at most {max(1, rows // MIN_POINTS_PER_CENTROID)} lists"
        )
    if rows < codec.min_rows:
        raise DataError(
            f"{rows} training vectors are too few for codec {codec}, which asks for {codec.min_rows}; train on a"
            " fuller day, or choose sq8, flat or fewer bits a part"
        )


def _with_codec(coarse: faiss.IndexFlatIP, vectors: NDArray[np.float32], nlist: int, codec: Codec, seed: int) -> Any:
    """Return an inverted file over trained lists with its codec trained; it borrows `coarse`."""
    metric, dim = faiss.METRIC_INNER_PRODUCT, coarse.d
    ivf: Any
    if codec.kind == "flat":
        ivf = faiss.IndexIVFFlat(coarse, dim, nlist, metric)
        ivf.is_trained = True
        return ivf
    if codec.kind == "sq8":
        ivf = faiss.IndexIVFScalarQuantizer(coarse, dim, nlist, faiss.ScalarQuantizer.QT_8bit, metric)
    else:
        ivf = faiss.IndexIVFPQ(coarse, dim, nlist, codec.parts, codec.bits, metric)
        ivf.pq.cp.seed = seed
    # A residual is worth storing where it is shorter than the vector: |x - c|^2 < |x|^2 for unit c.
    ivf.by_residual = nlist > 1 and float(coarse.search(vectors, 1)[0].mean(dtype=np.float64)) > 0.5
    ivf.train(vectors)
    return ivf


@contextmanager
def one_thread() -> Iterator[None]:
    """Let faiss work on one thread meanwhile: BLAS sums a product in another order on another number of threads."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


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


def centroids(index: Any) -> NDArray[np.float32]:
    """Return the coarse centroids, shape (nlist, d) float32, in the space after the transform if there is one."""
    ivf = ivf_of(index)
    rows: NDArray[np.float32] = ivf.quantizer.reconstruct_n(0, ivf.nlist)
    return rows


def fingerprint(index: Any) -> str:
    """Hash all training state that two indexes must share before their rows may lie in one index.

    Covers d, metric, nlist, the coarse centroids' bytes, the codec with its own training (scalar ranges and their
    type, product codebooks, by_residual), and the matrices and biases of what lies before it. The rows held do
    not matter: an empty quantizer and its shards hash alike.

    Args:
        index: `IndexIVFFlat`, `IndexIVFScalarQuantizer` or `IndexIVFPQ` over a flat coarse quantizer, alone or
            behind an `IndexPreTransform` of linear transforms.

    Returns:
        SHA-256, 64 hex characters.

    Raises:
        DataError: The index is of another type, whose training state this function does not know,
            or is not trained.
    """
    ivf = ivf_of(index)
    codec = _codec(ivf)
    if not (index.is_trained and ivf.is_trained):
        raise DataError(f"{type(ivf).__name__} is not trained; only a trained index has a fingerprint")
    if not isinstance(faiss.downcast_index(ivf.quantizer), faiss.IndexFlat):
        raise DataError(
            f"no fingerprint is defined for lists chosen by a {type(faiss.downcast_index(ivf.quantizer)).__name__};"
            " expected IndexFlat"
        )
    parts = [
        f"d={ivf.d} metric={ivf.metric_type} nlist={ivf.nlist}".encode(),
        np.ascontiguousarray(centroids(ivf), dtype="<f4").tobytes(),
        codec,
    ]
    for one in transforms_of(index):
        parts.append(f"{one.kind} d_in={one.matrix.shape[1]} d_out={one.matrix.shape[0]} bias={one.bias.size}".encode())
        parts += [np.ascontiguousarray(one.matrix, dtype="<f4").tobytes(), one.bias.astype("<f4").tobytes()]
    digest = hashlib.sha256(_FINGERPRINT_VERSION)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))  # length first: no two part lists concatenate alike
        digest.update(part)
    return digest.hexdigest()


def codec_of(index: Any) -> str:
    """Name the codec of an index as `Codec.parse` reads it.

    Raises:
        DataError: There is no name for it: its type or scalar type is none of ours.
    """
    ivf: Any = ivf_of(index)
    kind = type(ivf)
    rotations = transforms_of(index)
    if kind is faiss.IndexIVFFlat and not rotations:
        return "flat"
    if kind is faiss.IndexIVFScalarQuantizer and not rotations and ivf.sq.qtype == faiss.ScalarQuantizer.QT_8bit:
        return "sq8"
    if kind is faiss.IndexIVFPQ and len(rotations) <= 1:
        dim = 0 if ivf.d == index.d else ivf.d
        return str(Codec("opq" if rotations else "pq", ivf.pq.M, ivf.pq.nbits, dim))
    behind = "".join(f" behind a {one.kind}" for one in rotations)
    raise DataError(f"no codec is named for {kind.__name__}{behind}; expected flat, sq8, pq or opq")


def _codec(index: Any) -> bytes:
    """Return the codec's name, code size and training as bytes; exactly these types, as subclasses store more."""
    kind = type(index)
    if kind is faiss.IndexIVFFlat:
        name, trained = "flat", np.zeros(0, np.float32)
    elif kind is faiss.IndexIVFScalarQuantizer:
        name, trained = f"sq{index.sq.qtype}", faiss.vector_to_array(index.sq.trained)
    elif kind is faiss.IndexIVFPQ:
        name, trained = f"pq{index.pq.M}x{index.pq.nbits}", faiss.vector_to_array(index.pq.centroids)
    else:
        raise DataError(
            f"no fingerprint is defined for {kind.__name__}: expected IndexIVFFlat,"
            " IndexIVFScalarQuantizer or IndexIVFPQ"
        )
    head = f"{name} code_size={index.code_size} by_residual={index.by_residual} ".encode()
    return head + np.ascontiguousarray(trained, dtype="<f4").tobytes()


def to_bytes(index: Any) -> bytes:
    """Serialise an index in faiss' own format (never pickle)."""
    data: bytes = faiss.serialize_index(index).tobytes()
    return data


def from_bytes(data: bytes, *, where: str = "index bytes") -> Any:
    """Read an IVF index, alone or behind an `IndexPreTransform`, from bytes written by `to_bytes`.

    Verify the sha256 first when the bytes come from elsewhere: faiss' reader is no defence against a forger.

    Raises:
        DataError: The bytes are broken or hold no IVF index; the message names `where`.
    """
    try:
        index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
    except RuntimeError as error:
        raise DataError(f"{where}: faiss cannot read these {len(data)} bytes; build the index again") from error
    ivf_of(index, where)
    return index
