"""Voters over the same objects: each cell counted again by hand, each pair by McNemar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.categories import measure_categories
from evaluation.mcnemar import exact_p
from evaluation.stats import wilson_interval
from reporting.errors import DataError

TRUTH = ["food", "food", "food", "travel", "travel", "animal"]
ANSWERS = {
    "detector": ["food", "travel", "", "travel", "food", "food"],
    "vote": ["food", "food", "travel", "travel", "food", "animal"],
    "fusion": ["food", "food", "food", "travel", "food", "other"],
}

names = st.sampled_from(["food", "travel", "animal"])
objects = st.lists(st.tuples(names, st.sampled_from(["", "food", "travel", "other"]), names), max_size=30)


def test_accuracies_and_their_differences_are_those_counted_by_hand():
    result = measure_categories(TRUTH, ANSWERS)
    assert [(one.voter, one.accuracy.value, one.unanswered) for one in result.voters] == [
        ("detector", 2 / 6, 1),
        ("vote", 4 / 6, 0),
        ("fusion", 4 / 6, 0),
    ]
    assert [(one.first, one.second) for one in result.pairs] == [
        ("detector", "vote"),
        ("detector", "fusion"),
        ("vote", "fusion"),
    ]
    both = result.pair("vote", "fusion")
    assert both is not None
    assert (both.only_first, both.only_second, both.difference, both.p_value) == (1, 1, 0.0, 1.0)
    weak = result.pair("detector", "vote")
    assert weak is not None
    assert (weak.only_first, weak.only_second, weak.p_value) == (0, 2, exact_p(0, 2))
    assert result.pair("fusion", "vote") is None


def test_confusion_recall_and_precision_are_those_counted_by_hand():
    detector = measure_categories(TRUTH, ANSWERS).voter("detector")
    assert detector is not None
    assert detector.confusion == {
        "animal": {"food": 1},
        "food": {"": 1, "food": 1, "travel": 1},
        "travel": {"food": 1, "travel": 1},
    }
    food = next(one for one in detector.categories if one.category == "food")
    assert (food.recall.value, food.recall.n) == (1 / 3, 3)
    assert (food.precision.value, food.precision.n) == (1 / 3, 3)
    assert (food.recall.ci_low, food.recall.ci_high) == wilson_interval(1, 3)


def test_a_category_that_is_only_answered_is_listed_without_recall():
    fusion = measure_categories(TRUTH, ANSWERS).voter("fusion")
    assert fusion is not None
    other = next(one for one in fusion.categories if one.category == "other")
    assert (other.recall.n, other.precision.n, other.precision.value) == (0, 1, 0.0)
    assert (other.recall.ci_low, other.recall.ci_high) == (0.0, 1.0)


@given(objects)
def test_every_object_lies_in_one_cell_of_each_confusion(rows):
    truth = [row[0] for row in rows]
    result = measure_categories(truth, {"one": [row[1] for row in rows], "two": [row[2] for row in rows]})
    for voter in result.voters:
        assert sum(count for cells in voter.confusion.values() for count in cells.values()) == len(rows) == result.n
        assert sum(one.recall.n for one in voter.categories) == len(rows)
        assert sum(one.precision.n for one in voter.categories) == len(rows) - voter.unanswered
        diagonal = sum(cells.get(true, 0) for true, cells in voter.confusion.items())
        assert voter.accuracy.value == (pytest.approx(diagonal / len(rows)) if rows else 0.0)


def test_no_object_says_nothing():
    accuracy = measure_categories([], {"vote": []}).voters[0].accuracy
    assert (accuracy.n, accuracy.value, accuracy.ci_low, accuracy.ci_high) == (0, 0.0, 0.0, 1.0)


def test_answers_that_do_not_fit_the_truth_are_refused():
    with pytest.raises(DataError, match="voter vote: 1 answers about 2 objects"):
        measure_categories(["food", "food"], {"vote": ["food"]})
    with pytest.raises(DataError, match="object 1 has no true category"):
        measure_categories(["food", ""], {})
