"""Chooses the rules of a gallery on labelled objects, and measures what they are worth: each without its own group.

The rules are chosen in the order in which they take effect: tau and prior_power by the log-loss of the vote, alpha by
that of the fusion, then the two limits, as high as they may be without losing right decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.category.decision import (
    Float64,
    Near,
    detector_table,
    fuse,
    group_similarities,
    nearest,
    vote_shares,
)
from pipeline.category.gallery import Gallery, seal
from pipeline.category.spec import About, FusionRules
from reporting.errors import DataError

TAUS = (0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.04, 0.03, 0.02)
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
ALPHAS = tuple(step / 20 for step in range(21))
LOST = 0.01
"""Share of the right decisions that each of the two limits may give to the fallback."""
MIN_RIGHT = 50
"""Right decisions from which on the limits are fitted: the hundredth part of fewer is a matter of luck."""
_FLOOR = 0.01
"""Of a probability in the log-loss, so that one object whose category nobody names does not decide all."""
_BINS = 10


class Probes(NamedTuple):
    """Labelled objects to judge by."""

    vectors: NDArray[np.float32]
    """(n, d) of length 1."""
    categories: Sequence[str]
    groups: Sequence[str]
    """Of each the product; its group in the gallery, if it is there, has no vote on it."""
    class_scores: Sequence[Mapping[str, float]]
    """Of a detector that has not seen these objects; empty ones where there is none."""


class Measured(NamedTuple):
    """What rules are worth on some probes."""

    metrics: dict[str, float]
    confusion: dict[str, dict[str, int]]
    """True category to the category of the best fused score to objects; the limits are not applied."""


class _Judged(NamedTuple):
    """Probes with all that does not depend on the rules."""

    near: Near
    counts: NDArray[np.int64]
    truth: NDArray[np.int64]
    """Place in the gallery's categories; -1 for a category that it does not have."""
    probabilities: Float64
    heard: NDArray[np.bool_]


def fit_rules(gallery: Gallery, probes: Probes, alpha: float | None = None) -> FusionRules:
    """Return the rules that fit some labelled objects best.

    Args:
        gallery: whose groups vote; its own rules count only where nothing can be chosen.
        probes: at least one.
        alpha: taken as it is; None: chosen, where a detector said something of the probes, else the default.

    Ties: the rule that changes less: no prior, the larger tau, the smaller alpha.
    """
    judged = _judge(gallery, probes)
    votes = [FusionRules(tau=tau, prior_power=power) for power in POWERS for tau in TAUS]
    losses = [round(log_loss(_shares(gallery, judged, one), judged.truth), 4) for one in votes]
    vote = votes[int(np.argmin(losses))]
    rules = vote.model_copy(update={"neighbours": gallery.spec.neighbours})
    shares = _shares(gallery, judged, rules)
    if alpha is None and judged.heard.any():
        alpha = _best_alpha(shares, judged)
    if alpha is not None:
        rules = rules.model_copy(update={"alpha": alpha})
    return rules.model_copy(update=_limits(judged, fuse(shares, *judged[3:], rules.alpha)))


def fit_fusion(gallery: Gallery, probes: Probes, alpha: float | None = None) -> FusionRules:
    """Return a gallery's rules with those that depend on the detector, `alpha` and `min_score`, chosen anew.

    Args:
        gallery: with fitted rules of the vote.
        probes: objects that the detector was not trained on; what it knows by heart it is too sure of.
        alpha: taken as it is; None: chosen, unless the detector said nothing.
    """
    judged = _judge(gallery, probes)
    shares = _shares(gallery, judged, gallery.spec)
    if alpha is None:
        alpha = _best_alpha(shares, judged) if judged.heard.any() else gallery.spec.alpha
    limits = _limits(judged, fuse(shares, *judged[3:], alpha))
    limits["min_similarity"] = gallery.spec.min_similarity
    return gallery.spec.model_copy(update={"alpha": alpha} | limits)


def _limits(judged: _Judged, fused: Float64) -> dict[str, float]:
    right = fused.argmax(axis=1) == judged.truth
    if right.sum() < MIN_RIGHT:
        return {}
    return {
        "min_similarity": limit(judged.near.similarity[right, 0]),
        "min_score": limit(fused.max(axis=1)[right]),
    }


def _best_alpha(shares: Float64, judged: _Judged) -> float:
    losses = [round(log_loss(fuse(shares, *judged[3:], one), judged.truth), 4) for one in ALPHAS]
    return ALPHAS[int(np.argmin(losses))]


def limit(values: Float64, lost: float = LOST) -> float:
    """Return the largest hundredth below which at most a share of the values lies.

    Example:
        >>> limit(np.linspace(0.305, 0.5, 200))
        0.3
        >>> limit(np.array([0.1] * 2 + [0.456] * 198))
        0.45
    """
    allowed = int(lost * len(values))
    return float(np.floor(np.sort(values)[allowed] * 100 + 1e-9) / 100)


