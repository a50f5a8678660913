"""per_query.parquet holds one row a query with every metric of every system, and `explain` reads one of them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer

from evaluation import cli_explain
from evaluation.outputs import write_outputs
from evaluation.system import View
from reporting.errors import DataError, UsageError
from tests.evaluation.report_world import NOISE, bad_candidate, small_set, system, verdict_of

SET = small_set()
RELEASE = system(SET, {View.SERVED: {}}, name="old")
CHAMPION = system(SET, {View.SERVED: {}}, name="best")
BAD = bad_candidate(SET)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate") / "out"
    write_outputs(verdict_of(SET, BAD, RELEASE), SET, BAD, release=RELEASE, champion=CHAMPION, folder=folder)
    return folder


def call(*arguments: object) -> str:
    app = typer.Typer()
    app.callback()(lambda: None)
    cli_explain.add_to(app)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        typer.main.get_command(app).main(["explain", *map(str, arguments)], standalone_mode=False)
    return printed.getvalue()


def test_every_metric_of_every_system_is_a_column_with_its_values(out):
    table = pq.read_table(out / "per_query.parquet")
    assert table["query_id"].to_pylist() == [query.query_id for query in SET.queries]
    for role, measured in (("candidate", BAD), ("release", RELEASE), ("champion", CHAMPION)):
        for name, values in measured.values.items():
            np.testing.assert_array_equal(table[f"{role}.{name}"].to_numpy(), values, err_msg=name)
        for name, bounds in measured.bounds.items():
            np.testing.assert_array_equal(table[f"{role}.{name}.best"].to_numpy(), bounds[1])


def test_the_slices_of_a_row_are_those_that_its_query_is_in(out):
    inside = pq.read_table(out / "per_query.parquet")["slices"].to_pylist()
    for name, mask in BAD.slices.items():
        assert [name in one for one in inside] == mask.tolist()


def test_lists_ranks_and_causes_are_those_of_the_run(out):
    table = pq.read_table(out / "per_query.parquet")
    assert table["candidate.rank"].to_pylist() == [None, 1, 4, 1, None, 1, 1, 1]
    whys = ["not_returned", None, "ranked_beyond_k", None, "unanswered", None, None, None]
    assert table["candidate.why"].to_pylist()[1:] == whys[1:]
    assert table["candidate.images"].to_pylist()[2] == [*NOISE[:3], "g2-1"]
    assert table["candidate.status"].to_pylist()[4] == "timeout"
    assert table["candidate.images"].to_pylist()[4] == []
    top = table["release.top"].to_pylist()[0]
    assert [hit["group"] for hit in top] == ["g0", "n0", "n1"]
    assert (top[0]["image"], top[0]["grade"], top[0]["category"], str(top[0]["day"])) == (
        "g0-0",
        2,
        "c0",
        "2026-11-19",
    )


def test_explain_says_what_was_expected_what_came_and_why_it_was_lost(out):
    text = call("q2", "--out", out)
    assert "should find: g2 (2 pictures findable)" in text
    assert "ranked beyond k: it is at rank 4, the cut is 3" in text
    assert "candidate new-" in text
    assert "release old: hit@3 1, recall@3 1, first relevant rank 1" in text


def test_explain_prints_a_document_with_every_system(out):
    document = json.loads(call("q2", "--out", out, "--json"))
    assert (document["query"]["query_id"], document["expected"]) == ("q2", {"groups": ["g2"], "findable": 2})
    assert list(document["systems"]) == ["candidate", "release", "champion"]
    candidate = document["systems"]["candidate"]
    assert (candidate["why"], candidate["rank"], candidate["values"]["hit@3"]) == ("ranked_beyond_k", 4, 0.0)
    assert [hit["rank"] for hit in candidate["top"]] == [1, 2, 3, 4]
    assert document["systems"]["release"]["why"] is None


def test_a_query_or_folder_that_is_not_there_is_named_with_the_nearest(out, tmp_path):
    with pytest.raises(UsageError, match=r"8 queries, none is 'q22'; did you mean q2"):
        call("q22", "--out", out)
    with pytest.raises(DataError, match="give the folder that `funnelgate gate --out` wrote"):
        call("q2", "--out", tmp_path)
    (tmp_path / "per_query.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match="run the gate again"):
        call("q2", "--out", tmp_path)
