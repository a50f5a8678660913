"""`funnelgate evaluate run` on TREC files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from evaluation.cli_run import register
from reporting.errors import EXIT_USAGE, DataError, UsageError

QRELS = "1 0 a 1\n1 0 b 0\n2 0 c 1\n3 0 d 1\n"
RUN = "1 Q0 b 1 0.9 mine\n1 Q0 a 2 0.8 mine\n2 Q0 c 1 0.5 mine\n9 Q0 c 1 0.5 mine\n"


def evaluate(*arguments: object) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


@pytest.fixture
def files(tmp_path: Path) -> tuple[object, ...]:
    (tmp_path / "qrels.gz").write_bytes(gzip.compress(QRELS.encode()))
    (tmp_path / "run.txt").write_text(RUN)
    return ("--qrels", tmp_path / "qrels.gz", "--run", tmp_path / "run.txt")


def test_json_has_the_measures_the_queries_and_who_was_left_out(files):
    done = evaluate(*files, "--measures", "recip_rank,P_1,num_rel", "--per-query", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "queries": 2,
        "measures": {"recip_rank": 0.75, "P_1": 0.5, "num_rel": 2},
        "per_query": {
            "1": {"recip_rank": 0.5, "P_1": 0.0, "num_rel": 1},
            "2": {"recip_rank": 1.0, "P_1": 1.0, "num_rel": 1},
        },
        "unanswered": ["3"],
        "unjudged": ["9"],
    }


def test_without_per_query_there_is_no_such_key_and_complete_counts_the_unanswered(files):
    done = evaluate(*files, "--measures", "recip_rank", "--complete", "--json")
    document = json.loads(done.stdout)
    assert "per_query" not in document
    assert (document["queries"], document["measures"]) == (3, {"recip_rank": 0.5})


def test_text_is_trec_evals_layout_and_who_was_left_out_goes_to_standard_error(files):
    done = evaluate(*files, "--measures", "num_q,recip_rank", "--max-results", 1, "--level", 1)
    assert done.stdout == "num_q                 \tall\t2\nrecip_rank            \tall\t0.5000\n"
    assert done.stderr.splitlines() == [
        "1 queries of the qrels are not in the run: they are left out; --complete counts them as 0",
        "1 queries of the run are not in the qrels: they are left out",
    ]


def test_without_measures_it_prints_what_trec_eval_prints(files):
    lines = evaluate(*files).stdout.splitlines()
    assert len(lines) == 30
    assert lines[0] == "runid                 \tall\tmine"


@pytest.mark.data
def test_the_command_prints_trec_evals_expected_bytes(shared_data: Path):
    folder = shared_data / "trec_eval"
    done = evaluate(
        "--qrels", folder / "qrels.test", "--run", folder / "results.trunc", "--measures", "all_trec", "--per-query",
        "--complete", "--max-results", 100,
    )  # fmt: skip
    assert done.stdout == (folder / "out.test.aqcM").read_text()


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (("--run", "missing"), UsageError, "give --qrels and --run"),
        (("--qrels", "missing", "--run", "missing"), DataError, "missing: cannot be read"),
        (("--qrels", "q", "--run", "r", "--measures", "mapp"), UsageError, "unknown measure 'mapp'; did you mean map"),
        (("--qrels", "q", "--k", "3"), UsageError, "--qrels is for TREC files and --k for an evaluation set"),
        (("--set", "s", "--searcher", "f", "--complete"), UsageError, "--complete is for TREC files and --set for"),
        (("--set", "s"), UsageError, "or --set and --searcher"),
        (("--set", "s", "--searcher", "f", "--k", "1,x"), UsageError, "--k '1,x': write whole numbers >= 1"),
        ((), UsageError, "give --qrels and --run"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_what_to_give(arguments, kind, said):
    error = evaluate(*arguments).exception
    assert isinstance(error, kind)
    assert error.exit_code == EXIT_USAGE
    assert said in str(error)
