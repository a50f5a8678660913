"""Each cause of a loss is told from the views that prove it, and none is made up where they cannot tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluation.answers import Status
from evaluation.system import Fact, View
from evaluation.why_lost import Loss, LossReader, Why, why_lost
from tests.evaluation.report_world import NOISE, hits, small_set, system

SET = small_set()
ALL = (View.SERVED, View.ORACLE, View.EXACT, View.EXACT_ORACLE)
LOST = hits(*NOISE)


def told(lists, row=0, **given) -> Loss:
    baseline = given.pop("baseline", None)
    measured = system(SET, lists, **given)
    found = why_lost(SET, measured, row, k=3, baseline=baseline)
    assert found is not None
    return found


def test_a_query_that_finds_its_product_is_not_lost():
    assert why_lost(SET, system(SET, {View.SERVED: {}}), 0, k=3) is None


def test_what_was_not_answered_says_how_it_ended():
    found = told({View.SERVED: {}}, statuses={0: Status.ERROR}, errors={0: "no such model"})
    assert found == (Why.UNANSWERED, "error: no such model")


def test_a_tie_at_the_cut_is_named_a_tie():
    tied = [*hits("noise-0", "noise-1"), *hits("noise-2", "g0-0", start=0.5, step=0.0)]
    assert told({View.SERVED: {0: tied}}).why is Why.TIE


@pytest.mark.parametrize(
    ("lost_in", "why"),
    [
        ((View.SERVED, View.ORACLE), Why.ANN_MISS),
        ((View.SERVED, View.EXACT), Why.WRONG_CATEGORY),
        ((View.SERVED, View.EXACT, View.ORACLE), Why.WRONG_CATEGORY),
        (ALL, Why.MODEL),
    ],
)
def test_the_narrowest_view_that_finds_it_names_the_cause(lost_in, why):
    assert told({view: {0: LOST} if view in lost_in else {} for view in ALL}).why is why


def test_a_product_beyond_the_cut_is_told_with_its_rank():
    found = told({view: {0: hits(*NOISE, "g0-1")} for view in ALL})
    assert found == (Why.RANKED_BEYOND_K, "it is at rank 6, the cut is 3")


def test_a_product_without_a_held_picture_is_evicted_if_it_has_left_the_window_and_else_not_indexed():
    absent = frozenset(f"g{n}-{copy}" for n in (0, 6) for copy in (0, 1))
    lists = {View.SERVED: {0: LOST, 6: LOST}}
    assert told(lists, absent=absent) == (Why.NOT_INDEXED, "the index holds none of its 2 live pictures")
    evicted = told(lists, row=6, absent=absent)
    assert evicted.why is Why.EVICTED
    assert "last seen on 2026-09-01, 80 days ago, the window has 30 days" in evicted.said


def test_what_the_baseline_still_returns_was_evicted():
    lists = {View.SERVED: {0: LOST}}
    found = told(lists, absent=frozenset({"g0-0", "g0-1"}), baseline=system(SET, {View.SERVED: {}}, name="old"))
    assert (found.why, "old still returns g0-0" in found.said) == (Why.EVICTED, True)


def test_losing_only_the_picture_that_the_baseline_found_by_is_an_eviction_too():
    lists = {view: {0: hits(*NOISE, "g0-1")} for view in ALL}
    baseline = system(SET, {View.SERVED: {0: hits("g0-0", *NOISE)}}, name="old")
    found = told(lists, absent=frozenset({"g0-0"}), baseline=baseline)
    assert (found.why, "holds 1 of its 2" in found.said) == (Why.EVICTED, True)
    assert told(lists, absent=frozenset({"g0-0"})).why is Why.RANKED_BEYOND_K


def test_a_census_names_what_is_gone_where_the_system_does_not():
    fact = Fact(metric="groups_with_zero_images", value=1, examples=("g0",))
    assert told({View.SERVED: {0: LOST}}, facts=(fact,)).why is Why.NOT_INDEXED


def test_a_catalogue_without_a_live_picture_is_no_fault_of_the_model():
    measured = system(SET, {View.SERVED: {0: LOST}})
    empty = replace(SET, catalog=tuple(image for image in SET.catalog if image.group_id != "g0"))
    found = why_lost(empty, measured, 0, k=3)
    assert found is not None
    assert (found.why, "the catalogue itself" in found.said) == (Why.NOT_INDEXED, True)


def test_a_run_file_tells_a_category_from_its_hits_and_nothing_more():
    foreign = hits("g1-0", "g3-0", "g5-0")
    assert told({View.SERVED: {0: foreign}}).why is Why.WRONG_CATEGORY
    assert told({View.SERVED: {0: hits("g2-0", "g3-0", "g4-0")}}).why is Why.NOT_RETURNED
    assert told({View.SERVED: {0: []}}) == (
        Why.NOT_RETURNED,
        "the list is empty; only exact search or a census could say why",
    )


def test_exactly_the_queries_without_a_hit_have_a_cause():
    chance = np.random.default_rng(3)
    names = [image.image_id for image in SET.catalog]
    for _ in range(30):
        lists = {
            view: {row: hits(*chance.choice(names, 7, replace=False), step=float(chance.choice([0.0, 0.1])))
                   for row in range(8)}
            for view in ALL[: chance.integers(1, 5)]
        }  # fmt: skip
        measured = system(SET, lists)
        reader = LossReader(SET, measured, k=3)
        lost = [reader.of(row) is not None for row in range(8)]
        assert lost == (measured.values["hit@3"] == 0).tolist()
