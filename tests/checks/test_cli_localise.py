"""`funnelgate checks localise` on files of any team: CSV and Parquet, and every way in which they can be wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import typer
from pyarrow import parquet
from typer.testing import CliRunner

from checks import cli_localise
from checks.table_file import looks_exact, read_table
from reporting.errors import DataError, FunnelgateError, UsageError

app = typer.Typer()
app.callback()(lambda: None)
cli_localise.add_to(app)

HEADER = "category,subinstance,taken,handed"
ROWS = [
    f"{category},{package},{0 if (category, package) == ('shoes', '0017') else 100 + index},{100 + index}"
    for index, (category, package) in enumerate((c, p) for c in ("bags", "shoes") for p in ("0016", "0017", "0018"))
]
COLUMNS = ["--actual", "taken", "--expected", "handed"]


def csv(folder: Path, *rows: str, header: str = HEADER, name: str = "leaves.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *(rows or ROWS)]) + "\n", encoding="utf-8")
    return path


def run(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["localise", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(path: Path, *arguments: str) -> FunnelgateError:
    with pytest.raises(FunnelgateError) as error:
        CliRunner().invoke(app, ["localise", str(path), *(arguments or COLUMNS)], catch_exceptions=False)
    return error.value


def test_a_csv_is_localised(tmp_path):
    found = run(str(csv(tmp_path)), *COLUMNS)
    assert found["causes"] == [
        {"where": {"category": ["shoes"], "subinstance": ["0017"]}, "missing": 104.0, "share": 1.0}
    ]
    assert found["sentence"] == "100 % of 104 missing items: category=shoes, subinstance=0017"
    assert 0 < found["seconds"] < 60
    assert (found["mode"], found["leaves"]) == ("exact", 6)


def test_equal_tables_in_every_format_give_equal_answers(tmp_path):
    text = csv(tmp_path).read_text()
    (tmp_path / "leaves.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "leaves.tsv").write_text(text.replace(",", "\t"))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    cells = [row.split(",") for row in ROWS]
    table = pa.table(
        {
            "category": pa.array([row[0] for row in cells]).dictionary_encode(),
            "subinstance": [row[1] for row in cells],
            "taken": pa.array([int(row[2]) for row in cells], pa.int32()),
            "handed": [float(row[3]) for row in cells],
        }
    )
    parquet.write_table(table, tmp_path / "leaves.parquet")
    names = ("leaves.csv", "leaves.csv.gz", "leaves.tsv", "bom.csv", "leaves.parquet")
    answers = [run(str(tmp_path / name), *COLUMNS) for name in names]
    assert len({json.dumps(answer["causes"]) for answer in answers}) == 1


def test_only_the_dimensions_named_are_searched(tmp_path):
    found = run(str(csv(tmp_path)), *COLUMNS, "--dimensions", "subinstance")
    assert found["causes"][0]["where"] == {"subinstance": ["0017"]}  # rows of both categories are added up


def test_an_empty_value_is_a_value(tmp_path):
    rows = [row.replace("shoes", "") for row in ROWS]
    assert run(str(csv(tmp_path, *rows)), *COLUMNS)["causes"][0]["where"]["category"] == [""]


def test_people_get_the_sentence_and_a_bar_for_each_cause(tmp_path):
    rows = [*ROWS, "hats,0016,20,40"]
    done = CliRunner().invoke(app, ["localise", str(csv(tmp_path, *rows)), *COLUMNS, "--unit", "crop"])
    lines = done.stdout.splitlines()
    assert lines[0].startswith("84 % of 124 missing crops: category=shoes, subinstance=0017; 16 %: category=hats")
    assert [line.count("#") for line in lines[1:]] == [17, 3]
    assert "+104" in lines[1]


def test_people_are_told_when_nothing_differs(tmp_path):
    done = CliRunner().invoke(app, ["localise", str(csv(tmp_path, "bags,1,5,5", "hats,1,6,6")), *COLUMNS])
    assert (done.exit_code, done.stdout) == (0, "nothing differs\n")


def test_a_limit_is_kept(tmp_path):
    rows = [*ROWS, "hats,0016,20,40"]
    assert len(run(str(csv(tmp_path, *rows)), *COLUMNS)["causes"]) == 2
    assert len(run(str(csv(tmp_path, *rows)), *COLUMNS, "--limit", "1")["causes"]) == 1


def test_the_mode_can_be_told(tmp_path):
    assert run(str(csv(tmp_path)), *COLUMNS, "--forecast")["mode"] == "forecast"
    assert run(str(csv(tmp_path)), *COLUMNS, "--exact")["mode"] == "exact"


def test_numbers_tell_a_forecast_from_the_books():
    rng = np.random.default_rng(0)
    counts = rng.poisson(50, 500).astype(float)
    broken = np.where(rng.random(500) < 0.7, counts * 0.5, counts)
    assert looks_exact(broken, counts)
    assert not looks_exact(rng.poisson(counts).astype(float), counts)
    assert not looks_exact(counts, np.round(counts * rng.normal(1, 0.2, 500)))
    small = rng.poisson(1.0, 500).astype(float)
    assert looks_exact(small, small)
    assert not looks_exact(rng.poisson(1.0, 500).astype(float), small)
    assert looks_exact(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["bags,1,,5", "bags,2,4,5"], "row 1: taken is nothing"),
        (["bags,1,4,5", "bags,2,many,5"], "row 2: taken is 'many'"),
        (["bags,1,4,5", "bags,2,4,nan"], "row 2: handed is 'nan'"),
        (["bags,1,4,inf", "bags,2,x,5"], "row 2: taken is 'x'"),
        (["bags,1,4,5", "bags,2,4"], "cannot be read|can be read"),
    ],
)
def test_a_bad_row_is_named(tmp_path, rows, says):
    error = refused(csv(tmp_path, *rows))
    assert isinstance(error, DataError)
    with pytest.raises(DataError, match=says):
        raise error


def test_a_parquet_file_without_a_number_is_named_by_row(tmp_path):
    path = tmp_path / "leaves.parquet"
    parquet.write_table(pa.table({"a": ["x", "y"], "taken": [1.0, None], "handed": [1.0, 2.0]}), path)
    assert "row 2: taken is nothing" in str(refused(path))


def test_a_column_that_names_no_leaf_is_refused(tmp_path):
    path = tmp_path / "leaves.parquet"
    parquet.write_table(pa.table({"a": [["x"], ["y"]], "taken": [1.0, 2.0], "handed": [1.0, 2.0]}), path)
    assert "column a is of list" in str(refused(path))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--actual", "takn", "--expected", "handed"], "no column 'takn'; did you mean taken?"),
        ([*COLUMNS, "--dimensions", "categry"], "no column 'categry'; did you mean category?"),
        (["--actual", "taken", "--expected", "taken"], "named twice"),
        ([*COLUMNS, "--dimensions", "taken"], "named twice"),
    ],
)
def test_a_wrong_column_is_named_with_the_nearest(tmp_path, arguments, says):
    error = refused(csv(tmp_path), *arguments)
    assert isinstance(error, UsageError)
    assert says in str(error)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    assert "cannot be read" in str(refused(tmp_path / "absent.csv"))
    assert "has no rows" in str(refused(csv(tmp_path, "", name="bare.csv")))
    (tmp_path / "latin.csv").write_bytes(f"{HEADER}\n".encode() + b"stra\xdfe,1,4,5\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more than that")
    (tmp_path / "empty.csv").write_bytes(b"")
    for name in ("latin.csv", "broken.parquet", "empty.csv"):
        assert "no Parquet file that can be read" in str(refused(tmp_path / name))
    assert "which leaf" in str(refused(csv(tmp_path, "1,2", header="taken,handed", name="two.csv")))
    assert "called 'a'" in str(refused(csv(tmp_path, "x,y,1,2", header="a,a,taken,handed", name="twice.csv")))


def test_columns_of_time_and_numbers_name_leaves_as_text(tmp_path):
    path = tmp_path / "leaves.parquet"
    columns = {"day": pa.array([0, 1], pa.date32()), "shop": [7, 8], "taken": [1, 0], "handed": [1, 5]}
    parquet.write_table(pa.table(columns), path)
    table = read_table(path, "taken", "handed")
    assert table.values == (("1970-01-01", "7"), ("1970-01-02", "8"))
