"""Vectors of one's own: every format gives the same arrays, and what cannot be a vector is refused by row."""

from __future__ import annotations

import gzip
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.index.vector_file import read_vectors
from reporting.errors import DataError, UsageError

ROWS = np.array([[3, 4], [0, -2], [1, 0]], np.float32)
UNIT = np.array([[0.6, 0.8], [0, -1], [1, 0]], np.float32)
IDS = np.array([7, 2**40, 0], np.int64)


def fvecs(rows: np.ndarray) -> bytes:
    return b"".join(np.int32(len(row)).tobytes() + row.astype("<f4").tobytes() for row in rows)


def parquet(path: Path, rows: np.ndarray, kind: pa.DataType, **columns: object) -> Path:
    pq.write_table(pa.table({"vector": pa.array([list(row) for row in rows], kind), **columns}), path)
    return path


def written(folder: Path, name: str) -> Path:
    """Write ROWS in the format that a name ends in."""
    path = folder / name
    text = "".join("\t".join(f"{value:g}" for value in row) + "\n" for row in ROWS)
    if name.endswith(".npy"):
        np.save(path, ROWS)
    elif name.endswith(".fvecs"):
        path.write_bytes(fvecs(ROWS))
    elif name.endswith(".tsv"):
        path.write_text(text)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        parquet(path, ROWS, pa.list_(pa.float64()) if "free" in name else pa.list_(pa.float32(), 2))
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.fvecs", "a.tsv", "a.tsv.gz", "a.parquet", "free.parquet"])
def test_every_format_gives_the_same_rows_and_numbers_them_from_the_first_id(name, tmp_path):
    read = read_vectors(written(tmp_path, name), normalise=True, first_id=5)
    np.testing.assert_allclose(read.vectors, UNIT, atol=1e-7)
    assert read.vectors.dtype == np.float32
    assert read.vectors.flags.c_contiguous
    assert read.ids.tolist() == [5, 6, 7]
    assert read.normalised == 2
    assert read.sha256 == hashlib.sha256(read.ids.astype("<i8").tobytes() + read.vectors.tobytes()).hexdigest()


@settings(max_examples=25)
@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.floats(0.5, 9, width=32)))
def test_what_is_of_length_1_stays_to_the_bit_and_fvecs_equals_npy(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("v")
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)
    np.save(folder / "a.npy", unit)
    (folder / "a.fvecs").write_bytes(fvecs(unit))
    read = [read_vectors(folder / name) for name in ("a.npy", "a.fvecs")]
    assert read[0].vectors.tobytes() == read[1].vectors.tobytes() == unit.tobytes()
    assert read[0].normalised == 0


def test_ids_come_from_a_parquet_column_or_the_edge_of_a_tsv(tmp_path):
    path = parquet(tmp_path / "a.parquet", UNIT, pa.list_(pa.float32()), id=IDS, other=IDS + 1)
    assert read_vectors(path).ids.tolist() == IDS.tolist()
    assert read_vectors(path, id_column="other").ids.tolist() == (IDS + 1).tolist()
    (tmp_path / "a.tsv").write_text("7 1 0 9\n8 0 1 4\n")
    first = read_vectors(tmp_path / "a.tsv", id_column="first", normalise=True)
    assert (first.ids.tolist(), first.vectors.shape) == ([7, 8], (2, 3))
    assert read_vectors(tmp_path / "a.tsv", id_column="last", normalise=True).ids.tolist() == [9, 4]


