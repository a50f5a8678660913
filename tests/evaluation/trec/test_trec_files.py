"""What a TREC file may hold, and where each refusal points."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from evaluation.trec import files
from evaluation.trec.files import read_qrels, read_run
from reporting.errors import DataError

RUN = "q1 Q0 a 1 0.5 mine\nq1 Q0 b 2 0.25 mine\nq2 Q0 a 1 7 mine\n"
QRELS = "q1 0 a 1\nq1 0 b 0\nq2 0 a -1\n"


def written(folder: Path, text: str | bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_run_is_read_into_columns(tmp_path):
    run = read_run(written(tmp_path, RUN))
    assert (run.queries, run.documents, run.run_id) == ((b"q1", b"q2"), (b"a", b"b"), "mine")
    assert (run.query.tolist(), run.document.tolist(), run.value.tolist()) == ([0, 0, 1], [0, 1, 0], [0.5, 0.25, 7.0])


@pytest.mark.parametrize(
    "text",
    [
        gzip.compress(RUN.encode()),
        RUN.replace("\n", "\r\n"),
        RUN.replace(" ", "\t"),
        "# made by hand\n\n" + RUN + "\n  \n",
        "\ufeff" + RUN,
        RUN.replace("mine", "mine and more", 1),
    ],
    ids=["gzip", "crlf", "tabs", "comments and empty lines", "byte order mark", "columns after the run id"],
)
def test_gzip_line_ends_comments_and_trailing_columns_change_nothing(tmp_path, text):
    plain = read_run(written(tmp_path, RUN, "plain"))
    other = read_run(written(tmp_path, text, "other"))
    assert (other.queries, other.documents, other.run_id) == (plain.queries, plain.documents, plain.run_id)
    assert other.value.tolist() == plain.value.tolist()


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("q1 Q0 a 1 0.5\n", 1, "5 columns; expected the 6 of `query Q0 document rank score run_id`"),
        (RUN + "q3 Q0 a 1 high mine\n", 4, "found 'high'; expected a finite number"),
        (RUN + "\nq3 Q0 a 1 nan mine\n", 5, "found 'nan'; expected a finite number"),
        (RUN + "q3 Q0 a 1 -inf mine\n", 4, "found '-inf'; expected a finite number"),
        (RUN + "q3 Q0 a 1 1e39 mine\n", 4, "found '1e39'; expected a finite number (of single precision)"),
        (RUN + "q3 Q0 a 1 1_0 mine\n", 4, "found '1_0'; expected a finite number"),
        (RUN + "q1 Q0 a 9 0.1 mine\n", 4, "document 'a' again for query 'q1', first in line 1"),
        (RUN + "q3 Q0 a 1 0.5 yours\n", 4, "run id 'yours' after 'mine'"),
        (RUN.encode() + b"q3 Q0 \xff 1 0.5 mine\n", 4, "not UTF-8"),
    ],
)
def test_a_wrong_line_of_a_run_is_named(tmp_path, text, line, found):
    path = written(tmp_path, text)
    with pytest.raises(DataError) as error:
        read_run(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert found in str(error.value)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        (QRELS + "q3 0 a\n", 4, "3 columns; expected the 4 of `query iteration document grade`"),
        (QRELS + "q3 0 a 1 1\n", 4, "5 columns"),
        (QRELS + "q3 0 a 1.5\n", 4, "found '1.5'; expected a whole number"),
        (QRELS + "q3 0 a yes\n", 4, "found 'yes'; expected a whole number"),
        (QRELS + "q3 0 a 2000000\n", 4, "found '2000000'; expected a whole number up to 1000000"),
        (QRELS + "q3 0 a " + 400 * "9" + "\n", 4, "expected a whole number up to 1000000"),
        (QRELS + "q1 0 a 1\n", 4, "document 'a' again for query 'q1', first in line 1"),
    ],
)
def test_a_wrong_line_of_qrels_is_named(tmp_path, text, line, found):
    path = written(tmp_path, text)
    with pytest.raises(DataError) as error:
        read_qrels(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert found in str(error.value)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", gzip.compress(b"", mtime=0)])
def test_a_file_without_a_line_is_refused(tmp_path, text):
    with pytest.raises(DataError, match="holds no line; expected lines of `query Q0"):
        read_run(written(tmp_path, text))


def test_a_file_that_is_absent_a_folder_or_a_damaged_gzip_is_refused(tmp_path):
    with pytest.raises(DataError, match="absent: cannot be read"):
        read_run(tmp_path / "absent")
    with pytest.raises(DataError, match="cannot be read"):
        read_run(tmp_path)
    with pytest.raises(DataError, match="the gzip is damaged"):
        read_run(written(tmp_path, gzip.compress(RUN.encode())[:-9]))


def test_a_gzip_that_unpacks_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="once unpacked"):
        read_run(written(tmp_path, gzip.compress(RUN.encode() * 100)))
