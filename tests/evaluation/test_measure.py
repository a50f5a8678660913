"""From a system's answers to values: by hand, whole, without a loop over hits, and an error where nobody was asked."""

from __future__ import annotations

import sys
from datetime import date

import numpy as np
import pytest

from evaluation.answers import Answers, Hit, Status, answers_of
from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Label, Query
from evaluation.measure import measure
from evaluation.metrics import known_metrics
from evaluation.system import Fact, System, View
from reporting.errors import DataError
from tests.evaluation.slow_ranking import GALLERY, evalset_of

IDS = ("1", "2", "3", "4")
CATALOG = [
    CatalogImage(image_id=name, group_id=group, category="c")
    for name, group in (("1", "g1"), ("2", "g1"), ("3", "g2"), ("4", "g3"))
]
LABELS = [Label(query_id=name, group_id=group) for name, group in zip(IDS, ("g1", "g2", "g3", "g2"), strict=True)]
SET = evalset_of(
    CATALOG,
    LABELS,
    queries=[
        Query(query_id=name, category=category, cluster=cluster)
        for name, category, cluster in zip(
            IDS, ("shoes", "hats", "shoes", "hats"), ("g1", "g2", "g3", "g2"), strict=True
        )
    ],
)
SERVED = answers_of(
    IDS,
    {
        "1": [Hit("3", 0.3), Hit("1", 0.1), Hit("1", 0.1)],
        "2": [Hit("1", 0.2), Hit("3", 0.2)],  # a tie at the cut of 1
        "3": [Hit("9", 0.2), Hit("", float("nan"))],
    },
    statuses={"4": Status.TIMEOUT},
    errors={"4": "after 3 s"},
    seconds={"1": 0.5},
)  # 4 was not answered


def test_every_number_of_a_small_run_is_as_counted_by_hand():
    found = measure(System("run", {View.SERVED: SERVED}), SET, ks=(2, 1, 2))
    by_hand = {
        "hit@1": [1, 0, 0, 0], "hit@2": [1, 1, 0, 0], "recall@1": [0.5, 0, 0, 0], "recall@2": [0.5, 1, 0, 0],
        "capped_recall@1": [1, 0, 0, 0], "capped_recall@2": [0.5, 1, 0, 0], "map_at_r": [0.5, 0, 0, 0],
        "mrr": [1, 0.5, 0, 0], "ndcg@1": [1, 0, 0, 0], "answer_rate": [1, 1, 1, 0], "short_list@1": [0, 0, 0, 1],
        "short_list@2": [0, 0, 1, 1], "tied@1": [0, 1, 0, 0], "tied@2": [0, 0, 0, 0],
    }  # fmt: skip
    assert {name: found.values[name].tolist() for name in by_hand} == by_hand
    assert set(found.values) == {*by_hand, "ndcg@2"}
    assert [bound.tolist() for bound in found.bounds["hit@1"]] == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0.5, 0, 0]]
    assert (found.query_ids, found.clusters, found.set_id) == (IDS, ("g1", "g2", "g3", "g2"), SET.set_id)
    assert found.slices["all"].all()
    assert found.slices["category=hats"].tolist() == [False, True, False, True]
    ranked = found.views[View.SERVED]
    assert (ranked.duplicates.tolist(), ranked.orphans.tolist(), ranked.padded.tolist()) == (
        [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]
    )  # fmt: skip
    assert dict(found.errors) == {"4": "after 3 s"}
    assert found.seconds[0] == 0.5
    assert np.isnan(found.seconds[1:]).all()


def test_the_views_give_losses_and_facts_go_through():
    better = answers_of(IDS, {name: [Hit(right, 0.1)] for name, right in zip(IDS, "1343", strict=True)})
    system = System(
        "release 7",
        {View.SERVED: SERVED, View.EXACT: better, View.ORACLE: better, View.EXACT_ORACLE: better},
        facts=(Fact(metric="orphan_ids", value=3),),
        inputs={"index": "a" * 64},
        curve={8: 0.9},
    )
    found = measure(system, SET, ks=(1,))
    assert found.values["label_loss@1"].tolist() == [0, 1, 1, 1]
    assert found.values["routing_loss@1"].tolist() == [0, 1, 1, 1]
    assert found.values["model_loss@1"].tolist() == [0, 0, 0, 0]
    assert found.values["ann_loss@1"].tolist() == [0, 1, 1, 1]
    assert set(found.values) == {name.replace("@k", "@1") for name in known_metrics()}
    fact = found.fact("orphan_ids")
    assert fact is not None
    assert (fact.value, found.inputs, found.curve) == (3, {"index": "a" * 64}, {8: 0.9})
    assert set(found.views) == set(View)


