"""Vectors of one's own: read from .npy, .fvecs, .tsv and Parquet into what the functions of this folder take."""

from __future__ import annotations

import hashlib
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.index.quantizer import NORM_TOLERANCE
from reporting.errors import DataError, UsageError, nearest

FORMATS = (".npy", ".fvecs", ".tsv", ".tsv.gz", ".parquet")
_ROWS_AT_ONCE = 1 << 16
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class VectorFile:
    """Vectors with their ids.

    Attributes:
        ids: Shape (n,) int64, >= 0, unique, in the file's order.
        vectors: Shape (n, d) float32, C-contiguous, each row L2-normalised.
        normalised: Rows that were not of length 1 in the file and were divided by their length.
        sha256: Of ids and vectors, little-endian, in the file's order: what a result was computed from.
    """

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    normalised: int
    sha256: str


def read_vectors(
    path: Path,
    *,
    normalise: bool = False,
    first_id: int = 0,
    id_column: str | None = None,
    vector_column: str = "vector",
) -> VectorFile:
    """Read a file of vectors.

    Formats: `.npy` (n, d) of any real type; `.fvecs` (an int32 d and d float32 a row, as of corpus-texmex);
    `.tsv`, also gzipped, one row a line, columns separated by white space; `.parquet` with a list column.

    Args:
        path: The file.
        normalise: Divide rows by their length; without it rows of another length are refused.
        first_id: Id of the first row where the file names none; the others follow.
        id_column: Parquet: column of the ids, default `id` where there is one. `.tsv`: `first` or `last`.
        vector_column: Parquet: column of the vectors.

    Raises:
        DataError: The file cannot be read, rows differ in length, hold NaN or infinity, have no direction (length
            0) or are not normalised; ids repeat, are negative or no whole numbers.
        UsageError: The name's ending or a column is unknown, or `id_column` does not fit the format.
    """
    ids, vectors = _read(path, id_column, vector_column)
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise DataError(f"{path}: holds an array of shape {vectors.shape}; expected (rows, dimensions)")
    vectors, count = _unit_rows(path, vectors, normalise)
    ids = _ids(path, ids, len(vectors), first_id)
    digest = hashlib.sha256(np.ascontiguousarray(ids, "<i8").tobytes())
    digest.update(np.ascontiguousarray(vectors, "<f4").data)
    return VectorFile(ids, vectors, count, digest.hexdigest())


def _read(path: Path, id_column: str | None, vector_column: str) -> tuple[NDArray[Any] | None, NDArray[Any]]:
    """Return the ids, where the file has some, and the vectors as they are."""
    name = path.name.lower()
    ending = next((ending for ending in sorted(FORMATS, key=len, reverse=True) if name.endswith(ending)), None)
    if ending is None:
        raise UsageError(f"{path}: unknown kind of file; expected a name that ends in {', '.join(FORMATS)}")
    if id_column is not None and ending in (".npy", ".fvecs"):
        raise UsageError(f"{path}: a {ending} file has no column of ids; leave out --id-column, or say --first-id")
    try:
        if ending == ".npy":
            return None, np.load(path, mmap_mode="r", allow_pickle=False)
        if ending == ".fvecs":
            return None, _fvecs(path)
        return _parquet(path, id_column, vector_column) if ending == ".parquet" else _tsv(path, id_column)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as {ending}: {error}; write it again") from error


def _fvecs(path: Path) -> NDArray[np.float32]:
    data = np.fromfile(path, np.uint8)
    if not len(data):
        return np.zeros((0, 1), np.float32)
    if len(data) < 4:
        raise ValueError(f"{len(data)} bytes hold no dimension")
    dim = int(data[:4].view("<i4")[0])
    if dim < 1 or len(data) % (4 + 4 * dim):
        raise ValueError(f"{len(data)} bytes are no whole rows of {dim} dimensions")
    rows = data.view("<i4").reshape(-1, 1 + dim)
    other = np.flatnonzero(rows[:, 0] != dim)
    if other.size:
        raise ValueError(f"row {other[0]} has {rows[other[0], 0]} dimensions, the first has {dim}")
    return rows[:, 1:].view("<f4")