def measure(gallery: Gallery, probes: Probes) -> Measured:
    """Return what a gallery's rules are worth on labelled objects.

    Returns:
        metrics: `n`; accuracies (shares of the n, the limits not applied) of the `vote`, of the vote without prior
        correction (`vote_no_prior`), of the vote where each row of a group votes (`vote_by_rows`), of the `nearest`
        row's category, and where a detector was heard of `detector` and `fusion`; `vote_log_loss`;
        `vote_calibration_error`, the mean distance between a vote's share and how often it is right, in ten bins; and
        `fell_back`, the share that the limits give to the fallback.
    """
    judged = _judge(gallery, probes)
    shares = _shares(gallery, judged, gallery.spec)
    fused = fuse(shares, *judged[3:], gallery.spec.alpha)
    names = gallery.spec.categories
    metrics = {
        "n": float(len(judged.truth)),
        "vote_accuracy": _accuracy(shares, judged.truth),
        "vote_no_prior_accuracy": _accuracy(_shares(gallery, judged, gallery.spec, prior_power=0.0), judged.truth),
        "vote_by_rows_accuracy": _accuracy_by_rows(gallery, probes, judged.truth),
        "nearest_accuracy": float((gallery.categories[judged.near.group[:, 0]] == judged.truth).mean()),
        "vote_log_loss": log_loss(shares, judged.truth),
        "vote_calibration_error": calibration_error(shares, judged.truth),
        "fell_back": float(
            (
                (judged.near.similarity[:, 0] < gallery.spec.min_similarity)
                | (fused.max(axis=1) < gallery.spec.min_score)
            ).mean()
        ),
    }
    if judged.heard.any():
        metrics["detector_accuracy"] = _accuracy(judged.probabilities, judged.truth)
        metrics["fusion_accuracy"] = _accuracy(fused, judged.truth)
    cells = Counter(zip(probes.categories, (names[place] for place in fused.argmax(axis=1)), strict=True))
    confusion: dict[str, dict[str, int]] = {name: {} for name in sorted(set(probes.categories))}
    for (true, said), count in sorted(cells.items()):
        confusion[true][said] = count
    return Measured({name: round(value, 4) for name, value in metrics.items()}, confusion)


def log_loss(probabilities: Float64, truth: NDArray[np.int64]) -> float:
    """Return the mean of -log(probability of the true category), each at least 0.01; -1 is a category nobody names."""
    given = np.where(truth < 0, 0.0, probabilities[np.arange(len(truth)), truth])
    return float(-np.log(np.maximum(given, _FLOOR)).mean())


def calibration_error(probabilities: Float64, truth: NDArray[np.int64]) -> float:
    """Return the expected calibration error of the best category (Naeini et al. 2015): ten bins of equal width."""
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = [abs(sure[bins == one].sum() - right[bins == one].sum()) for one in range(_BINS)]
    return float(sum(gaps) / len(truth))


def _judge(gallery: Gallery, probes: Probes) -> _Judged:
    if not len(probes.vectors):
        raise DataError(f"gallery {gallery.spec.name}: there is nothing to judge by; label some pictures")
    places = {name: place for place, name in enumerate(gallery.spec.categories)}
    own = {name: place for place, name in enumerate(gallery.groups)}
    similarity = group_similarities(gallery, probes.vectors, [None] * len(probes.vectors))
    counts = np.tile(gallery.group_counts, (len(probes.vectors), 1))
    for row, group in enumerate(probes.groups):
        if group in own:
            similarity[row, own[group]] = -np.inf
            counts[row, gallery.categories[own[group]]] -= 1
    truth = np.array([places.get(name, -1) for name in probes.categories], np.int64)
    return _Judged(
        nearest(similarity, gallery.spec.neighbours), counts, truth, *detector_table(gallery.spec.categories, probes[3])
    )


def _shares(gallery: Gallery, judged: _Judged, rules: FusionRules, prior_power: float | None = None) -> Float64:
    if prior_power is not None:
        rules = rules.model_copy(update={"prior_power": prior_power})
    return vote_shares(judged.near, gallery.categories, judged.counts, rules)


def _accuracy(scores: Float64, truth: NDArray[np.int64]) -> float:
    return float((scores.argmax(axis=1) == truth).mean())


def _accuracy_by_rows(gallery: Gallery, probes: Probes, truth: NDArray[np.int64]) -> float:
    """Return the accuracy of a vote in which each row stands for itself: what duplicates would do to it."""
    spec = gallery.spec
    about = About(*(getattr(spec, name) for name in About._fields))
    labels = [label._replace(group=f"{label.group}/{row:06}") for row, label in enumerate(gallery.labels)]
    alone = seal(gallery.stored, labels, about, spec)
    similarity = group_similarities(alone, probes.vectors, [None] * len(probes.vectors))
    of_row = np.array([name.rsplit("/", 1)[0] for name in alone.groups])
    similarity[np.array(probes.groups)[:, None] == of_row] = -np.inf
    near = nearest(similarity, spec.neighbours)
    return _accuracy(vote_shares(near, alone.categories, alone.group_counts, spec), truth)
