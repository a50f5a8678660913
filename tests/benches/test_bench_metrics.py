"""What seven metrics cost, as a ratio to pytrec_eval in the same run: with its dictionaries and without."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
import pytrec_eval
from pytest_benchmark.fixture import BenchmarkFixture

from evaluation.answers import Answers, Status
from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Gallery, Label, Query
from evaluation.metrics import values_of
from evaluation.ranking import rank_record
from evaluation.truth import record_of

QUERIES, DEPTH, CATALOG, RELEVANT = 10_000, 100, 50_000, 5
OURS = ("recall@1", "recall@10", "recall@100", "hit@1", "hit@10", "hit@100", "ndcg@10")
THEIRS = {"recall.1,10,100", "success.1,10,100", "ndcg_cut.10"}
Answer = TypeVar("Answer")


def timed(function: Callable[[], Answer], rounds: int = 3) -> tuple[float, Answer]:
    """Return the least CPU seconds of several calls, and the last answer."""
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        answer = function()
        seconds.append(time.process_time() - started)
    return min(seconds), answer


def set_and_answers() -> tuple[EvalSet, Answers]:
    """Draw lists of distinct pictures, each a group of its own, so that groups are pictures as in pytrec_eval."""
    random = np.random.default_rng(7)
    catalog = tuple(CatalogImage(image_id=str(at), group_id=f"g{at}", category="c") for at in range(CATALOG))
    names = [f"q{at:05d}" for at in range(QUERIES)]
    queries = tuple(Query(query_id=name, category="c", cluster=name) for name in names)
    # A stride through the catalogue that no list repeats.
    listed = (random.integers(0, CATALOG, (QUERIES, 1)) + 499 * np.arange(DEPTH)) % CATALOG
    right = listed[np.arange(QUERIES)[:, None], random.random((QUERIES, DEPTH)).argpartition(RELEVANT)[:, :RELEVANT]]
    labels = tuple(
        Label(query_id=name, group_id=f"g{group}", grade=1 + group % 2)
        for name, groups in zip(names, right, strict=True)
        for group in groups
    )
    evalset = EvalSet("bench", "0" * 64, queries, labels, catalog, Gallery(query_domain="a", gallery_domain="b"))
    answers = Answers(
        query_ids=tuple(names),
        statuses=(Status.ANSWERED,) * QUERIES,
        row=np.repeat(np.arange(QUERIES), DEPTH),
        image_id=listed.ravel().astype(str).astype(np.object_),
        distance=random.random(QUERIES * DEPTH),
    )
    return evalset, answers


def dictionaries(evalset: EvalSet, answers: Answers) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Build what pytrec_eval takes."""
    judged: dict[str, dict[str, int]] = {name: {} for name in answers.query_ids}
    for label in evalset.labels:
        judged[label.query_id][label.group_id[1:]] = label.grade
    names, scores = answers.image_id.tolist(), (-answers.distance).tolist()
    starts = range(0, len(names), DEPTH)
    run = {
        query: dict(zip(names[at : at + DEPTH], scores[at : at + DEPTH], strict=True))
        for query, at in zip(answers.query_ids, starts, strict=True)
    }
    return judged, run


@pytest.mark.slow
@pytest.mark.benchmark(group="evaluation")
def test_seven_metrics_against_pytrec_eval(benchmark: BenchmarkFixture) -> None:
    """10,000 queries x 100 hits, recall and hit at 1, 10 and 100, nDCG at 10; CPU seconds."""
    evalset, answers = set_and_answers()
    dict_seconds, (judged, run) = timed(lambda: dictionaries(evalset, answers))
    trec_seconds, theirs = timed(lambda: pytrec_eval.RelevanceEvaluator(judged, THEIRS).evaluate(run))
    record = record_of(evalset, None)
    record_seconds, _ = timed(lambda: record_of(evalset, None))
    rank_seconds, ranked = timed(lambda: rank_record(answers, record))
    metric_seconds, values = timed(lambda: values_of(OURS, ranked))
    benchmark.pedantic(lambda: values_of(OURS, ranked), rounds=3)
    for ours in OURS:
        base, k = ours.split("@")
        trec = {"recall": "recall", "hit": "success", "ndcg": "ndcg_cut"}[base]
        expected = [theirs[name][f"{trec}_{k}"] for name in answers.query_ids]
        np.testing.assert_allclose(values[ours], expected, atol=1e-6, err_msg=ours)
    whole = dict_seconds + trec_seconds
    benchmark.extra_info |= {
        "metrics_cpu_s": round(metric_seconds, 3),
        "rank_cpu_s": round(rank_seconds, 3),
        "set_as_columns_cpu_s": round(record_seconds, 3),
        "pytrec_eval_cpu_s": round(trec_seconds, 3),
        "its_dictionaries_cpu_s": round(dict_seconds, 3),
        "metrics_times_faster_than_pytrec_eval": round(trec_seconds / metric_seconds, 1),
        "metrics_times_faster_with_its_dictionaries": round(whole / metric_seconds, 1),
        "with_ranking_times_faster_with_its_dictionaries": round(whole / (metric_seconds + rank_seconds), 2),
    }
