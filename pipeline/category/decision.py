"""The category of an object: the vote of its nearest labelled neighbours and the detector's word, fused. Pure.

score(c) = alpha * detector(c) + (1 - alpha) * vote(c); late fusion of a model and a search, as Pailitao has it (KDD
2018). A neighbour weighs exp((similarity - 1) / tau); each group votes once, by its nearest row; a vote is divided by
the number of its category's groups to the power `prior_power`. An object's own listing and picture do not vote.

All ties are decided: sums are taken in an order that does not depend on the order of rows, and numbers are compared
after rounding to six decimals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.category.gallery import Gallery
from pipeline.category.spec import FusionRules
from reporting.errors import DataError

Float64 = NDArray[np.float64]
_DECIMALS = 6
_SHOWN = 5
_ROWS_AT_A_TIME = 8192  # of the gallery, as float64: 80 MB at 1,280 numbers a row
_OBJECTS_AT_A_TIME = 256
_NOBODY = -np.inf


class Listing(NamedTuple):
    """What an object comes from; gallery rows of the same listing or picture have no vote on it."""

    merchant: str
    sku: str
    picture: str = ""


class Neighbour(BaseModel):
    """A labelled group near an object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str
    category: str
    similarity: float
    """Cosine of its nearest row."""


class Decision(BaseModel):
    """Where an object goes, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: str
    score: float
    """Fused score of the best category, in [0, 1], also where it was too little; 1 where it was declared."""
    by: Literal["fusion", "vote", "detector", "fallback", "declared"]
    votes: dict[str, float] = {}
    """Category to its share of the vote; they sum to 1, or there is none."""
    detector: dict[str, float] = {}
    """Class to the detector's probability."""
    fused: dict[str, float] = {}
    """Category to its score."""
    nearest: tuple[Neighbour, ...] = ()
    """At most five, the nearest first."""
    reason: str
    """One sentence."""
    declared: str = ""
    """What the merchant said; "" for nothing."""

    def vote_says(self) -> str:
        """Return the category that the vote alone would take, "" without a vote."""
        ranks = {one.category: rank for rank, one in reversed(list(enumerate(self.nearest)))}
        return min(self.votes, key=lambda name: (-self.votes[name], ranks.get(name, _SHOWN), name), default="")

    def detector_says(self) -> str:
        """Return the class that the detector alone would take, "" if it was not heard."""
        return min(self.detector, key=lambda name: (-self.detector[name], name), default="")


class Near(NamedTuple):
    """The nearest groups of n objects, nearest first; equally near ones by name."""

    similarity: Float64
    """(n, k) cosine of the group's nearest row; -inf where nobody is left."""
    group: NDArray[np.int64]
    """(n, k) place in the gallery's groups."""


def decide(
    gallery: Gallery,
    vectors: NDArray[np.float32],
    class_scores: Sequence[Mapping[str, float]],
    *,
    excluding: Sequence[Listing | None],
    known: Sequence[str],
    fallback: str,
) -> list[Decision]:
    """Decide where objects go.

    Args:
        gallery: whose groups vote, by its rules.
        vectors: (n, d) float32 of length 1, of the gallery's space.
        class_scores: for each the detector's probability by class; empty where it has none.
        excluding: for each what it comes from.
        known: categories that an object may go to.
        fallback: where it goes when no category is sure enough or known.

    Raises:
        DataError: the vectors do not fit the gallery, or a probability is not one.

    Ties: the greater share of the vote, then the nearer neighbour, then the name.
    """
    if vectors.shape != (len(class_scores), gallery.spec.dim) or len(excluding) != len(class_scores):
        raise DataError(
            f"gallery {gallery.spec.name}: vectors of shape {vectors.shape} for {len(class_scores)} objects; expected"
            f" one of {gallery.spec.dim} numbers for each: embed the objects with {gallery.spec.embedder}"
        )
    probabilities, heard = detector_table(gallery.spec.categories, class_scores)
    decisions: list[Decision] = []
    allowed = frozenset(known)
    for start in range(0, len(class_scores), _OBJECTS_AT_A_TIME):
        part = slice(start, start + _OBJECTS_AT_A_TIME)
        near = nearest(group_similarities(gallery, vectors[part], excluding[part]), gallery.spec.neighbours)
        shares = vote_shares(near, gallery.categories, gallery.group_counts, gallery.spec)
        fused = np.round(fuse(shares, probabilities[part], heard[part], gallery.spec.alpha), _DECIMALS)
        seen = zip(near.similarity, near.group, np.round(shares, _DECIMALS), fused, class_scores[part], strict=True)
        decisions += [
            _fall_back(one, gallery.spec, allowed, fallback) for one in (_best(gallery, *facts) for facts in seen)
        ]
    return decisions


