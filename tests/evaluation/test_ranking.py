"""Canonical ranking against the order of operations written out step by step, and its rules by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.answers import Answers, Hit, Status, answers_of
from evaluation.catalog import CatalogImage
from evaluation.evalset import EvalSet, Label, Query
from evaluation.measured import Ranked
from evaluation.ranking import rank
from evaluation.truth import ordered_codes
from reporting.errors import DataError
from tests.evaluation.slow_ranking import DAY, WORLDS, evalset_of, id_key, lists_of, slow_rank


def image(name: str, group: str, **more) -> CatalogImage:
    return CatalogImage(image_id=name, group_id=group, category="c", **more)


SET = evalset_of(
    [image("1", "g"), image("2", "g"), image("3", "h"), image("4", "k")], [Label(query_id="q", group_id="g")]
)


def ranked(hits: list[Hit], evalset: EvalSet = SET, **more) -> Ranked:
    return rank(answers_of([query.query_id for query in evalset.queries], {"q": hits}, **more), evalset)


def names(ranking: Ranked) -> list[str]:
    return [name for name in ranking.image_names[0] if name]


@settings(max_examples=150)
@given(WORLDS, st.sampled_from([None, DAY, date(2026, 2, 28)]))
def test_every_list_equals_the_order_of_operations_written_out(world, day):
    evalset, answers = world
    arrays = rank(answers, evalset, day=day)
    for row in range(len(evalset.queries)):
        assert lists_of(arrays, row) == slow_rank(answers, evalset, row, day)


@settings(max_examples=40)
@given(WORLDS, st.randoms(use_true_random=False))
def test_the_order_in_which_hits_come_is_irrelevant(world, random):
    evalset, answers = world
    order = np.array(random.sample(range(len(answers.row)), len(answers.row)), np.int64)
    shuffled = replace(
        answers,
        row=answers.row[order],
        image_id=answers.image_id[order],
        distance=answers.distance[order],
        group_id=None if answers.group_id is None else answers.group_id[order],
    )
    before, after = rank(answers, evalset), rank(shuffled, evalset)
    assert [lists_of(before, row) for row in range(3)] == [lists_of(after, row) for row in range(3)]


@given(st.lists(st.one_of(st.text("0123456789", max_size=22), st.text(max_size=4)), max_size=30))
def test_ids_are_ordered_by_value_where_they_are_numbers_and_by_bytes_where_not(texts):
    texts = [text for text in texts if text.isprintable()]
    codes, distinct = ordered_codes(texts, numbers_first=True)
    assert distinct.tolist() == sorted(set(texts), key=id_key)
    assert [distinct[code] for code in codes] == texts
    plain, by_bytes = ordered_codes(texts)
    assert by_bytes.tolist() == sorted(set(texts), key=str.encode)
    assert [by_bytes[code] for code in plain] == texts


def test_the_self_match_is_dropped_by_its_hash_and_not_by_its_place():
    own = "e" * 64
    evalset = evalset_of(
        [image("1", "g", sha256=own), image("2", "g"), image("3", "h")],
        [Label(query_id="q", group_id="g")],
        queries=[Query(query_id="q", category="c", cluster="g", sha256=own)],
    )
    result = ranked([Hit("3", 0.0), Hit("1", 0.1), Hit("2", 0.2), Hit("1", 0.3)], evalset)
    assert names(result) == ["3", "2"]
    assert (result.self_matches[0], result.duplicates[0], result.findable[0]) == (2, 0, 1)


def test_a_duplicate_keeps_its_nearest_place_and_is_counted():
    result = ranked([Hit("3", 0.2), Hit("1", 0.3), Hit("3", 0.5), Hit("3", 0.2)])
    assert (names(result), result.duplicates[0]) == (["3", "1"], 2)


def test_a_dropped_duplicate_is_found_under_its_survivor_and_counts_once():
    evalset = evalset_of([image("1", "g"), image("2", "g"), image("9", "g")], [Label(query_id="q", group_id="g")])
    result = ranked([Hit("9", 0.1)], evalset, stands_for={"1": "9"})
    assert (result.image_grades[0].tolist(), result.findable[0]) == ([2], 2)
    other = evalset_of([image("1", "g"), image("9", "h")], [Label(query_id="q", group_id="g")])
    assert ranked([Hit("9", 0.1)], other).image_grades[0].tolist() == [0]
    assert ranked([Hit("9", 0.1)], other, stands_for={"1": "9"}).image_grades[0].tolist() == [2]


def test_a_picture_of_two_products_is_relevant_for_either_and_takes_one_place():
    evalset = evalset_of(
        [image("1", "a"), image("1", "b"), image("2", "a")],
        [
            Label(query_id="p", group_id="b"),
            Label(query_id="q", group_id="b", grade=1),
            Label(query_id="q", group_id="a"),
        ],
    )
    answers = answers_of(["p", "q"], {"p": [Hit("1", 0.1), Hit("2", 0.2)], "q": [Hit("1", 0.1), Hit("2", 0.2)]})
    result = rank(answers, evalset)
    assert result.image_grades.tolist() == [[2, 0], [2, 2]]
    assert [list(row) for row in result.group_names] == [["b", "a"], ["a", ""]]
    assert result.findable.tolist() == [1, 2]
    assert result.findable_groups.tolist() == [1, 2]


def test_what_the_system_claims_never_makes_a_hit_relevant():
    """Wrong pictures shown as the labelled group, and all pictures shown as one group."""
    liar = ranked([Hit("3", 0.1, "g"), Hit("5", 0.2, "g")])
    assert (liar.image_grades[0].tolist(), liar.group_grades[0].tolist(), liar.orphans[0]) == ([0, 0], [0], 1)
    lumped = ranked([Hit("3", 0.1, "all"), Hit("1", 0.2, "all"), Hit("4", 0.3, "all")])
    assert (lumped.group_names[0].tolist(), lumped.group_grades[0].tolist()) == (["all"], [0])
    for right, wrong in (("1", "3"), ("2", "1000")):  # whichever id comes first at one distance
        tied = ranked([Hit(right, 0.1, "x"), Hit(wrong, 0.1, "x"), Hit("4", 0.2, "y")])
        assert tied.group_grades[0].tolist() == [0, 0]


def test_a_picture_under_takedown_takes_its_place_as_a_stranger_and_its_product_comes_at_its_own():
    evalset = evalset_of([image("1", "g", takedown_day=DAY), image("2", "g")], [Label(query_id="q", group_id="g")])
    answers = answers_of(["q"], {"q": [Hit("1", 0.1), Hit("2", 0.2)]})
    gone = rank(answers, evalset, day=DAY)
    assert (gone.group_grades[0].tolist(), gone.findable[0], gone.orphans[0]) == ([0, 2], 1, 0)
    before = rank(answers, evalset, day=date(2026, 2, 28))
    assert (before.group_grades[0].tolist(), before.findable[0]) == ([2], 2)


def test_a_lost_product_stays_findable_and_an_unanswered_query_keeps_nothing():
    answers = answers_of(["q"], {"q": [Hit("1", 0.1)]}, statuses={"q": Status.TIMEOUT}, errors={"q": "after 3 s"})
    result = rank(answers, SET)
    assert (result.image_grades.tolist(), result.answered.tolist(), result.findable.tolist()) == ([[-1]], [False], [2])


def test_an_empty_id_may_have_any_distance_and_a_real_one_may_not():
    padded = ranked([Hit("", float("nan")), Hit("1", 0.1), Hit("", 3e38)])
    assert (names(padded), padded.padded[0]) == (["1"], 2)
    for distance in (float("nan"), float("inf")):
        with pytest.raises(DataError, match=r"query q, picture 3: distance (nan|inf) \(1 such hits\)"):
            ranked([Hit("1", 0.1), Hit("3", distance)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_ids": ("other",)}, "query 'other' than eval set hand@000000000000 has"),
        ({"distance": np.zeros(3)}, "distance 3, 1 statuses"),
        ({"statuses": ()}, "0 statuses for 1 queries"),
        ({"row": np.array([0, 1])}, "hits of rows 0 to 1; expected 0 to 0"),
        ({"group_id": np.array(["g"], np.object_)}, "group_id 1"),
    ],
)
def test_broken_answers_are_refused_with_the_numbers(change, message):
    whole = answers_of(["q"], {"q": [Hit("1", 0.1), Hit("3", 0.2)]})
    with pytest.raises(DataError, match=message):
        rank(replace(whole, **change), SET)


def test_a_set_whose_rows_contradict_each_other_is_refused():
    answers = answers_of(["q"], {})
    with pytest.raises(DataError, match=r"label \(r, g\) is of no query"):
        rank(answers, replace(SET, labels=(Label(query_id="r", group_id="g"),)))
    with pytest.raises(DataError, match="query_id occurs twice"):
        rank(answers, replace(SET, queries=SET.queries * 2))


def test_a_set_without_answers_labels_or_catalogue_ranks_to_empty_lists():
    empty = evalset_of([], [Label(query_id="q", group_id="nowhere")])
    result = ranked([Hit("1", 0.1)], empty)
    assert (result.orphans[0], result.findable[0], result.group_grades.tolist()) == (1, 0, [[0]])
    nothing: Answers = answers_of(["q"], {})
    assert rank(nothing, SET).image_grades.shape == (1, 1)
