"""Where hits are lost, by hand and by big-ann-benchmarks' cases of recall with ties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.answers import Hit, Status, answers_of
from evaluation.catalog import CatalogImage
from evaluation.evalset import Label
from evaluation.losses import ann_loss_at_k, losses_of
from evaluation.measured import Ranked
from evaluation.ranking import rank
from evaluation.system import View
from tests.evaluation.slow_ranking import WORLDS, evalset_of

CATALOG = [CatalogImage(image_id=str(at), group_id=f"g{at}", category="c") for at in range(8)]
SET = evalset_of(CATALOG, [Label(query_id="q", group_id="g0")])
EPSILON = 1e-6


def lists(*rows: list[tuple[int, float]]) -> Ranked:
    """Rank one list of (id, distance) for each of several queries."""
    names = [f"q{at}" for at in range(len(rows))]
    evalset = evalset_of(CATALOG, [Label(query_id=name, group_id="g0") for name in names])
    hits = {
        name: [Hit(str(number), distance) for number, distance in row] for name, row in zip(names, rows, strict=True)
    }
    return rank(answers_of(names, hits), evalset)


def big_ann(ids: list[int], distances: list[float], answer: list[int]) -> tuple[Ranked, Ranked]:
    """Build (served, exact) for one query; the served list is in the order of `answer`."""
    exact = lists(list(zip(ids, distances, strict=True)))
    return lists([(number, float(place)) for place, number in enumerate(answer)]), exact


# tests/recall_tests.py of harsha-simhadri/big-ann-benchmarks (MIT): true ids and distances, answer, k, and how many of
# the k are right with ties counted. Its tolerance is absolute, ours relative: the one case that tells them apart, at
# distance 2, has its gaps doubled.
CASES = [
    ([0, 1, 2], [0.0, 1.0, 2.0], [0, 1, 2], 3, 3),
    ([0, 1, 2], [0.0, 1.0, 2.0], [0, 1, 3], 3, 2),
    ([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], [0, 1, 2], 3, 3),
    ([0, 1, 2, 3], [0.0, 1.0, 2.0, 2.0], [0, 1, 2], 3, 3),
    ([0, 1, 2, 3], [0.0, 0.0, 1.0, 2.0], [0, 1, 3], 3, 2),
    ([3, 2, 1, 0], [0.0, 0.0, 1.0, 2.0], [3, 2, 0], 3, 2),
    ([0, 1, 2, 3], [0.0, EPSILON * 0.9, 1.0, 2.0], [0, 1, 3], 3, 2),
    ([0, 1, 2, 3], [0.0, EPSILON, 1.0, 2.0], [0, 1, 3], 3, 2),
    ([0, 1, 2, 3], [0.0, 1.0, 1.0, 2.0], [0, 1, 3], 3, 2),
    ([3, 2, 1, 0], [0.0, 1.0, 1.0, 2.0], [3, 2, 0], 3, 2),
    ([0, 1, 2, 3], [0.0, 1.0, 2.0, 2.0], [0, 1, 3], 3, 3),
    ([3, 2, 1, 0], [0.0, 1.0, 2.0, 2.0], [3, 2, 0], 3, 3),
    ([0, 1, 2, 3, 4, 5], [0.0, 1.0, 2.0, 2.0, 2.0 + 1.8e-6, 2.0 + 4e-6], [0, 1, 4], 3, 3),
    ([5, 4, 3, 2, 1, 0], [0.0, 1.0, 2.0, 2.0, 2.0 + 1.8e-6, 2.0 + 4e-6], [5, 4, 0], 3, 2),
    ([0, 1, 2, 3, 4, 5], [0.0, 0.0, 2.0, 3.0, 3.0, 4.0], [0, 1, 5], 3, 2),
    ([5, 4, 3, 2, 1, 0], [0.0, 0.0, 2.0, 3.0, 3.0, 4.0], [5, 4, 1], 3, 2),
    ([0, 1, 2, 3, 4, 5, 6], [0.0, 0.0, 2.0, 3.0, 3.0, 4.0, 5.0], [0, 1, 5, 7], 4, 2),
    ([6, 5, 4, 3, 2, 1, 0], [0.0, 0.0, 2.0, 3.0, 3.0, 4.0, 5.0], [5, 4, 1, 7], 4, 2),
    (
        [937541801, 221456167, 336118969, 971823307, 267986685, 544978851, 815975675, 615142927, 640142873, 994367459,
         504814],
        [55214.0, 58224.0, 58379.0, 58806.0, 59251.0, 59256.0, 60302.0, 60573.0, 60843.0, 60950.0, 61125.0],
        [221456167, 336118969, 971823307, 640142873, 994367459, 504814, 87356234, 628179290, 928121617, 397551598],
        10, 5,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ids", "distances", "answer", "k", "right"), CASES)
def test_recall_with_ties_is_that_of_big_ann_benchmarks(ids, distances, answer, k, right):
    served, exact = big_ann(ids, distances, answer)
    assert ann_loss_at_k(served, exact, k).tolist() == [pytest.approx(1 - right / k)]


def test_repeats_of_the_nearest_neighbour_are_one_hit():
    """ann-benchmarks #519: ten copies of it were 100 % recall."""
    exact = lists([(at, float(at)) for at in range(6)])
    assert ann_loss_at_k(lists([(0, 0.0)] * 5), exact, 5).tolist() == [pytest.approx(0.8)]