@pytest.mark.data
def test_sift_with_its_id_column_reads_as_numpy_reads_it(shared_data):
    path = shared_data / "sift5k" / "sift-dataset-5k.tsv.gz"
    table = np.loadtxt(path)
    read = read_vectors(path, id_column="last", normalise=True)
    assert read.ids.tolist() == table[:, -1].astype(int).tolist()
    expected = table[:, :128] / np.linalg.norm(table[:, :128], axis=1, keepdims=True)
    np.testing.assert_allclose(read.vectors, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[1, 0], [np.nan, 1]], "row 1 has length nan"),
        ([[1, 0], [0, 0]], "row 1 has length 0, and so no direction"),
        ([[1, 0], [np.inf, 1]], "row 1 has length inf"),
        ([[1, 0], [3, 4]], "row 1 has length 5, expected 1; .* --normalise"),
        ([1.0, 0.0], r"shape \(2,\)"),
        ([["a", "b"]], "holds <U1; expected numbers"),
    ],
)
def test_a_row_that_is_no_direction_is_refused_by_its_number(rows, says, tmp_path):
    np.save(tmp_path / "a.npy", np.array(rows))
    with pytest.raises(DataError, match=says):
        read_vectors(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.fvecs", fvecs(UNIT)[:-1], "35 bytes are no whole rows of 2 dimensions"),
        ("a.fvecs", fvecs(UNIT[:1]) + np.array([3, 0, 0], "<i4").tobytes(), "row 1 has 3 dimensions, the first has 2"),
        ("a.fvecs", np.int32(-1).tobytes(), "no whole rows of -1"),
        ("a.tsv", b"1 0\n0 1 0\n", "cannot be read as .tsv"),
        ("a.tsv.gz", b"1 0\n", "cannot be read as .tsv.gz"),
        ("a.parquet", b"PAR1", "cannot be read as .parquet"),
        ("a.npy", pickle.dumps([1]), "cannot be read as .npy"),
    ],
)
def test_a_broken_file_is_refused_by_its_name_and_no_pickle_is_opened(name, data, says, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=says) as error:
        read_vectors(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_objects_in_an_npy_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}, None]), allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot be read as \.npy"):
        read_vectors(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("columns", "options", "error", "says"),
    [
        ({"id": [1, 1, 2]}, {}, DataError, "1 ids occur more than once, first 1"),
        ({"id": [1, -1, 2]}, {}, DataError, "id -1 is negative"),
        ({"id": [1, None, 2]}, {}, DataError, "with 1 nulls"),
        ({"id": ["a", "b", "c"]}, {}, DataError, "column 'id' is of string"),
        ({"id": pa.array([1, 2, 2**64 - 1], pa.uint64())}, {}, DataError, "cannot be read as .parquet"),
        ({"id": [1, 2, 3]}, {"first_id": 5}, UsageError, "--first-id is for files without ids"),
        ({}, {"id_column": "idd"}, UsageError, "there is no column 'idd'"),
        ({}, {"vector_column": "vektor"}, UsageError, "did you mean vector"),
    ],
)
def test_ids_that_name_no_object_are_refused(columns, options, error, says, tmp_path):
    path = parquet(tmp_path / "a.parquet", UNIT, pa.list_(pa.float32()), **columns)
    with pytest.raises(error, match=says):
        read_vectors(path, **options)


@pytest.mark.parametrize(
    ("rows", "says"),
    [([[1.0, 0.0], [1.0]], "row 1 has 1 dimensions"), ([[1.0, 0.0], None], "1 nulls"), ([[1.0, None]], "1 nulls")],
)
def test_uneven_and_missing_vectors_of_parquet_are_refused(rows, says, tmp_path):
    pq.write_table(pa.table({"vector": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=says):
        read_vectors(tmp_path / "a.parquet")


def test_an_unknown_ending_a_missing_file_and_misplaced_options_are_told(tmp_path):
    for name, options, error, says in [
        ("a.csv", {}, UsageError, r"ends in \.npy"),
        ("none.npy", {}, DataError, "there is no such file"),
        ("a.npy", {"id_column": "id"}, UsageError, "has no column of ids"),
        ("a.tsv", {"id_column": "id"}, UsageError, "say first or last"),
        ("a.npy", {"first_id": 2**63 - 1, "normalise": True}, UsageError, "ids are 0 to"),
    ]:
        assert isinstance(options, dict)
        if name != "none.npy":
            written(tmp_path, name if name != "a.csv" else "a.tsv")
        with pytest.raises(error, match=says):
            read_vectors(tmp_path / name, **options)


def test_a_file_without_rows_is_empty_and_no_error(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 4), np.float32))
    read = read_vectors(tmp_path / "a.npy")
    assert read.vectors.shape == (0, 4)
    assert len(read.ids) == 0
