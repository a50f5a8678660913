"""From a query picture to what is searched: its main object, cut out as the library's objects are, and its category."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.images.crop import DEFAULT_MARGIN, DEFAULT_SIDE, crop_object, upright_size
from pipeline.images.decode import DecodeLimits, PictureError, Rgb, decode_scaled
from pipeline.models.detections import Box, Detection, Found
from reporting.errors import UsageError

if TYPE_CHECKING:
    from pipeline.category.decision import Decision
    from pipeline.models.embedder import Embedder
    from pipeline.models.session import Float32
    from pipeline.serve.front import OpenFront

_LIMITS = DecodeLimits()
_WHOLE_SIDE = 256  # shorter side at which pictures were embedded before there was a front
_SAME_OBJECT = 0.5  # IoU from which a given box is taken for one that the detector found
_NOT_FOUND = Found(objects=(), best_rejected=0.0)


@dataclass(frozen=True)
class QueryObject:
    """What is searched for in one picture.

    Attributes:
        box: In pixels of the upright original.
        score: Of the detector, in [0, 1]; 0 where it did not find this box.
        pixels: Cut out as for the library.
        class_scores: The detector's probability of each of its classes; empty where it has none to give.
        others: What else was found, by falling score.
        note: What a person should know about the choice; "" where there is nothing to say.
    """

    box: Box
    score: float
    pixels: Rgb
    class_scores: dict[str, float]
    others: tuple[Detection, ...]
    note: str = ""


def find_objects(
    front: OpenFront | None, pictures: Sequence[bytes], box: Box | None = None
) -> list[QueryObject | PictureError]:
    """Return what is searched for in each picture: the most confident object, or the whole where none is found.

    Args:
        front: None: whole pictures, as releases without a front were built.
        pictures: Encoded pictures; all go through the detector together.
        box: Search this part of every picture instead; an object found there (IoU >= 0.5) lends it its scores.

    Returns:
        One for each picture, in order; the error of one that cannot be decoded.

    Raises:
        UsageError: the box is empty or reaches out of a picture.
        DataError: the front's detector is another one than here.
    """
    found: Sequence[Found | PictureError] = [_NOT_FOUND] * len(pictures)
    if front is not None:
        found = front.detector.detect(pictures, _LIMITS)
    objects: list[QueryObject | PictureError] = []
    for data, of_it in zip(pictures, found, strict=True):
        try:
            objects.append(of_it if isinstance(of_it, PictureError) else _chosen(front, data, of_it, box))
        except PictureError as error:
            objects.append(error)
    return objects


def _chosen(front: OpenFront | None, data: bytes, found: Found, box: Box | None) -> QueryObject:
    if box is not None:
        return _given(front, data, found, box)
    if found.objects:
        assert front is not None, "found by a detector"
        main = found.objects[0]
        return QueryObject(main.box, main.score, _cut(front, data, main.box), _named(front, main), found.objects[1:])
    note = "this release searches whole pictures" if front is None else _nothing_found(found.best_rejected)
    if front is None:
        whole = decode_scaled(data, min_side=_WHOLE_SIDE, limits=_LIMITS)
        return QueryObject(Box(0, 0, whole.width, whole.height), 0.0, whole.image, {}, (), note)
    return QueryObject(Box(0, 0, *upright_size(data, _LIMITS)), 0.0, _cut(front, data, None), {}, (), note)


def _nothing_found(best_rejected: float) -> str:
    best = f" (the best candidate scores {best_rejected:.2f}, too little)" if best_rejected else ""
    return f"no object was found{best}, so the whole picture was searched"


def _given(front: OpenFront | None, data: bytes, found: Found, box: Box) -> QueryObject:
    """Take the box a person gave, and what the detector says of it if it found the same one."""
    width, height = upright_size(data, _LIMITS)
    if not (0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height):
        raise UsageError(
            f"box {','.join(map(str, box))} is not a part of the picture, which has {width} x {height} pixels; "
            f"expected x0,y0,x1,y1 with 0 <= x0 < x1 <= {width} and 0 <= y0 < y1 <= {height}"
        )
    pixels = _cut(front, data, box)
    same = max(found.objects, key=lambda one: one.box.iou(box), default=None)
    if front is None or same is None or same.box.iou(box) < _SAME_OBJECT:
        return QueryObject(box, 0.0, pixels, {}, found.objects, "the box was given; no object was found there")
    others = tuple(one for one in found.objects if one is not same)
    return QueryObject(box, same.score, pixels, _named(front, same), others)


def _cut(front: OpenFront | None, data: bytes, box: Box | None) -> Rgb:
    margin, side = (DEFAULT_MARGIN, DEFAULT_SIDE) if front is None else (front.front.margin, front.front.side)
    return crop_object(data, box, margin=margin, side=side, limits=_LIMITS)


def _named(front: OpenFront, found: Detection) -> dict[str, float]:
    return dict(zip(front.detector.classes, found.class_scores, strict=True)) if found.class_scores else {}


class Vectors:
    """The vectors of some pictures: each is computed once for each feature space, those of one call together."""

    def __init__(self, images: Sequence[Rgb]) -> None:
        self._images = images
        self._known: dict[str, dict[int, Float32]] = {}

    def prepare(self, embedder: Embedder, rows: Collection[int]) -> None:
        """Compute what of these rows (places among the pictures) is not known yet in the model's space."""
        known = self._known.setdefault(embedder.space_id, {})
        missing = sorted(set(rows) - known.keys())
        if missing:
            known |= zip(missing, embedder.embed([self._images[row] for row in missing]), strict=True)

    def of(self, embedder: Embedder, rows: Sequence[int]) -> Float32:
        """Return (len(rows), dim) float32 of length 1, in the order of `rows`."""
        self.prepare(embedder, rows)
        known = self._known[embedder.space_id]
        return np.stack([known[row] for row in rows]) if rows else np.zeros((0, embedder.dim), np.float32)


