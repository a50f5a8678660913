"""The rules that are chosen are the best ones on labelled objects whose own group does not vote."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.category import fit
from pipeline.category.fit import Probes, calibration_error, fit_rules, limit, log_loss, measure
from pipeline.category.gallery import Gallery, LabelledRow
from pipeline.category.spec import FusionRules
from reporting.errors import DataError
from tests.pipeline.category.voting import gallery_of, second_opinion, unit


def clusters(seed: int, *, spread: float, groups: int = 12) -> tuple[Gallery, Probes]:
    """Three categories around three directions, and other pictures of the same products to judge by."""
    rng = np.random.default_rng(seed)
    labels = [LabelledRow("abc"[group % 3], f"g{group:02}") for group in range(groups) for _ in range(2)]
    centres = {name: rng.normal(size=6) for name in "abc"}
    products = {label.group: centres[label.category] + spread * rng.normal(size=6) for label in labels}
    rows = unit([products[label.group] + 0.1 * rng.normal(size=6) for label in labels])
    others = unit([products[label.group] + 0.1 * rng.normal(size=6) for label in labels])
    return gallery_of(rows, labels), probes_of(others, labels)


def probes_of(vectors: NDArray[np.float32], labels: list[LabelledRow]) -> Probes:
    return Probes(vectors, [one.category for one in labels], [one.group for one in labels], [{} for _ in labels])


def slow_votes(gallery: Gallery, probes: Probes, **rules: Any) -> list[dict[str, float]]:
    """The shares of the vote on each probe, its own group taken out of the gallery."""
    ruled = gallery.with_rules(FusionRules(**{"prior_power": 0.0, **rules}))
    known = gallery.spec.categories
    return [
        second_opinion(ruled, vector, {}, without={group}, known=known).votes
        for vector, group in zip(probes.vectors, probes.groups, strict=True)
    ]


def slow_loss(gallery: Gallery, probes: Probes, **rules: Any) -> float:
    votes = slow_votes(gallery, probes, **rules)
    return sum(-math.log(max(vote[true], 0.01)) for vote, true in zip(votes, probes.categories, strict=True)) / len(
        votes
    )


def test_the_vote_s_rules_are_those_with_the_least_log_loss(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fit, "TAUS", (1.0, 0.3, 0.1, 0.03))
    monkeypatch.setattr(fit, "POWERS", (0.0, 1.0))
    for seed, spread in ((1, 0.3), (2, 1.5)):
        gallery, probes = clusters(seed, spread=spread)
        rules = fit_rules(gallery, probes)
        losses = {
            (tau, power): slow_loss(gallery, probes, tau=tau, prior_power=power)
            for tau in fit.TAUS
            for power in fit.POWERS
        }
        assert losses[rules.tau, rules.prior_power] <= min(losses.values()) + 1e-4
        assert max(losses.values()) - min(losses.values()) > 0.05  # there was something to choose


def test_the_accuracy_is_that_of_a_gallery_without_the_own_group():
    gallery, probes = clusters(3, spread=1.2)
    votes = slow_votes(gallery, probes, tau=gallery.spec.tau)
    right = [
        max(vote, key=lambda name: vote[name]) == true for vote, true in zip(votes, probes.categories, strict=True)
    ]
    metrics = measure(gallery, probes).metrics
    assert metrics["vote_accuracy"] == pytest.approx(sum(right) / len(right), abs=1e-4)
    assert metrics["vote_log_loss"] == pytest.approx(slow_loss(gallery, probes, tau=gallery.spec.tau), abs=1e-4)
    assert 0.3 < metrics["vote_accuracy"] < 1
    assert "fusion_accuracy" not in metrics


def test_a_product_that_only_its_own_pictures_resemble_is_not_called_known():
    """Each product is like itself and like nothing else: with its own pictures left out, the vote knows nothing."""
    vectors = np.eye(12, dtype=np.float32).repeat(2, axis=0)
    labels = [LabelledRow("ab"[group % 2], f"g{group:02}") for group in range(12) for _ in range(2)]
    gallery = gallery_of(vectors, labels, tau=0.01)
    metrics = measure(gallery, probes_of(vectors, labels)).metrics
    assert max(metrics[name] for name in metrics if name.endswith("accuracy")) <= 0.5


def with_detector(probes: Probes, sure: float, right: float, seed: int = 5) -> Probes:
    """A detector that gives `sure` to one class, the true one as often as `right` says."""
    rng = np.random.default_rng(seed)
    said = []
    for true in probes.categories:
        others = [name for name in "abc" if name != true]
        top = true if rng.random() < right else others[int(rng.integers(2))]
        said.append({name: sure if name == top else (1 - sure) / 2 for name in "abc"})
    return probes._replace(class_scores=said)


def test_a_detector_that_knows_weighs_more_than_one_that_guesses():
    gallery, probes = clusters(4, spread=2.0, groups=30)
    good = fit_rules(gallery, with_detector(probes, 0.95, 0.97)).alpha
    bad = fit_rules(gallery, with_detector(probes, 0.95, 0.33)).alpha
    assert bad < 0.3 < 0.6 < good


def test_alpha_is_the_one_with_the_least_log_loss():
    gallery, probes = clusters(6, spread=1.5)
    heard = with_detector(probes, 0.8, 0.6)
    rules = fit_rules(gallery, heard)
    votes = slow_votes(gallery, probes, tau=rules.tau, prior_power=rules.prior_power)

    def loss(alpha: float) -> float:
        fused = [
            alpha * said[true] + (1 - alpha) * vote[true]
            for vote, said, true in zip(votes, heard.class_scores, probes.categories, strict=True)
        ]
        return sum(-math.log(max(one, 0.01)) for one in fused) / len(fused)

    assert 0 < rules.alpha < 1
    assert loss(rules.alpha) <= min(loss(alpha) for alpha in fit.ALPHAS) + 1e-4


def test_alpha_is_the_default_without_a_detector_and_as_told_where_it_was_told():
    gallery, probes = clusters(7, spread=0.5)
    assert fit_rules(gallery, probes).alpha == FusionRules().alpha
    assert fit_rules(gallery, probes, alpha=0.9).alpha == 0.9
    assert fit_rules(gallery, with_detector(probes, 0.9, 0.9), alpha=0.0).alpha == 0.0


def test_the_limits_cost_at_most_one_right_decision_in_a_hundred_each():
    gallery, probes = clusters(8, spread=1.0, groups=120)
    rules = fit_rules(gallery, probes)
    ruled, loose = gallery.with_rules(rules), gallery.with_rules(rules.model_copy(update={"min_score": 0.0}))
    known = gallery.spec.categories
    right, lost_by_similarity, lost = 0, 0, 0
    for vector, group, true in zip(probes.vectors, probes.groups, probes.categories, strict=True):
        free = second_opinion(
            loose.with_rules(loose.spec.model_copy(update={"min_similarity": -1.0})),
            vector, {}, without={group}, known=known,
        )  # fmt: skip
        if free.category == true:
            right += 1
            lost_by_similarity += second_opinion(loose, vector, {}, without={group}, known=known).fell_back
            lost += second_opinion(ruled, vector, {}, without={group}, known=known).fell_back
    assert right > 100
    assert lost_by_similarity <= 0.01 * right
    assert lost <= 0.02 * right
    assert rules.min_similarity > 0  # they do something
    assert rules.min_score > 1 / 3


def test_what_depends_on_the_detector_can_be_fitted_on_other_objects_than_the_vote():
    gallery, probes = clusters(13, spread=1.0, groups=120)
    voting = gallery.with_rules(fit_rules(gallery, probes))
    kept = {"tau", "prior_power", "min_similarity", "neighbours"}
    sure = fit.fit_fusion(voting, with_detector(probes, 0.95, 0.97))
    flat = fit.fit_fusion(voting, with_detector(probes, 0.4, 0.97), alpha=0.9)
    for rules in (sure, flat):
        assert rules.model_dump(include=kept) == voting.spec.model_dump(include=kept)
    assert sure.alpha > voting.spec.alpha
    assert flat.alpha == 0.9
    assert flat.min_score < 0.5 < sure.min_score  # the scores of a detector that is never sure are low
    silent = fit.fit_fusion(voting, probes)
    assert (silent.alpha, silent.min_score) == (voting.spec.alpha, voting.spec.min_score)


def test_few_labelled_objects_set_no_limits():
    gallery, probes = clusters(9, spread=0.2, groups=6)
    rules = fit_rules(gallery, probes)
    assert (rules.min_score, rules.min_similarity) == (0.0, -1.0)


@settings(max_examples=50)
@given(st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=300), st.sampled_from([0.0, 0.01, 0.1]))
def test_a_limit_loses_no_more_than_its_share_and_a_hundredth_more_would(values: list[float], lost: float):
    array = np.array(values)
    found = limit(array, lost)
    assert (array < found).sum() <= lost * len(array)
    assert (array < found + 0.0101).sum() > int(lost * len(array))


def test_the_losses_are_those_computed_by_hand():
    probabilities = np.array([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0], [0.2, 0.8]])
    truth = np.array([0, 0, 1, -1])
    expected = -(math.log(0.5) + math.log(0.9) + 2 * math.log(0.01)) / 4
    assert log_loss(probabilities, truth) == pytest.approx(expected)
    # Bins: .5 (right), .8 (wrong), .9 and 1.0 together (one of two right).
    assert calibration_error(probabilities, truth) == pytest.approx((0.5 + 0.8 + 0.9) / 4)


def test_the_confusion_counts_every_object_once():
    gallery, probes = clusters(10, spread=1.5)
    measured = measure(gallery, probes)
    assert sum(sum(said.values()) for said in measured.confusion.values()) == len(probes.groups)
    right = sum(said.get(true, 0) for true, said in measured.confusion.items())
    assert right / len(probes.groups) == pytest.approx(measured.metrics["vote_accuracy"], abs=1e-4)


def test_a_category_that_the_gallery_does_not_have_is_never_right():
    gallery, probes = clusters(11, spread=0.2)
    foreign = probes._replace(categories=["z"] * len(probes.groups))
    measured = measure(gallery, foreign)
    assert measured.metrics["vote_accuracy"] == measured.metrics["nearest_accuracy"] == 0
    assert set(measured.confusion) == {"z"}


def test_nothing_to_judge_by_is_refused():
    gallery, probes = clusters(12, spread=0.2)
    with pytest.raises(DataError, match="nothing to judge by"):
        fit_rules(gallery, Probes(probes.vectors[:0], [], [], []))
