"""trec_eval's own expected outputs, byte for byte, from its own inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.trec.evaluate import evaluate_run, trec_eval_text
from evaluation.trec.files import read_qrels, read_run
from evaluation.trec.table import NICKNAMES, asked_for

pytestmark = pytest.mark.data

ALL = ("all_trec",)
LONG_STRING = tuple("relstring_20" if name == "relstring" else name for name in NICKNAMES["all_trec"])


@pytest.mark.parametrize(
    ("golden", "files", "names", "per_query", "options"),
    [
        ("out.test", ("qrels.test", "results.test"), ("official",), False, {}),
        ("out.test.a", ("qrels.test", "results.test"), ALL, False, {}),
        ("out.test.aq", ("qrels.test", "results.test"), ALL, True, {}),
        ("out.test.aqc", ("qrels.test", "results.trunc"), ALL, True, {"complete": True}),
        ("out.test.aqcM", ("qrels.test", "results.trunc"), ALL, True, {"complete": True, "max_results": 100}),
        ("out.test.aql", ("qrels.rel_level", "results.test"), LONG_STRING, True, {"level": 2}),
    ],
)
def test_every_line_of_trec_evals_expected_output_comes_out(
    shared_data: Path, golden, files, names, per_query, options
):
    folder = shared_data / "trec_eval"
    found = evaluate_run(read_qrels(folder / files[0]), read_run(folder / files[1]), asked_for(names), **options)
    assert trec_eval_text(found, per_query=per_query) == (folder / golden).read_text()


def test_queries_that_only_one_file_names_are_reported_and_only_complete_counts_the_unanswered(shared_data: Path):
    folder = shared_data / "trec_eval"
    qrels, run = read_qrels(folder / "qrels.test"), read_run(folder / "results.trunc")
    asked = asked_for(["map", "num_rel"])
    plain, complete = evaluate_run(qrels, run, asked), evaluate_run(qrels, run, asked, complete=True)
    assert plain.unanswered == complete.unanswered == ("302",)
    assert (plain.queries, complete.queries) == (2, 3)
    assert set(plain.per_query) == {"301", "303"}
    assert complete.per_query["302"] == {"map": 0.0, "num_rel": 77}
    assert complete.measures["map"] == pytest.approx(float(plain.measures["map"]) * 2 / 3, rel=1e-12)
    assert (plain.measures["num_rel"], complete.measures["num_rel"]) == (474 + 10, 474 + 77 + 10)