class KnownVectors(Vectors):
    """Vectors that were computed before; the pictures are gone."""

    def __init__(self, known: dict[str, dict[int, Float32]]) -> None:
        super().__init__(())
        self._known = known


def decide_all(front: OpenFront | None, objects: Sequence[QueryObject], vectors: Vectors) -> list[Decision | None]:
    """Return the predicted category of each object; None for each where nothing is predicted.

    Args:
        front: of the release.
        objects: what is searched for.
        vectors: of their pixels, in the same order.

    Raises:
        DataError: the front's gallery is another one than here.
    """
    if front is None or front.gallery is None or front.embedder is None:
        return [None] * len(objects)
    from pipeline.category.decision import decide

    fallback = front.front.fallback
    known = tuple(dict.fromkeys((*front.gallery.spec.categories, fallback)))
    return list(
        decide(
            front.gallery,
            vectors.of(front.embedder, range(len(objects))),
            [one.class_scores for one in objects],
            excluding=[None] * len(objects),
            known=known,
            fallback=fallback,
        )
    )


class Route(NamedTuple):
    """Where one object is searched: the categories, what a person should know about it, and why."""

    categories: tuple[str, ...]
    category: str | None
    """The one that was asked for or predicted; None where nothing is predicted."""
    note: str
    reason: str


def route(wanted: str | None, decision: Decision | None, released: Collection[str]) -> Route:
    """Say which categories to search: the wanted one, else the predicted one, else all.

    All are searched too where the prediction names a category without an index, and where it fell back: an object
    that nobody recognises may lie in any of them.

    Args:
        wanted: category that a person asked for; it is among `released`.
        decision: what was predicted; None where nothing is.
        released: categories with an index.
    """
    every = tuple(released)
    if wanted is not None:
        predicted = "" if decision is None else f"; predicted was {decision.category!r}: {decision.reason}"
        return Route((wanted,), wanted, "", f"category {wanted!r} was asked for{predicted}")
    if decision is None:
        return Route(every, None, "", "this release predicts no category: every category was searched")
    if decision.by == "fallback":
        return Route(
            every, decision.category, "no category is sure enough: every category was searched", decision.reason
        )
    if decision.category not in released:
        note = f"the release has no index of {decision.category!r} yet: every category was searched"
        return Route(every, decision.category, note, decision.reason)
    return Route((decision.category,), decision.category, "", decision.reason)
