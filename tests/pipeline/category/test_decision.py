"""Where objects go, by galleries small enough to be computed by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from pipeline.category.decision import Decision, Listing, decide, declared_decision
from pipeline.category.gallery import Gallery, LabelledRow
from reporting.errors import DataError
from tests.pipeline.category.voting import at_cosines, gallery_of, unit

QUERY = unit([(1, 0)])
KNOWN = ("hats", "mugs", "pears", "other")


def ask(
    gallery: Gallery,
    said: Mapping[str, float] | None = None,
    *,
    listing: Listing | None = None,
    known: tuple[str, ...] = KNOWN,
) -> Decision:
    return decide(gallery, QUERY, [said or {}], excluding=[listing], known=known, fallback="other")[0]


def rows(*labels: tuple[str, str]) -> list[LabelledRow]:
    return [LabelledRow(*label) for label in labels]


def two_to_one(**rules: Any) -> Gallery:
    """Two hats at .9 and .7, one mug at .8."""
    return gallery_of(at_cosines(0.9, 0.8, 0.7), rows(("hats", "h1"), ("mugs", "m1"), ("hats", "h2")), **rules)


def test_a_vote_weighs_by_similarity_and_the_shares_are_those_computed_by_hand():
    decision = ask(two_to_one(tau=0.1))
    weights = {"h1": math.exp(-1), "m1": math.exp(-2), "h2": math.exp(-3)}
    share = (weights["h1"] + weights["h2"]) / sum(weights.values())
    assert (decision.category, decision.by) == ("hats", "vote")
    assert decision.votes == pytest.approx({"hats": share, "mugs": 1 - share}, abs=2e-3)  # rows are kept as float16
    assert decision.fused == decision.votes
    assert [(one.group, one.category) for one in decision.nearest] == [("h1", "hats"), ("m1", "mugs"), ("h2", "hats")]


def test_the_prior_takes_from_a_category_what_it_has_only_by_its_size():
    plain, corrected = ask(two_to_one(tau=10)), ask(two_to_one(tau=10, prior_power=1.0))
    assert plain.votes["hats"] == pytest.approx(2 / 3, abs=0.01)
    assert corrected.votes["hats"] == pytest.approx(1 / 2, abs=0.01)


def test_the_rows_of_one_group_have_one_vote_by_the_nearest():
    gallery = gallery_of(
        at_cosines(0.9, 0.85, 0.8, 0.95, 0.7),
        rows(("hats", "h1"), ("hats", "h1"), ("hats", "h1"), ("mugs", "m1"), ("mugs", "m1")),
        tau=10,
    )
    assert ask(gallery).votes == pytest.approx({"hats": 0.4988, "mugs": 0.5012}, abs=1e-3)


def test_only_the_nearest_groups_vote():
    gallery = gallery_of(
        at_cosines(*np.linspace(0.9, 0.3, 25)), rows(*((("hats", "mugs")[i >= 20], f"g{i:02}") for i in range(25)))
    )
    assert set(ask(gallery).votes) == {"hats"}
    assert gallery.spec.neighbours == 20
    assert len(ask(gallery).nearest) == 5


def test_the_detector_and_the_vote_are_weighed():
    decision = ask(two_to_one(alpha=0.25, tau=10), {"hats": 0.1, "mugs": 0.9})
    assert decision.by == "fusion"
    assert decision.fused["hats"] == pytest.approx(0.25 * 0.1 + 0.75 * decision.votes["hats"], abs=1e-6)
    assert decision.fused["mugs"] == pytest.approx(0.25 * 0.9 + 0.75 * decision.votes["mugs"], abs=1e-6)
    assert decision.category == "hats"
    assert (decision.vote_says(), decision.detector_says()) == ("hats", "mugs")
    assert ask(two_to_one(alpha=0.6, tau=10), {"hats": 0.1, "mugs": 0.9}).category == "mugs"


def test_a_detector_none_of_whose_classes_is_a_category_is_not_heard():
    alone, with_detector = ask(two_to_one(alpha=0.9)), ask(two_to_one(alpha=0.9), {"cats": 0.7, "dogs": 0.3})
    assert (with_detector.by, with_detector.fused) == ("vote", alone.fused)
    assert with_detector.detector == {"cats": 0.7, "dogs": 0.3}
    assert with_detector.reason.endswith("the detector says cats 0.70, which is none of the gallery's categories")


def test_a_detector_cannot_outvote_a_category_that_it_was_never_taught():
    gallery = gallery_of(at_cosines(0.9, 0.8), rows(("pears", "p1"), ("mugs", "m1")), alpha=0.9, tau=0.1)
    decision = ask(gallery, {"mugs": 0.99, "hats": 0.01})
    assert decision.category == "pears"
    assert decision.fused["pears"] == decision.votes["pears"] > 0.7


def test_the_own_listing_and_the_own_picture_have_no_vote():
    labels = [
        LabelledRow("hats", "h1", "acme", "1", "pic-1"),
        LabelledRow("mugs", "m1", "acme", "2", "pic-2"),
        LabelledRow("pears", "p1", "bolt", "1", "pic-3"),
    ]
    gallery = gallery_of(at_cosines(0.99, 0.9, 0.8), labels, tau=0.01)
    assert ask(gallery).category == "hats"
    assert ask(gallery, listing=Listing("acme", "1")).category == "mugs"
    assert ask(gallery, listing=Listing("acme", "2", "pic-1")).category == "pears"
    assert ask(two_to_one(), listing=Listing("", "", "")) == ask(
        two_to_one()
    )  # rows without a listing are nobody's own


def test_with_nobody_left_to_vote_the_detector_decides_alone_and_without_it_the_fallback_does():
    gallery = gallery_of(at_cosines(0.99), [LabelledRow("hats", "h1", "acme", "1")], min_similarity=0.5)
    mine = Listing("acme", "1")
    decision = ask(gallery, {"hats": 0.8}, listing=mine)
    assert (decision.category, decision.by, decision.votes) == ("hats", "detector", {})
    assert decision.reason == "no labelled neighbour may vote; the detector says hats 0.80"
    assert ask(gallery, listing=mine).by == "fallback"


def test_ties_go_to_the_greater_vote_then_to_the_nearer_neighbour_then_by_name():
    even = gallery_of(at_cosines(0.5, 0.5), rows(("mugs", "a"), ("hats", "b")), alpha=0.5)
    assert ask(even).category == "hats"  # alike in all but the name
    counts = gallery_of(at_cosines(0.9, 0.9, 0.9), rows(("hats", "h"), ("mugs", "m"), ("mugs", "n")), alpha=0.5, tau=10)
    tied = ask(counts, {"hats": 2 / 3, "mugs": 1 / 3})
    assert tied.fused["hats"] == tied.fused["mugs"] == 0.5
    assert tied.category == tied.vote_says() == "mugs"


def test_of_two_that_only_the_detector_speaks_for_the_one_with_the_nearer_neighbour_is_taken():
    """Their votes are less than a millionth: the nearest pear, at .9, decides, not the other one, nor the name."""
    labels = rows(("hats", "h"), ("pears", "p1"), ("pears", "p2"), ("mugs", "m"))
    gallery = gallery_of(at_cosines(1.0, 0.9, 0.7, 0.8), labels, alpha=1.0, tau=0.005)
    decision = ask(gallery, {"mugs": 0.5, "pears": 0.5, "hats": 0.0})
    assert (decision.category, decision.by, decision.votes) == ("pears", "detector", {"hats": 1.0})


def test_what_just_reaches_a_limit_is_sure_enough():
    gallery = gallery_of(at_cosines(1.0), rows(("hats", "h")), min_score=1.0, min_similarity=1.0)
    assert ask(gallery).category == "hats"


@pytest.mark.parametrize(
    ("rules", "known", "why"),
    [
        ({"min_similarity": 0.95}, KNOWN, "nothing alike is labelled: the nearest is below 0.95"),
        ({"min_score": 0.9, "tau": 10}, KNOWN, "no category is sure enough: hats has 0.67, below 0.90"),
        ({}, ("mugs", "other"), "hats is no category of the day"),
    ],
)
def test_what_is_not_sure_enough_goes_to_the_fallback_and_the_reason_says_what_would_have_been(
    rules: dict[str, Any], known: tuple[str, ...], why: str
):
    decision = ask(two_to_one(**rules), known=known)
    assert (decision.category, decision.by) == ("other", "fallback")
    assert decision.reason.startswith(f"{why}; 2 of 3 neighbours say hats")
    assert max(decision.fused, key=lambda name: decision.fused[name]) == "hats"
    assert decision.score == decision.fused["hats"]


def test_the_reason_is_a_sentence_that_a_person_can_check():
    gallery = two_to_one(tau=0.1, alpha=0.4)
    assert ask(gallery).reason == (
        "2 of 3 neighbours say hats (0.76 of the votes), nearest h1 at 0.90; the detector says nothing"
    )
    assert ask(gallery, {"mugs": 0.75, "hats": 0.25}).reason == (
        "2 of 3 neighbours say hats (0.76 of the votes), nearest h1 at 0.90; the detector says mugs 0.75, hats 0.25"
    )
    assert ask(gallery, {"mugs": 1.0, "hats": 0.0}, known=KNOWN).reason == (
        "1 of 3 neighbours say mugs (0.24 of the votes), nearest h1 (hats) at 0.90; the detector says mugs 1.00"
    )


def test_what_was_declared_is_believed_without_looking():
    assert declared_decision("hats", "hats").reason == "the merchant says hats"
    assert declared_decision("other", "mugs").reason == "the merchant says mugs, which goes to other"
    nothing = declared_decision("other", "")
    assert (nothing.by, nothing.score, nothing.vote_says(), nothing.detector_says()) == ("declared", 1.0, "", "")


def test_no_object_gives_no_decision():
    empty = np.zeros((0, 2), np.float32)
    assert decide(two_to_one(), empty, [], excluding=[], known=KNOWN, fallback="other") == []


@pytest.mark.parametrize(
    ("vectors", "said", "fault"),
    [
        (unit([(1, 0, 0)]), {}, r"vectors of shape \(1, 3\) for 1 objects; expected one of 2 numbers"),
        (np.array([[np.nan, 1]], np.float32), {}, "not finite"),
        (QUERY, {"hats": 1.5}, "probability 1.5; it must be 0..1"),
        (QUERY, {"hats": math.nan}, "probability nan"),
        (np.concatenate([QUERY, QUERY]), {}, "for 1 objects"),
    ],
)
def test_what_is_no_vector_or_no_probability_is_refused(vectors: Any, said: dict[str, float], fault: str):
    with pytest.raises(DataError, match=fault):
        decide(two_to_one(), vectors, [said], excluding=[None], known=KNOWN, fallback="other")


def test_a_decision_reads_back_from_what_is_kept_of_it():
    decision = ask(two_to_one(), {"hats": 0.5, "mugs": 0.5}).model_copy(update={"declared": "mugs"})
    assert Decision.model_validate_json(decision.model_dump_json(exclude_defaults=True)) == decision
