"""Metrics: their properties (evaluation-index-eviction.md, 4.8), ties against every order of them, values by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.answers import Answers, Status
from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Label, Query
from evaluation.measured import Ranked
from evaluation.metrics import (
    bounds_of,
    first_relevant_rank,
    hit_at_k,
    hit_bounds,
    is_share,
    known_metrics,
    recall_at_k,
    split_name,
    value_of,
    values_of,
)
from evaluation.ranking import rank
from reporting.errors import ConfigError
from tests.evaluation.slow_ranking import GALLERY, WORLDS, slow_rank

K = st.integers(1, 6)
GAINS = ("hit", "recall", "capped_recall", "ndcg")


def all_names(k: int) -> list[str]:
    """Every metric that is better when higher."""
    return [f"{base}@{k}" for base in GAINS] + ["map_at_r", "mrr", "answer_rate"]


def ranked_of(lists: Sequence[Sequence[tuple[float, int]]], *, findable: Sequence[int], same: Sequence[int]) -> Ranked:
    """Lay out lists of (distance, grade), every picture a group of its own."""
    n, width = len(lists), max([1, *map(len, lists)])
    grades = np.full((n, width), -1, np.int8)
    distances = np.full((n, width), np.nan)
    names = np.full((n, width), "", np.object_)
    for row, entries in enumerate(lists):
        for place, (distance, grade) in enumerate(entries):
            grades[row, place], distances[row, place], names[row, place] = grade, distance, f"p{place}"
    zero = np.zeros(n, np.int64)
    every = np.array(findable, np.int64)
    return Ranked(
        grades, names, distances, grades, names, distances, every, every, np.ones(n, np.bool_), zero, zero, zero, zero,
        np.array(same, np.int64),
    )  # fmt: skip


def changed(answers: Answers, keep: np.ndarray) -> Answers:
    group = None if answers.group_id is None else answers.group_id[keep]
    return replace(
        answers, row=answers.row[keep], image_id=answers.image_id[keep], distance=answers.distance[keep], group_id=group
    )


def with_hits(answers: Answers, at: list[int], farther: float) -> Answers:
    """Repeat hits, farther away by so much."""
    group = None if answers.group_id is None else np.concatenate([answers.group_id, answers.group_id[at]])
    return replace(
        answers,
        row=np.concatenate([answers.row, answers.row[at]]),
        image_id=np.concatenate([answers.image_id, answers.image_id[at]]),
        distance=np.concatenate([answers.distance, answers.distance[at] + farther]),
        group_id=group,
    )


@settings(max_examples=40)
@given(WORLDS, K)
def test_values_lie_between_0_and_1_and_gains_are_monotone_in_k(world, k):
    evalset, answers = world
    now, more = (values_of(all_names(one), rank(answers, evalset)) for one in (k, k + 1))
    for column in now.values():
        assert ((column >= 0) & (column <= 1)).all()
    for base in ("hit", "recall"):
        assert (now[f"{base}@{k}"] <= more[f"{base}@{k + 1}"]).all()
    assert (now[f"recall@{k}"] <= now[f"capped_recall@{k}"]).all()


@settings(max_examples=40)
@given(WORLDS, K, st.randoms(use_true_random=False))
def test_no_metric_depends_on_who_gets_which_id_among_equal_distances(world, k, random):
    """Ids decide the canonical order of ties; renaming every picture must leave the worst case alone."""
    evalset, answers = world
    answers = replace(answers, stands_for={})
    names = sorted({image.image_id for image in evalset.catalog} | set(answers.image_id.tolist()) - {""})
    renamed = dict(zip(names, random.sample(names, len(names)), strict=True)) | {"": ""}
    catalog = tuple(one.model_copy(update={"image_id": renamed[one.image_id]}) for one in evalset.catalog)
    others = replace(answers, image_id=np.array([renamed[one] for one in answers.image_id], np.object_))
    here, there = rank(answers, evalset), rank(others, replace(evalset, catalog=catalog))
    if answers.group_id is not None and (here.duplicates > 0).any():
        return  # one picture shown under two groups: which one counts is told by the groups' names
    for name in all_names(k):
        np.testing.assert_allclose(value_of(name, here), value_of(name, there), atol=1e-12, err_msg=name)
    for one, other in zip(hit_bounds(here, k), hit_bounds(there, k), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


@settings(max_examples=40)
@given(WORLDS, K, st.data())
def test_repeated_hits_never_raise_a_metric_and_are_counted(world, k, data):
    evalset, answers = world
    copies = data.draw(st.lists(st.integers(0, len(answers.row) - 1), max_size=5)) if len(answers.row) else []
    before = rank(answers, evalset)
    after = rank(with_hits(answers, copies, data.draw(st.sampled_from([0.0, 0.25]))), evalset)
    for name in all_names(k):
        np.testing.assert_array_equal(value_of(name, after), value_of(name, before), err_msg=name)
    extra = sum((one - other).sum() for one, other in [
        (after.duplicates, before.duplicates), (after.padded, before.padded), (after.self_matches, before.self_matches)
    ])  # fmt: skip
    assert extra == sum(answers.statuses[answers.row[at]] is Status.ANSWERED for at in copies)


@settings(max_examples=40)
@given(WORLDS, K)
def test_removing_a_relevant_picture_from_the_answers_never_raises_a_metric(world, k):
    evalset, answers = world
    before = rank(answers, evalset)
    found = np.argwhere(before.image_grades > 0)
    row, place = found[0] if len(found) else (0, 0)
    lost = before.image_names[row, place]
    after = rank(changed(answers, ~((answers.row == row) & (answers.image_id == lost))), evalset)
    for name in ("hit", "recall", "capped_recall", "ndcg"):
        assert (value_of(f"{name}@{k}", after) <= value_of(f"{name}@{k}", before) + 1e-12).all(), name
    for name in ("mrr", "map_at_r"):
        assert (value_of(name, after) <= value_of(name, before) + 1e-12).all(), name


@settings(max_examples=40)
@given(WORLDS, K)
def test_a_query_without_labels_changes_no_other_query(world, k):
    evalset, answers = world
    stranger = Query(query_id="unlabelled", category="c", cluster="u")
    more = replace(evalset, queries=(stranger, *evalset.queries))
    asked = replace(
        answers,
        query_ids=("unlabelled", *answers.query_ids),
        statuses=(Status.ANSWERED, *answers.statuses),
        row=np.concatenate([answers.row + 1, np.zeros(2, np.int64)]),
        image_id=np.concatenate([answers.image_id, np.array(["a", "7"], np.object_)]),
        distance=np.concatenate([answers.distance, [0.0, 0.0]]),
        group_id=None
        if answers.group_id is None
        else np.concatenate([answers.group_id, np.array(["", ""], np.object_)]),
    )
    before, after = rank(answers, evalset), rank(asked, more)
    for name in all_names(k):
        np.testing.assert_array_equal(value_of(name, after)[1:], value_of(name, before), err_msg=name)
        assert name == "answer_rate" or value_of(name, after)[0] == 0


@settings(max_examples=40)
@given(WORLDS, K)
def test_what_was_not_answered_scores_zero_and_stays(world, k):
    evalset, answers = world
    silent = replace(answers, statuses=(Status.ERROR,) * len(answers.statuses))
    for name, column in values_of([*all_names(k)], rank(silent, evalset)).items():
        assert column.tolist() == [0.0] * len(answers.statuses), name
    assert value_of(f"short_list@{k}", rank(silent, evalset)).all()


ENTRIES = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.sampled_from([0, 0, 1, 2])), min_size=1, max_size=6)


@given(ENTRIES, st.integers(1, 7))
def test_every_metric_is_the_worst_over_all_orders_of_ties_and_bounds_are_its_extremes_and_mean(entries, k):
    entries = sorted(entries, key=lambda entry: entry[0])
    relevant = sum(grade > 0 for _, grade in entries) + 1
    same = sum(grade == 2 for _, grade in entries)
    orders = [
        order
        for order in itertools.permutations(entries)
        if [distance for distance, _ in order] == [distance for distance, _ in entries]
    ]
    # Distances far apart, so that no order of these lists is a tie any more.
    every = ranked_of(
        [[(float(place), grade) for place, (_, grade) in enumerate(order)] for order in orders],
        findable=[relevant] * len(orders),
        same=[same] * len(orders),
    )
    one = ranked_of([entries], findable=[relevant], same=[same])
    for name in [*all_names(k)]:
        assert value_of(name, one)[0] == pytest.approx(value_of(name, every).min(), abs=1e-12), name
    for base in ("hit", "recall", "capped_recall"):
        values = value_of(f"{base}@{k}", every)
        found = [bound[0] for bound in bounds_of(f"{base}@{k}", one)]
        assert found == pytest.approx([values.min(), values.max(), values.mean()]), base
    tied = k < len(entries) and entries[k - 1][0] == entries[k][0]
    assert value_of(f"tied@{k}", one)[0] == tied


@pytest.mark.parametrize(("gap", "tied"), [(0.5e-6, True), (2e-6, False), (0.0, True)])
@pytest.mark.parametrize("distance", [0.3, -0.3, 400.0])
def test_a_tie_is_one_millionth_relative(distance, gap, tied):
    pair = sorted([distance, distance * (1 + gap)])
    one = ranked_of([[(pair[0], 2), (pair[1], 0)]], findable=[1], same=[1])
    assert [bound[0] for bound in hit_bounds(one, 1)] == ([0, 1, 0.5] if tied else [1, 1, 1])


def test_a_list_of_99_ties_is_worth_what_its_worst_order_gives():
    """The canonical order happens to put the right one first; hit@10 may not count that."""
    one = ranked_of([[(0.5, 2)] + [(0.5, 0)] * 98], findable=[1], same=[1])
    worst, best, expected = (bound[0] for bound in hit_bounds(one, 10))
    assert (worst, best) == (0, 1)
    assert expected == pytest.approx(10 / 99)
    assert value_of("hit@10", one)[0] == 0


def test_values_by_hand():
    """Ranks of relevant pictures 1 (grade 1), 3 (grade 2); three findable, two of them of grade 2."""
    one = ranked_of([[(0.1, 1), (0.2, 0), (0.3, 2), (0.4, 0)]], findable=[3], same=[2])
    log3, log4 = np.log2(3), 2.0
    by_hand = {
        "hit@1": 1, "recall@1": 1 / 3, "recall@3": 2 / 3, "capped_recall@1": 1, "capped_recall@2": 1 / 2, "mrr": 1,
        "map_at_r": (1 + 2 / 3) / 3, "ndcg@1": 1 / 2, "ndcg@3": (1 + 2 / log4) / (2 + 2 / log3 + 1 / log4),
        "ndcg@9": (1 + 2 / log4) / (2 + 2 / log3 + 1 / log4), "short_list@4": 0, "short_list@5": 1, "answer_rate": 1,
    }  # fmt: skip
    assert {name: value_of(name, one)[0] for name in by_hand} == pytest.approx(by_hand)


def test_the_pure_functions_take_plain_arrays():
    relevant = np.array([[False, True, True], [False, False, False]])
    assert hit_at_k(relevant, 9).tolist() == [1, 0]
    assert recall_at_k(relevant, np.array([4, 0]), 2).tolist() == [0.25, 0]
    assert first_relevant_rank(relevant).tolist() == [2, 0]
    with pytest.raises(ValueError, match="query row 0: more relevant pictures retrieved than the 1 findable"):
        recall_at_k(relevant, np.array([1, 1]), 3)


@settings(max_examples=40)
@given(WORLDS)
def test_hits_equal_those_of_the_slow_ranking(world):
    evalset, answers = world
    arrays = rank(answers, evalset)
    for row in range(len(evalset.queries)):
        groups = slow_rank(answers, evalset, row, None).groups
        for k in (1, 2, 5):
            at_cut = groups[k - 1][1] if k < len(groups) and groups[k - 1][1] == groups[k][1] else None
            sure = [grade for _, distance, grade in groups[:k] if at_cut is None or distance < at_cut]
            others = [grade for _, distance, grade in groups if at_cut is not None and distance == at_cut]
            refused = sum(grade == 0 for grade in others)
            worst = max(sure, default=0) > 0 or (bool(others) and refused < k - len(sure))
            assert value_of(f"hit@{k}", arrays)[row] == worst


def test_names_are_known_or_refused_with_the_nearest():
    assert {"hit@k", "recall@k", "mrr", "map_at_r", "ann_loss@k"} <= set(known_metrics())
    assert split_name("capped_recall@10") == ("capped_recall", 10)
    assert [is_share(name) for name in ("hit@1", "answer_rate", "model_loss@5", "recall@1", "label_loss@5")] == [
        True, True, True, False, False
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"unknown metric 'hits@10'; did you mean hit@k"):
        split_name("hits@10")
    for name in ("hit", "hit@0", "hit@-1", "hit@1.5", "hit@", "recall@01"):
        with pytest.raises(ConfigError, match=r"expected .*@k with a whole number k"):
            value_of(name, ranked_of([[]], findable=[1], same=[1]))
    with pytest.raises(ConfigError, match="unknown metric 'mrr@5'"):
        is_share("mrr@5")
    with pytest.raises(ConfigError, match="compares two views"):
        value_of("ann_loss@5", ranked_of([[]], findable=[1], same=[1]))
    with pytest.raises(ConfigError, match="has no bounds"):
        bounds_of("mrr", ranked_of([[]], findable=[1], same=[1]))


def test_a_lost_product_is_a_miss_and_not_a_vanished_query():
    """The index loses the three pictures of the product one by one; the catalogue of record does not."""
    catalog = tuple(CatalogImage(image_id=str(at), group_id="g" if at < 3 else "h", category="c") for at in range(6))
    query = Query(query_id="q", category="c", cluster="g")
    evalset = EvalSet("s", "0" * 64, (query,), (Label(query_id="q", group_id="g"),), catalog, GALLERY)
    recalls = []
    for lost in range(4):
        held = np.array([str(at) for at in range(lost, 6)], np.object_)
        answers = Answers(("q",), (Status.ANSWERED,), np.zeros(len(held), np.int64), held, np.arange(len(held)) / 10)
        ranked = rank(answers, evalset)
        recalls.append(value_of("recall@5", ranked)[0])
        assert value_of("hit@5", ranked)[0] == (lost < 3)
    assert recalls == pytest.approx([1, 2 / 3, 1 / 3, 0])