def test_an_exact_list_shorter_than_k_is_its_own_measure():
    exact = lists([(0, 0.1), (1, 0.2)], [], [(0, 0.1)])
    served = lists([(1, 0.2)], [(4, 0.3)], [(0, 0.1), (5, 0.2)])
    assert ann_loss_at_k(served, exact, 5).tolist() == [0.5, 0.0, 0.0]


@settings(max_examples=40)
@given(WORLDS, st.integers(1, 6))
def test_a_system_loses_nothing_against_itself_unless_it_did_not_answer(world, k):
    evalset, answers = world
    ranked = rank(answers, evalset)
    losses = losses_of(dict.fromkeys(View, ranked), k)
    for name in ("ann_loss", "label_loss", "routing_loss"):
        assert losses[f"{name}@{k}"].tolist() == (~ranked.answered).astype(float).tolist(), name


@settings(max_examples=40)
@given(WORLDS, WORLDS, st.integers(1, 6))
def test_ann_loss_equals_sets_of_names(world, other, k):
    evalset, answers = world
    exact = rank(answers, evalset)
    served = rank(other[1], replace(other[0], queries=evalset.queries, labels=()))
    loss = ann_loss_at_k(served, exact, k)
    for row in range(len(evalset.queries)):
        names, distances = exact.image_names[row], exact.image_distances[row]
        listed = [at for at in range(len(names)) if names[at]]
        wanted = {names[at] for at in listed if at < k or distances[at] == distances[k - 1]}
        size = min(k, len(listed))
        held = {name for name in served.image_names[row, :k] if name}
        expected = 1 - min(len(wanted & held), size) / size if size else 0.0
        assert loss[row] == pytest.approx(expected if exact.answered[row] else 1.0)


def view(hits: list[Hit], status: Status = Status.ANSWERED) -> Ranked:
    return rank(answers_of(["q"], {"q": hits}, statuses={"q": status}), SET)


def test_a_miss_is_booked_to_the_one_that_caused_it():
    found, lost = view([Hit("0", 0.1)]), view([Hit("1", 0.1)])
    table = {
        "index": ({View.SERVED: lost, View.EXACT: found, View.ORACLE: lost, View.EXACT_ORACLE: found}, (1, 1, 0, 0)),
        "routing": ({View.SERVED: lost, View.EXACT: lost, View.ORACLE: found, View.EXACT_ORACLE: found}, (0, 0, 1, 0)),
        "model": ({View.SERVED: lost, View.EXACT: lost, View.ORACLE: lost, View.EXACT_ORACLE: lost}, (0, 0, 0, 1)),
        "luck": ({View.SERVED: found, View.EXACT: lost, View.ORACLE: found, View.EXACT_ORACLE: lost}, (1, -1, 0, 1)),
    }
    for cause, (views, expected) in table.items():
        losses = losses_of(views, 1)
        names = ("ann_loss@1", "label_loss@1", "routing_loss@1", "model_loss@1")
        assert tuple(losses[name][0] for name in names) == expected, cause


def test_only_what_the_views_can_tell_is_told():
    found, lost = view([Hit("0", 0.1)]), view([Hit("1", 0.1)])
    assert losses_of({View.SERVED: found}, 1) == {}
    assert set(losses_of({View.SERVED: found, View.ORACLE: found}, 1)) == {"routing_loss@1"}
    assert losses_of({View.SERVED: found, View.EXACT: lost}, 5)["model_loss@5"].tolist() == [1]


def test_a_reference_that_did_not_answer_never_flatters():
    found, silent = view([Hit("0", 0.1)]), view([], Status.TIMEOUT)
    losses = losses_of({View.SERVED: found, View.EXACT: silent, View.ORACLE: silent}, 1)
    assert {name: column[0] for name, column in losses.items()} == dict.fromkeys(losses, 1.0)
    assert np.isfinite(list(losses.values())).all()