def group_similarities(gallery: Gallery, vectors: NDArray[np.float32], excluding: Sequence[Listing | None]) -> Float64:
    """Return (n, groups) cosine of each group's nearest row; -inf where all its rows are excluded."""
    exact = vectors.astype(np.float64)
    found = np.empty((len(vectors), len(gallery.vectors)))
    for start in range(0, len(gallery.vectors), _ROWS_AT_A_TIME):
        rows = gallery.vectors[start : start + _ROWS_AT_A_TIME].astype(np.float64)
        found[:, start : start + len(rows)] = exact @ rows.T
    if not np.isfinite(found).all():
        raise DataError(f"gallery {gallery.spec.name}: a vector asked for is not finite; drop its picture")
    # Rounded, so that equal rows are equally near wherever they stand: a matrix product promises that to 1e-15 only.
    found = np.round(found, _DECIMALS)
    for row, listing in enumerate(excluding):
        if listing is not None:
            found[row, gallery.rows_of(*listing)] = _NOBODY
    by_group: Float64 = np.maximum.reduceat(found, gallery.starts, axis=1)
    return by_group


def nearest(similarity: Float64, count: int) -> Near:
    """Return the nearest groups out of (n, groups) similarities."""
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
    return Near(np.take_along_axis(similarity, order, axis=1), order)


def vote_shares(near: Near, categories: NDArray[np.int64], counts: NDArray[np.int64], rules: FusionRules) -> Float64:
    """Return (n, categories) shares of the vote; a row sums to 1, or is 0 where nobody is left to vote.

    Args:
        near: who votes.
        categories: (groups,) place of each group's category.
        counts: (categories,) or (n, categories): groups of each category that could have voted.
        rules: `tau` and `prior_power`.
    """
    best = near.similarity[:, :1]
    # Relative to the nearest one: the shares are the same, and no weight is lost to underflow.
    relative = np.where(np.isfinite(near.similarity), near.similarity - np.where(np.isfinite(best), best, 0), _NOBODY)
    weights = np.exp(relative / rules.tau)
    votes = np.zeros((len(weights), counts.shape[-1]))
    everyone = np.arange(len(weights))
    for place in range(weights.shape[1]):  # one by one, nearest first: the order of a sum decides its last bit
        votes[everyone, categories[near.group[:, place]]] += weights[:, place]
    votes /= np.maximum(counts, 1).astype(np.float64) ** rules.prior_power
    total = votes.sum(axis=1, keepdims=True)
    shares: Float64 = np.divide(votes, total, out=np.zeros_like(votes), where=total > 0)
    return shares


def fuse(shares: Float64, probabilities: Float64, heard: NDArray[np.bool_], alpha: float) -> Float64:
    """Return (n, categories) fused scores.

    The detector divides only what the vote gives to the categories that it has a class for. Where it has one for each
    category that is alpha * detector + (1 - alpha) * vote; where it has none, the vote alone; and a category that it
    was never taught cannot be outvoted by it.

    Args:
        shares: (n, categories) of the vote, rows that sum to 1 or 0 (then the detector decides alone).
        probabilities: (n, categories) of the detector.
        heard: (n, categories) where the detector has such a class.
        alpha: weight of the detector.
    """
    inside = np.where(heard, shares, 0.0).sum(axis=1, keepdims=True)
    both = alpha * probabilities * inside + (1 - alpha) * shares
    silent = shares.sum(axis=1, keepdims=True) == 0
    return np.where(silent, probabilities, np.where(heard, both, shares))