@pytest.mark.parametrize("status", [Status.MISSING, Status.TIMEOUT, Status.ERROR])
def test_a_system_that_answered_nothing_is_an_error_and_not_a_zero(status):
    silent = answers_of(IDS, {}, statuses=dict.fromkeys(IDS, status), errors={"1": "connection refused"})
    with pytest.raises(DataError, match=rf"nothing answered.*4 queries.*4 {status}; 1: connection refused"):
        measure(System("dead", {View.SERVED: silent}), SET)


def test_a_system_that_answered_one_query_with_nothing_scores_zero():
    found = measure(System("empty", {View.SERVED: answers_of(IDS, {"1": []})}), SET)
    assert found.values["answer_rate"].tolist() == [1, 0, 0, 0]
    assert found.values["hit@10"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("ks", [(), (0,), (1, -5), (1.5,), (True,), (10**6,)])
def test_a_wrong_k_is_refused(ks):
    with pytest.raises(DataError, match="expected at least one whole number from 1"):
        measure(System("run", {View.SERVED: SERVED}), SET, ks=ks)


def test_answers_to_another_version_of_the_set_and_systems_without_answers_are_refused():
    with pytest.raises(DataError, match="answers and set must be of one version"):
        measure(System("old", {View.SERVED: answers_of(IDS[:3], {})}), SET)
    with pytest.raises(DataError, match="no served view"):
        measure(System("odd", {View.EXACT: SERVED}), SET)


def test_the_snapshots_day_decides_what_should_be_found_unless_another_is_asked_for():
    gone = [one.model_copy(update={"takedown_day": date(2026, 3, 5)} if one.image_id == "1" else {}) for one in CATALOG]
    evalset = evalset_of(gone, LABELS, gallery=GALLERY.model_copy(update={"as_of": date(2026, 3, 4)}))
    system = System("run", {View.SERVED: answers_of(IDS, {"1": [Hit("1", 0.1)]})})
    assert measure(system, evalset).values["recall@1"][0] == 0.5
    assert measure(system, evalset, day=date(2026, 3, 5)).values["recall@1"][0] == 0
    undated = evalset_of(gone, LABELS)
    assert measure(system, undated).values["recall@1"][0] == 0


def test_measuring_runs_no_python_line_for_each_hit():
    """144,000 hits more (in four views) run no more lines: what grows with hits grows inside numpy and Arrow."""
    few, many = (_lines_run(depth) for depth in (20, 200))
    assert few > 1000  # the tracer saw them
    assert many - few < 144  # numpy's own branches differ by a few


def _lines_run(depth: int) -> int:
    n, catalog = 200, 400
    images = tuple(CatalogImage(image_id=str(at), group_id=f"g{at}", category="c") for at in range(catalog))
    queries = tuple(Query(query_id=f"q{at:03d}", category="c", cluster="c") for at in range(n))
    labels = tuple(Label(query_id=query.query_id, group_id=f"g{at}") for at, query in enumerate(queries))
    evalset = EvalSet("s", "3" * 64, queries, labels, images, GALLERY)
    names = (np.arange(n)[:, None] + np.arange(depth)) % catalog
    answers = Answers(
        query_ids=tuple(query.query_id for query in queries),
        statuses=(Status.ANSWERED,) * n,
        row=np.repeat(np.arange(n), depth),
        image_id=names.ravel().astype(str).astype(np.object_),
        distance=np.tile(np.arange(depth) // 2, n).astype(np.float64),  # ties, which take the longest way
    )
    system = System("run", dict.fromkeys(View, answers))
    measure(system, evalset, ks=(1, 5))  # imports and caches are filled
    count = 0

    def tracer(frame, event, _):
        nonlocal count
        count += event == "line"
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        measure(system, evalset, ks=(1, 5))
    finally:
        sys.settrace(before)
    return count
