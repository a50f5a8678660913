"""Every query whose value changed is listed once: the greatest loss first, then by category, with its cause."""

from __future__ import annotations

import numpy as np

from evaluation.outputs.flips import Flips, flips_of
from evaluation.system import View
from evaluation.why_lost import LossReader, Why
from tests.evaluation.report_world import NOISE, bad_candidate, hits, small_set, system

SET = small_set()
GOOD = system(SET, {View.SERVED: {}}, name="old")
BAD = bad_candidate(SET)


def compared(candidate=BAD, baseline=GOOD) -> Flips:
    reader = LossReader(SET, candidate, k=3, baseline=baseline)
    return flips_of(SET, candidate, baseline, reader, k=3)


def test_hit_losses_come_before_recall_losses_and_equal_ones_by_category():
    served = {5: hits(*NOISE), 2: hits(*NOISE), 0: hits("g0-0", *NOISE), 3: hits("g3-1", *NOISE)}
    found = compared(system(SET, {View.SERVED: served}))
    assert [(flip.row, flip.lost) for flip in found.lost] == [
        (2, (1.0, 1.0)),  # of category c0
        (5, (1.0, 1.0)),  # of category c1
        (0, (0.0, 0.5)),
        (3, (0.0, 0.5)),
    ]


def test_every_change_is_listed_once_as_a_loss_or_as_a_gain():
    chance = np.random.default_rng(5)
    names = [image.image_id for image in SET.catalog]
    for _ in range(20):
        one, other = (
            system(SET, {View.SERVED: {row: hits(*chance.choice(names, 6, replace=False)) for row in range(8)}})
            for _ in range(2)
        )
        found = compared(one, other)
        changed = (one.values["hit@3"] != other.values["hit@3"]) | (one.values["recall@3"] != other.values["recall@3"])
        assert sorted(flip.row for flip in (*found.lost, *found.gained)) == np.flatnonzero(changed).tolist()
        mirrored = compared(other, one)
        assert {flip.row for flip in found.gained} == {flip.row for flip in mirrored.lost}


def test_causes_are_counted_of_what_the_baseline_found_and_of_all():
    half = system(SET, {View.SERVED: {0: hits(*NOISE)}}, name="half")
    assert compared(baseline=half).reasons == {
        Why.UNANSWERED: (1, 1),
        Why.WRONG_CATEGORY: (0, 1),
        Why.RANKED_BEYOND_K: (1, 1),
    }
    assert compared().missed == 3


def test_without_a_baseline_what_finds_nothing_is_the_list():
    found = flips_of(SET, BAD, None, LossReader(SET, BAD, k=3), k=3)
    assert [flip.row for flip in found.lost] == [0, 2, 4]
    assert found.gained == ()
