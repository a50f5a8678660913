"""Small galleries, and a slow second opinion on where an object goes: plain Python, one row at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.category.decision import Listing
from pipeline.category.gallery import Gallery, LabelledRow, seal
from pipeline.category.spec import About, FusionRules

DIM = 4
ABOUT = About("test", 1, "efficientnet-lite0", "0" * 16, "by hand", 0.08, 256, "CC0-1.0", "drawn numbers")


def unit(rows: Any) -> NDArray[np.float32]:
    """Return rows of length 1."""
    found = np.asarray(rows, np.float64).reshape(len(rows), -1)
    of_length_one: NDArray[np.float32] = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return of_length_one


def at_cosines(*cosines: float) -> NDArray[np.float32]:
    """Return vectors of two numbers at these cosines to (1, 0)."""
    return unit([(cosine, math.sqrt(1 - cosine**2)) for cosine in cosines])


def gallery_of(vectors: NDArray[np.float32], labels: Sequence[LabelledRow], **rules: Any) -> Gallery:
    """Return a gallery; rules that are not named take nothing away (no prior, no limits)."""
    return seal(vectors, labels, ABOUT, FusionRules(**{"prior_power": 0.0, **rules}))


def random_gallery(seed: int, **rules: Any) -> tuple[Gallery, NDArray[np.float32], list[LabelledRow]]:
    """Return a gallery, and the vectors and labels it was made of.

    The vectors have coordinates -1, 0 and 1 only, so that equal similarities are common. A group has one to four rows.
    """
    rng = np.random.default_rng(seed)
    categories = ["birds", "cars", "hats", "mugs", "pears"][: rng.integers(1, 6)]
    labels = []
    for group in range(int(rng.integers(1, 14))):
        category = categories[int(rng.integers(len(categories)))]
        for row in range(int(rng.integers(1, 5))):
            merchant = f"m{rng.integers(3)}"
            labels.append(LabelledRow(category, f"g{group:02}", merchant, f"s{group}", f"p{group}-{row}"))
    vectors = lattice(rng, len(labels))
    return gallery_of(vectors, labels, **rules), vectors, labels


def lattice(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Return unit vectors with few different directions."""
    found = rng.integers(-1, 2, (count, DIM))
    found[(found == 0).all(axis=1)] = 1
    return unit(found)


class Opinion(NamedTuple):
    """What the second opinion says."""

    category: str
    fell_back: bool
    votes: dict[str, float]
    fused: dict[str, float]
    nearest: list[tuple[str, float]]


def second_opinion(
    gallery: Gallery,
    vector: NDArray[np.float32],
    said: Mapping[str, float],
    *,
    listing: Listing | None = None,
    without: Collection[str] = (),
    known: Collection[str],
    fallback: str = "other",
) -> Opinion:
    """Decide as `decide` promises to; groups in `without` are not there at all, nor count in the prior."""
    rules = gallery.spec
    best_of: dict[str, float] = {}
    category_of: dict[str, str] = {}
    for row, label in zip(gallery.vectors, gallery.labels, strict=True):
        if label.group in without:
            continue
        category_of[label.group] = label.category
        if listing is not None and (listing[:2] == (label.merchant, label.sku) or listing.picture == label.picture):
            continue
        cosine = round(float(np.dot(row.astype(np.float64), vector.astype(np.float64))), 6)
        best_of[label.group] = max(best_of.get(label.group, -2.0), cosine)
    voters = sorted(best_of.items(), key=lambda one: (-one[1], one[0]))[: rules.neighbours]
    raw = dict.fromkeys(rules.categories, 0.0)
    for group, cosine in voters:
        size = sum(category == category_of[group] for category in category_of.values())
        raw[category_of[group]] += math.exp((cosine - 1) / rules.tau) / size**rules.prior_power
    total = sum(raw.values())
    votes = {name: value / total if total else 0.0 for name, value in raw.items()}
    fused = _fused(votes, said, rules.alpha, voted=bool(voters))
    votes, fused = ({name: round(value, 6) for name, value in one.items()} for one in (votes, fused))
    near = {name: max((s for g, s in voters if category_of[g] == name), default=-2.0) for name in rules.categories}
    best = min(rules.categories, key=lambda name: (-fused[name], -votes[name], -near[name], name))
    fell = fused[best] < rules.min_score or best not in known or not any(fused.values())
    fell = fell or (bool(voters) and voters[0][1] < rules.min_similarity)
    return Opinion(fallback if fell else best, fell, votes, fused, voters)


def _fused(votes: dict[str, float], said: Mapping[str, float], alpha: float, *, voted: bool) -> dict[str, float]:
    if not voted:
        return {name: said.get(name, 0.0) for name in votes}
    inside = sum(share for name, share in votes.items() if name in said)
    return {
        name: alpha * said[name] * inside + (1 - alpha) * share if name in said else share
        for name, share in votes.items()
    }
