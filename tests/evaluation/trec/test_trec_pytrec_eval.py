"""pytrec_eval (trec_eval 9 behind Python) on real runs full of ties, and on random small ones."""

from __future__ import annotations

import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from evaluation.trec.binary import best_precision_from
from evaluation.trec.evaluate import evaluate_run
from evaluation.trec.files import TrecTable, read_qrels, read_run
from evaluation.trec.lists import join
from evaluation.trec.table import asked_for

Qrels = dict[str, dict[str, int]]
Run = dict[str, dict[str, float]]

OF_THE_WHOLE_RUN = ("runid", "num_q", "gm_map", "gm_bpref")
NAMES = sorted(pytrec_eval.supported_measures - set(OF_THE_WHOLE_RUN) - {"relstring"})
TENTHS = [tenth / 10 for tenth in range(11)]


def table_of(rows: list[tuple[str, str, float]], run_id: str = "") -> TrecTable:
    queries = sorted({row[0].encode() for row in rows})
    documents = sorted({row[1].encode() for row in rows})
    return TrecTable(
        "here",
        tuple(queries),
        tuple(documents),
        np.array([queries.index(row[0].encode()) for row in rows], np.int64),
        np.array([documents.index(row[1].encode()) for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64),
        run_id,
    )


def tables_of(qrels: Qrels, run: Run) -> tuple[TrecTable, TrecTable]:
    judged = [(query, name, float(grade)) for query, names in qrels.items() for name, grade in names.items()]
    found = [(query, name, score) for query, names in run.items() for name, score in names.items()]
    return table_of(judged), table_of(found, "mine")


def ours(qrels: TrecTable, run: TrecTable, level: int = 1) -> dict[str, dict[str, float]]:
    """Measure with the recall points of trec_eval 9, which pytrec_eval counts with: R * share + 0.9, cut down."""
    found = evaluate_run(qrels, run, asked_for(NAMES), level=level)
    values = {query: {name: float(value) for name, value in row.items()} for query, row in found.per_query.items()}
    lists = join(qrels, run, level=level)
    columns = [best_precision_from(lists, (share * lists.relevant + 0.9).astype(np.int64)) for share in TENTHS]
    for row, query in enumerate(values):
        points = [float(column[row]) for column in columns]
        values[query] |= {f"iprec_at_recall_{share:.2f}": point for share, point in zip(TENTHS, points, strict=True)}
        values[query]["11pt_avg"] = sum(points) / 11
    return values


def assert_equal(mine: dict[str, dict[str, float]], theirs: dict[str, dict[str, float]]) -> int:
    assert set(mine) == set(theirs)
    compared = 0
    for query, row in theirs.items():
        for name, value in row.items():
            assert mine[query][name] == pytest.approx(value, rel=1e-10, abs=1e-12), (query, name)
            compared += 1
    return compared


def read_as_dicts(path: Path, column: int, number: type) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        fields = line.split()
        table[fields[0]][fields[2]] = number(fields[column])
    return dict(table)


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "NLPR03vb10",
        pytest.param("humR03dc", marks=pytest.mark.slow),
        pytest.param("MU03rob01", marks=pytest.mark.slow),
        pytest.param("rutcor03100", marks=pytest.mark.slow),
    ],
)
def test_every_query_and_measure_of_a_real_run_equals_pytrec_eval_ties_included(shared_data: Path, name: str):
    folder = shared_data / "robust03"
    qrels, run = folder / "qrels.txt.gz", folder / f"input.{name}.gz"
    judge = pytrec_eval.RelevanceEvaluator(read_as_dicts(qrels, 3, int), set(NAMES))
    theirs = judge.evaluate(read_as_dicts(run, 4, float))
    compared = assert_equal(ours(read_qrels(qrels), read_run(run)), theirs)
    assert compared >= 90 * len(theirs) >= 90 * 90


QUERIES, DOCUMENTS = ("q1", "q2", "10", "9"), (*(f"d{number}" for number in range(12)), "é", "Z", "a")
GRADED = st.dictionaries(st.sampled_from(DOCUMENTS), st.sampled_from([-1, 0, 0, 1, 1, 2, 4]), min_size=1)
SCORED = st.dictionaries(
    st.sampled_from(DOCUMENTS), st.sampled_from([0.0, 1.0, 2.5, -3.0, 1.0 + 1e-9, 16777216.0, 16777217.0]), min_size=1
)


@given(
    qrels=st.dictionaries(st.sampled_from(QUERIES), GRADED, min_size=1),
    run=st.dictionaries(st.sampled_from(QUERIES), SCORED, min_size=1),
    level=st.sampled_from([1, 2]),
)
def test_random_qrels_and_runs_with_ties_unjudged_documents_and_grades_equal_pytrec_eval(qrels, run, level):
    # trec_eval 9 counts grades past the end of its array where a query has none of the level, and divides 0 by 0
    qrels = {query: grades for query, grades in qrels.items() if max(grades.values()) >= level}
    if not set(qrels) & set(run):
        return
    judge = pytrec_eval.RelevanceEvaluator(qrels, set(NAMES), relevance_level=level)
    theirs = judge.evaluate({query: scores for query, scores in run.items() if query in qrels})
    assert_equal(ours(*tables_of(qrels, run), level=level), theirs)


def test_scores_that_single_precision_cannot_tell_apart_are_tied_and_the_later_name_leads():
    qrels = table_of([("q", "a", 1.0), ("q", "b", 0.0)])
    run = table_of([("q", "a", 16777217.0), ("q", "b", 16777216.0)])
    asked = asked_for(["recip_rank"])
    assert evaluate_run(qrels, run, asked).measures["recip_rank"] == 0.5
    apart = table_of([("q", "a", 16777218.0), ("q", "b", 16777216.0)])
    assert evaluate_run(qrels, apart, asked).measures["recip_rank"] == 1.0