def detector_table(
    categories: Sequence[str], class_scores: Sequence[Mapping[str, float]]
) -> tuple[Float64, NDArray[np.bool_]]:
    """Return the detector's probabilities by (object, category), 0 where it has no such class, and where it has one.

    Raises:
        DataError: a probability is not in [0, 1].
    """
    probabilities = np.zeros((len(class_scores), len(categories)))
    heard = np.zeros(probabilities.shape, np.bool_)
    for row, scores in enumerate(class_scores):
        for name, value in scores.items():
            if not 0 <= value <= 1:
                raise DataError(f"object {row}: the detector gives {name!r} the probability {value}; it must be 0..1")
        for place, name in enumerate(categories):
            if name in scores:
                probabilities[row, place], heard[row, place] = scores[name], True
    return probabilities, heard


def declared_decision(category: str, declared: str) -> Decision:
    """Return the decision of a merchant's word that was believed without looking."""
    said = f"the merchant says {declared}" if declared else "the merchant names no category"
    reason = said if category == declared else f"{said}, which goes to {category}"
    return Decision(category=category, score=1.0, by="declared", reason=reason, declared=declared)


def _best(
    gallery: Gallery,
    similarity: Float64,
    group: NDArray[np.int64],
    shares: Float64,
    fused: Float64,
    said: Mapping[str, float],
) -> Decision:
    """Return the decision for the best category, whether it is good enough or not."""
    names = gallery.spec.categories
    voters = list(_voters(gallery, similarity, group))
    nearness = {one.category: -one.similarity for one in reversed(voters)}
    best = min(range(len(names)), key=lambda c: (-fused[c], -shares[c], nearness.get(names[c], 2.0), names[c]))
    agreed = bool(said) and any(name in said for name in names)
    return Decision(
        category=names[best],
        score=float(fused[best]),
        by=_heard(bool(voters), agreed, gallery.spec.alpha),
        votes={name: float(share) for name, share in zip(names, shares, strict=True) if share},
        detector={name: round(float(value), _DECIMALS) for name, value in said.items()},
        fused={name: float(score) for name, score in zip(names, fused, strict=True) if score},
        nearest=tuple(voters[:_SHOWN]),
        reason=_sentence(names[best], voters, float(shares[best]), said, agreed),
    )


def _heard(voted: bool, agreed: bool, alpha: float) -> Literal["fusion", "vote", "detector"]:
    if not voted or (agreed and alpha == 1):
        return "detector"
    return "fusion" if agreed and alpha > 0 else "vote"


def _voters(gallery: Gallery, similarity: Float64, group: NDArray[np.int64]) -> Iterator[Neighbour]:
    for value, place in zip(similarity, group, strict=True):
        if np.isfinite(value):
            category = gallery.spec.categories[gallery.categories[place]]
            yield Neighbour(group=gallery.groups[place], category=category, similarity=float(value))


def _sentence(best: str, voters: Sequence[Neighbour], share: float, said: Mapping[str, float], agreed: bool) -> str:
    if not voters:
        vote = "no labelled neighbour may vote"
    else:
        count, near = sum(one.category == best for one in voters), voters[0]
        of = "" if near.category == best else f" ({near.category})"
        vote = (
            f"{count} of {len(voters)} neighbours say {best} ({share:.2f} of the votes), nearest {near.group}{of} at"
            f" {near.similarity:.2f}"
        )
    if not said:
        return f"{vote}; the detector says nothing"
    top = min(said, key=lambda name: (-said[name], name))
    heard = "" if agreed else ", which is none of the gallery's categories"
    also = f", {best} {said.get(best, 0.0):.2f}" if agreed and top != best else ""
    return f"{vote}; the detector says {top} {said[top]:.2f}{also}{heard}"


def _fall_back(found: Decision, rules: FusionRules, known: frozenset[str], fallback: str) -> Decision:
    """Return the decision as it is, or for the fallback where it is not sure enough or its category is not known."""
    if found.nearest and found.nearest[0].similarity < rules.min_similarity:
        why = f"nothing alike is labelled: the nearest is below {rules.min_similarity:.2f}"
    elif found.score < rules.min_score or not found.fused:
        why = f"no category is sure enough: {found.category} has {found.score:.2f}, below {rules.min_score:.2f}"
    elif found.category not in known:
        why = f"{found.category} is no category of the day"
    else:
        return found
    return found.model_copy(update={"category": fallback, "by": "fallback", "reason": f"{why}; {found.reason}"})