def _tsv(path: Path, id_column: str | None) -> tuple[NDArray[Any] | None, NDArray[Any]]:
    if id_column not in (None, "first", "last"):
        raise UsageError(f"{path}: --id-column {id_column!r} is none of a .tsv file; say first or last")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "loadtxt: input contained no data", UserWarning)
        # float64 holds ids up to 2^53 and float32 values exactly
        table = np.loadtxt(path, np.float64, ndmin=2, comments=None, encoding="utf-8")
    if id_column is None or not table.size:
        return None, table
    at = 0 if id_column == "first" else -1
    ids = table[:, at]
    if not np.all((ids == np.floor(ids)) & (np.abs(ids) < 2**53)):
        raise ValueError(f"the {id_column} column holds no whole numbers below 2^53; it is no column of ids")
    return ids.astype(np.int64), np.delete(table, at, axis=1)


def _parquet(path: Path, id_column: str | None, vector_column: str) -> tuple[NDArray[Any] | None, NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            wanted = id_column if id_column is not None else ("id" if "id" in names else None)
            for column in filter(None, (vector_column, wanted)):
                if column not in names:
                    raise UsageError(f"{path}: there is no column {column!r}; {nearest(column, names)}")
            table = file.read(columns=[vector_column, *([wanted] if wanted else [])])
        vectors = _list_rows(table[vector_column].combine_chunks(), vector_column)
        if wanted is None:
            return None, vectors
        if table[wanted].null_count or not pa.types.is_integer(table[wanted].type):
            raise ValueError(f"column {wanted!r} is of {table[wanted].type} with {table[wanted].null_count} nulls")
        return table[wanted].cast(pa.int64()).to_numpy(), vectors
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def _list_rows(column: Any, name: str) -> NDArray[Any]:
    """Return a list column as (n, d).

    Raises:
        ValueError: It is no list column of numbers, holds nulls, or its rows differ in length.
    """
    import pyarrow as pa

    kinds = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise ValueError(f"column {name!r} is of {column.type}; expected lists of numbers")
    values = column.flatten()
    if column.null_count or values.null_count:
        raise ValueError(f"column {name!r} holds {column.null_count or values.null_count} nulls")
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise ValueError(f"column {name!r} holds lists of {values.type}; expected numbers")
    if not len(column):
        return np.zeros((0, column.type.list_size if kinds[0](column.type) else 1), np.float32)
    if not kinds[0](column.type):
        lengths = np.diff(column.offsets.to_numpy())
        other = np.flatnonzero(lengths != lengths[0])
        if other.size:
            raise ValueError(f"row {other[0]} has {lengths[other[0]]} dimensions, the first has {lengths[0]}")
    rows: NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return rows


def _unit_rows(path: Path, found: NDArray[Any], normalise: bool) -> tuple[NDArray[np.float32], int]:
    """Return (n, d) float32 rows of length 1, and how many were not before."""
    if not (np.issubdtype(found.dtype, np.floating) or np.issubdtype(found.dtype, np.integer)):
        raise DataError(f"{path}: holds {found.dtype}; expected numbers")
    vectors = np.empty(found.shape, np.float32)
    count = 0
    for start in range(0, len(found), _ROWS_AT_ONCE):
        block = np.asarray(found[start : start + _ROWS_AT_ONCE], np.float64)
        norms = np.sqrt(np.einsum("nd,nd->n", block, block))
        bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
        if bad.size:
            raise DataError(
                f"{path}: row {start + bad[0]} has length {norms[bad[0]]:g}, and so no direction; leave such rows out"
            )
        off = np.abs(norms - 1.0) > NORM_TOLERANCE
        if off.any() and not normalise:
            row = int(np.flatnonzero(off)[0])
            raise DataError(
                f"{path}: row {start + row} has length {norms[row]:.6g}, expected 1; distances are cosines here:"
                " say --normalise to divide each row by its length"
            )
        count += int(off.sum())
        vectors[start : start + len(block)] = np.where(off[:, None], block / norms[:, None], block)
    return vectors, count


def _ids(path: Path, found: NDArray[Any] | None, rows: int, first_id: int) -> NDArray[np.int64]:
    if found is None:
        if first_id < 0 or first_id > _LARGEST_ID - rows:
            raise UsageError(f"--first-id {first_id}: ids are 0 to 2^63 - 1, and there are {rows} rows")
        return np.arange(first_id, first_id + rows, dtype=np.int64)
    if first_id:
        raise UsageError(f"{path}: --first-id is for files without ids; this one names them")
    ids = np.ascontiguousarray(found, np.int64)
    if len(ids) and ids.min() < 0:
        raise DataError(f"{path}: id {ids.min()} is negative; ids are 0 to 2^63 - 1")
    values, counts = np.unique(ids, return_counts=True)
    if counts.size and counts.max() > 1:
        raise DataError(
            f"{path}: {np.count_nonzero(counts > 1)} ids occur more than once, first {values[counts > 1][0]}"
        )
    return ids
