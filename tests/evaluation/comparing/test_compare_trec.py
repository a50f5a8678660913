"""TREC runs side by side: per-query values are trec_eval's, and the two tests of the mean agree on real runs."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from scipy import stats  # type: ignore[import-untyped]

from evaluation.compare import compare
from evaluation.comparing.of_trec import MEASURES, columns_of_trec
from reporting.errors import DataError, UsageError

QRELS = "1 0 a 1\n1 0 b 0\n2 0 c 1\n3 0 d 1\n"
FIRST = "1 Q0 a 1 0.9 one\n2 Q0 x 1 0.9 one\n2 Q0 c 2 0.8 one\n3 Q0 d 1 0.7 one\n"
SECOND = "1 Q0 b 1 0.9 two\n1 Q0 a 2 0.4 two\n2 Q0 c 1 0.8 two\n4 Q0 z 1 0.7 two\n"


def written(folder: Path, **files: str) -> dict[str, Path]:
    paths = {name: folder / name for name in files}
    for name, text in files.items():
        paths[name].write_text(text)
    return paths


def test_a_query_that_only_one_run_answers_counts_as_zero_for_the_other(tmp_path: Path):
    files = written(tmp_path, qrels=QRELS, one=FIRST, two=SECOND)
    found = compare(columns_of_trec(files["qrels"], [files["one"], files["two"]], measures=["recip_rank", "map"]))
    assert (found.questions, found.headline, [side.name for side in found.systems]) == (3, "recip_rank", ["one", "two"])
    assert [side.metrics["recip_rank"].value for side in found.systems] == pytest.approx([2.5 / 3, 1.5 / 3])
    assert [side.answered for side in found.systems] == [3, 2]
    assert found.systems[1].notes == {"unanswered": 1, "unjudged": 1}
    flipped = {(one.question, one.values) for one in found.flips[0].shown}
    assert flipped == {("1", (1.0, 0.5)), ("2", (0.5, 1.0)), ("3", (1.0, 0.0))}


@pytest.mark.parametrize("measure", ["num_ret", "runid", "gm_map", "utility", "relstring"])
def test_what_is_no_mean_of_values_from_0_to_1_cannot_be_tested(tmp_path: Path, measure: str):
    files = written(tmp_path, qrels=QRELS, one="1 Q0 b 1 0.9 r\n", two=FIRST)
    with pytest.raises(UsageError, match=f"{measure}.* no mean of values from 0 to 1"):
        columns_of_trec(files["qrels"], [files["one"], files["two"]], measures=[measure])


def test_a_run_of_other_queries_is_refused(tmp_path: Path):
    files = written(tmp_path, qrels=QRELS, one=FIRST, two="9 Q0 a 1 1 r\n")
    with pytest.raises(DataError, match="no query in common"):
        columns_of_trec(files["qrels"], [files["one"], files["two"]])


@pytest.mark.data
@pytest.mark.slow
def test_on_robust03_the_tests_agree_with_each_other_and_with_scipy_on_pytrec_evals_values(shared_data: Path):
    """Graded measures: no disagreement at 0.05 (Smucker et al. 2007)."""
    folder = shared_data / "robust03"
    runs = sorted(folder.glob("input.*.gz"))
    found = compare(columns_of_trec(folder / "qrels.txt.gz", runs))
    with gzip.open(folder / "qrels.txt.gz", "rt") as lines:
        judged = pytrec_eval.parse_qrel(lines)
    judge = pytrec_eval.RelevanceEvaluator(judged, {"map", "P.10"})
    values = {}
    for path in runs:
        with gzip.open(path, "rt") as lines:
            per_query = judge.evaluate(pytrec_eval.parse_run(lines))
        values[path.name] = {
            name: np.array([per_query.get(query, {}).get(name, 0.0) for query in sorted(judged)])
            for name in ("map", "P_10")
        }
    assert len(found.pairs) == 6 * len(MEASURES)
    for pair in found.pairs:
        if pair.metric in ("map", "P_10"):
            one, other = values[pair.first][pair.metric], values[pair.second][pair.metric]
            assert pair.value == pytest.approx(float((one - other).mean()), abs=1e-9)
            assert pair.p_student == pytest.approx(stats.ttest_rel(one, other).pvalue, abs=1e-6)
            assert pair.won == int((one - other > 1e-9).sum())
    graded = [pair for pair in found.pairs if pair.p_mcnemar is None]
    tossed, student = (np.array([getattr(pair, name) for pair in graded]) for name in ("p_value", "p_student"))
    assert ((tossed < 0.05) == (student < 0.05)).all()
    assert float(np.sqrt(((tossed - student) ** 2).mean())) < 0.003
    # Of yes and no the tossed signs are McNemar's test, while Student's t says 0.045 to its 0.077 once (12:4 flips).
    shares = [pair for pair in found.pairs if pair.p_mcnemar is not None]
    assert len(shares) == 6
    assert [pair.p_value for pair in shares] == pytest.approx([pair.p_mcnemar for pair in shares], abs=0.01)
