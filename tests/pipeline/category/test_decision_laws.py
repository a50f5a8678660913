"""Laws of the vote, on random galleries with many ties, and a slow second opinion on every decision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.category.decision import Decision, Listing, decide
from pipeline.category.gallery import Gallery, LabelledRow
from tests.pipeline.category.voting import gallery_of, lattice, random_gallery, second_opinion

SEEDS = st.integers(0, 2**32)
RULES = st.fixed_dictionaries(
    {
        "alpha": st.sampled_from([0.0, 0.3, 0.5, 1.0]),
        "tau": st.sampled_from([0.01, 0.05, 0.5]),
        "prior_power": st.sampled_from([0.0, 0.5, 1.0]),
        "min_score": st.sampled_from([0.0, 0.35]),
        "min_similarity": st.sampled_from([-1.0, 0.4]),
        "neighbours": st.sampled_from([1, 3, 20]),
    }
)
Asked = tuple[NDArray[np.float32], list[dict[str, float]], list[Listing | None]]


def questions(gallery: Gallery, seed: int, count: int = 6) -> Asked:
    """Objects, of which some come from a listing of the gallery, and what a detector says of them."""
    rng = np.random.default_rng([seed, 1])
    classes = [name for name in (*gallery.spec.categories, "cats") if rng.random() < 0.7]
    said: list[dict[str, float]] = []
    listings: list[Listing | None] = []
    for _ in range(count):
        shares = rng.dirichlet(np.ones(len(classes) + 1)).round(3).tolist()[:-1]
        said.append(dict(zip(classes, shares, strict=True)) if rng.random() < 0.7 else {})
        own = gallery.labels[int(rng.integers(len(gallery.labels)))]
        listings.append(Listing(own.merchant, own.sku, own.picture) if rng.random() < 0.5 else None)
    return lattice(rng, count), said, listings


def ask(gallery: Gallery, asked: Asked, known: list[str]) -> list[Decision]:
    vectors, said, listings = asked
    return decide(gallery, vectors, said, excluding=listings, known=known, fallback="other")


@settings(max_examples=60)
@given(SEEDS, RULES)
def test_every_decision_is_the_one_that_a_slow_program_takes(seed: int, rules: dict[str, float]):
    gallery, _, _ = random_gallery(seed, **rules)
    known = [*gallery.spec.categories[seed % 2 :], "other"]
    asked = questions(gallery, seed)
    for decision, vector, said, listing in zip(ask(gallery, asked, known), *asked, strict=True):
        wanted = second_opinion(gallery, vector, said, listing=listing, known=known)
        assert (decision.category, decision.by == "fallback") == (wanted.category, wanted.fell_back)
        assert decision.votes == pytest.approx({k: v for k, v in wanted.votes.items() if v}, abs=2e-6)
        assert decision.fused == pytest.approx({k: v for k, v in wanted.fused.items() if v}, abs=2e-6)
        assert [(one.group, one.similarity) for one in decision.nearest] == wanted.nearest[:5]


@settings(max_examples=40)
@given(SEEDS, RULES)
def test_the_order_of_the_rows_never_matters(seed: int, rules: dict[str, float]):
    gallery, vectors, labels = random_gallery(seed, **rules)
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = gallery_of(vectors[order], [labels[row] for row in order], **rules)
    asked = questions(gallery, seed)
    assert shuffled.spec == gallery.spec
    assert ask(shuffled, asked, ["birds", "cars"]) == ask(gallery, asked, ["birds", "cars"])


@settings(max_examples=40)
@given(SEEDS, RULES, st.integers(1, 5))
def test_more_copies_of_a_groups_rows_never_matter(seed: int, rules: dict[str, float], copies: int):
    gallery, vectors, labels = random_gallery(seed, **rules)
    rng = np.random.default_rng(seed)
    again = rng.integers(0, len(labels), 6).repeat(copies)
    crowded = gallery_of(np.concatenate([vectors, vectors[again]]), [*labels, *(labels[row] for row in again)], **rules)
    asked = questions(gallery, seed)
    assert len(crowded.labels) == len(labels) + 6 * copies
    assert ask(crowded, asked, ["birds", "cars", "hats"]) == ask(gallery, asked, ["birds", "cars", "hats"])


@settings(max_examples=40)
@given(SEEDS, RULES)
def test_a_listing_never_votes_on_itself(seed: int, rules: dict[str, float]):
    """Its rows may say what they like: as anything else, anywhere, they change nothing."""
    gallery, vectors, labels = random_gallery(seed, **rules)
    own = labels[seed % len(labels)]
    mine = [row for row, label in enumerate(labels) if label[2:4] == own[2:4]]
    elsewhere = vectors.copy()
    elsewhere[mine] = -vectors[mine]
    liar = gallery_of(elsewhere, labels, **rules)
    said = questions(gallery, seed)[1]
    asked: Asked = (vectors[[seed % len(labels)]], said[:1], [Listing(own.merchant, own.sku)])
    assert ask(liar, asked, ["birds", "cars"]) == ask(gallery, asked, ["birds", "cars"])


@settings(max_examples=40)
@given(SEEDS, RULES)
def test_shares_sum_to_one_and_scores_to_at_most_one(seed: int, rules: dict[str, float]):
    gallery, _, _ = random_gallery(seed, **rules)
    for decision in ask(gallery, questions(gallery, seed), list(gallery.spec.categories)):
        assert not decision.votes or sum(decision.votes.values()) == pytest.approx(1, abs=1e-5)
        assert sum(decision.fused.values()) <= 1 + 5e-3  # the detector's numbers were rounded to 1e-3
        assert bool(decision.votes) == bool(decision.nearest)


@settings(max_examples=30)
@given(SEEDS)
def test_one_object_is_decided_as_in_company(seed: int):
    gallery, _, _ = random_gallery(seed)
    vectors, said, listings = questions(gallery, seed, count=5)
    together = ask(gallery, (vectors, said, listings), ["birds", "cars"])
    alone = [
        ask(gallery, (vectors[[row]], said[row : row + 1], listings[row : row + 1]), ["birds", "cars"])[0]
        for row in range(5)
    ]
    assert alone == together


def test_a_large_gallery_and_many_objects_are_taken_in_parts_that_do_not_show(monkeypatch: pytest.MonkeyPatch):
    gallery, _, _ = random_gallery(7)
    asked = questions(gallery, 7, count=9)
    whole = ask(gallery, asked, ["birds", "cars"])
    monkeypatch.setattr("pipeline.category.decision._ROWS_AT_A_TIME", 3)
    monkeypatch.setattr("pipeline.category.decision._OBJECTS_AT_A_TIME", 2)
    assert ask(gallery, asked, ["birds", "cars"]) == whole


def test_a_group_that_loses_its_own_listing_votes_by_its_other_rows():
    labels = [LabelledRow("hats", "h1", "a", "1"), LabelledRow("hats", "h1", "b", "1"), LabelledRow("mugs", "m1")]
    gallery = gallery_of(np.eye(4, dtype=np.float32)[:3], labels)
    near = ask(gallery, (np.eye(4, dtype=np.float32)[:1], [{}], [Listing("a", "1")]), ["hats"])[0].nearest
    assert [(one.group, one.similarity) for one in near] == [("h1", 0.0), ("m1", 0.0)]
