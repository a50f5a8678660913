"""Golden numbers: trec_eval's own expected output, and pytrec_eval on real runs full of ties.

The mapping: a topic is a labelled group, a document is both a picture and a shown group of its own, so that
hit@k is success_k and recall@k is recall_k. trec_eval compares scores as float32 and breaks ties by document
name, descending; canonical ranking is by (distance, id), ascending: so distance = -float32(score), and ids rise
as names fall.
"""

from __future__ import annotations

import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from evaluation.catalog import Catalog, CatalogImage, catalog_of
from evaluation.metrics import hit_at_k, recall_at_k
from evaluation.ranking import as_arrays, rank
from evaluation.searcher import Hit

Table = dict[str, dict[str, float]]
CUTS = (1, 5, 10, 15, 20, 30, 100, 200, 500, 1000)

pytestmark = pytest.mark.data


def read_table(path: Path, value: int) -> Table:
    """Read qrels (value 3) or a run (value 4) as topic -> document -> number."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    table: Table = defaultdict(dict)
    for line in text.splitlines():
        fields = line.split()
        table[fields[0]][fields[2]] = float(fields[value])
    return dict(table)


def as_catalogue(qrels: Table, run: Table) -> tuple[Catalog, dict[str, int]]:
    names = {name for table in (qrels, run) for documents in table.values() for name in documents}
    ids = {name: number for number, name in enumerate(sorted(names, reverse=True))}
    relevant = [
        CatalogImage(group=topic, sha256=name, id=ids[name])
        for topic, documents in qrels.items()
        for name, grade in documents.items()
        if grade > 0
    ]
    return catalog_of(relevant), ids


def measure(qrels: Table, run: Table, topics: list[str]) -> dict[str, np.ndarray]:
    """Compute hit@k and recall@k of each topic through the product's own path."""
    catalog, ids = as_catalogue(qrels, run)
    rankings = [
        rank(
            [Hit(ids[name], name, -float(np.float32(score))) for name, score in run.get(topic, {}).items()],
            group=topic,
            catalog=catalog,
        )
        for topic in topics
    ]
    arrays = as_arrays(rankings, [catalog.findable_count(topic) for topic in topics])
    values = {f"success_{k}": hit_at_k(arrays.groups_relevant, k) for k in CUTS}
    return values | {f"recall_{k}": recall_at_k(arrays.images_relevant, arrays.findable, k) for k in CUTS}


def golden(path: Path) -> dict[str, dict[str, float]]:
    """Read trec_eval output as topic (or "all") -> measure -> value."""
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for line in path.read_text().splitlines():
        name, topic, value = line.split()
        if name.startswith(("recall_", "success_")):
            table[topic][name] = float(value)
    return dict(table)


@pytest.mark.parametrize(
    ("run_file", "expected_file"), [("results.test", "out.test.aq"), ("results.trunc", "out.test.aqc")]
)
def test_trec_evals_own_expected_recall_and_success_come_out(shared_data, run_file, expected_file):
    folder = shared_data / "trec_eval"
    expected = golden(folder / expected_file)
    topics = sorted(set(expected) - {"all"})
    values = measure(read_table(folder / "qrels.test", 3), read_table(folder / run_file, 4), topics)
    checked = 0
    for name, column in values.items():
        for row, topic in enumerate(topics):
            if name in expected[topic]:
                assert column[row] == pytest.approx(expected[topic][name], abs=5.1e-5), (name, topic)
                checked += 1
        if name in expected["all"]:  # with -c a topic that the run does not answer counts 0
            assert column.mean() == pytest.approx(expected["all"][name], abs=5.1e-5), name
            checked += 1
    assert checked == 12 * (len(topics) + 1)  # nine recall cuts and three success cuts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MU03rob01", "NLPR03vb10", "humR03dc", "rutcor03100"])
def test_every_topic_of_a_real_run_equals_pytrec_eval_ties_included(shared_data, name):
    folder = shared_data / "robust03"
    qrels = read_table(folder / "qrels.txt.gz", 3)
    run = read_table(folder / f"input.{name}.gz", 4)
    judged = {topic: {doc: int(grade) for doc, grade in docs.items()} for topic, docs in qrels.items()}
    cuts = ",".join(map(str, CUTS))
    judge = pytrec_eval.RelevanceEvaluator(judged, {f"recall.{cuts}", f"success.{cuts}"})
    expected = judge.evaluate(run)
    topics = sorted(expected)
    assert len(topics) >= 90
    for measure_name, column in measure(qrels, run, topics).items():
        np.testing.assert_allclose(
            column, [expected[topic][measure_name] for topic in topics], atol=1e-12, err_msg=measure_name
        )


def test_topics_that_a_run_leaves_out_count_zero_here_and_vanish_from_pytrec_evals_mean(shared_data):
    qrels = read_table(shared_data / "trec_eval" / "qrels.test", 3)
    run = read_table(shared_data / "trec_eval" / "results.trunc", 4)
    judged = {topic: {doc: int(grade) for doc, grade in docs.items()} for topic, docs in qrels.items()}
    theirs = pytrec_eval.RelevanceEvaluator(judged, {"success.10"}).evaluate(run)
    assert len(theirs) == 2
    ours = measure(qrels, run, sorted(qrels))["success_10"]
    assert ours.mean() == pytest.approx(sum(row["success_10"] for row in theirs.values()) / 3)
