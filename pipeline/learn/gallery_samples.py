"""The gallery of the sample pack, drawn as the demo draws its catalogue: what is shipped as `sample-pack`."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.category.fit import fit_fusion, fit_rules, measure
from pipeline.category.gallery import DEFAULT_GALLERY, LabelledRow, seal
from pipeline.category.spec import About
from pipeline.images.crop import DEFAULT_MARGIN, DEFAULT_SIDE
from pipeline.images.decode import DecodeLimits, PictureError
from pipeline.learn.build_gallery import (
    Built,
    Piece,
    Progress,
    Vectors,
    cut_out,
    embed_all,
    probes_of,
    with_prefix,
)
from pipeline.learn.sprites import part_of

if TYPE_CHECKING:
    from pipeline.models.detections import Box
    from pipeline.models.detector import Detector, WholePicture
    from pipeline.models.embedder import Embedder

CATALOGUE_LOOKS = ("noto", "twemoji")
"""The third look, fluent, is the users': a gallery does not hold what it will be asked about."""
ALL_LOOKS = (*CATALOGUE_LOOKS, "fluent")
LICENCE = "Apache-2.0 AND CC-BY-4.0"
_SEED = 5
_DRAWINGS = 3
"""Photos of each item and look to weigh the detector by, and to measure by: the items kept for that are few."""
_SAME_OBJECT = 0.5


def build_samples(
    *,
    embedder: Embedder,
    detector: Detector | WholePicture | None = None,
    items: Sequence[tuple[str, str]] | None = None,
    version: int = 1,
    alpha: float | None = None,
    on_progress: Progress,
) -> Built:
    """Build the gallery of the sample pack: what is shipped as `sample-pack`, byte for byte on the same machine.

    Rows: each item that is not held out, in both catalogue looks, drawn as the demo's catalogue, cut out by the box it
    was drawn in: the rows do not depend on a detector. Rules: fitted on other drawings of the same items, as photos on
    the demo's backgrounds, each without its own item's vote; what depends on the detector only on those items that no
    detector is trained on but tuned by (`part_of`). Measured: on photos of the held-out items.

    Args:
        embedder: makes the vectors.
        detector: is weighed against the vote, if it has classes; None: its weight is the default.
        items: (item, category) to take; default all of the pack.
        version: of the gallery.
        alpha: weight of the detector; None: fitted.
        on_progress: called with (done, all) pictures.
    """
    taken = _Taker(embedder, on_progress)
    everything = items or sample_items()
    known = [item for item in everything if part_of(item[0]) != "test"]
    untaught = [item for item in known if part_of(item[0]) == "tune"] if detector else []
    unknown = [item for item in everything if part_of(item[0]) == "test"]
    taken.total = 2 * len(known) * len(CATALOGUE_LOOKS) + len(untaught + unknown) * len(ALL_LOOKS) * _DRAWINGS
    vectors, kept = taken(_catalogue(known))
    weighed = f"; weighed: {detector.ref}" if detector else ""
    about = About(
        *(DEFAULT_GALLERY, version, str(embedder.ref.name), embedder.space_id, "exact boxes"),
        *(DEFAULT_MARGIN, DEFAULT_SIDE, LICENCE, f"samples/pictures: noto and twemoji, items not held out{weighed}"),
    )
    loose = seal(vectors, [piece.label for piece in kept], about)
    probes = probes_of(*taken(_photos(known, CATALOGUE_LOOKS)))
    fitted = loose.with_rules(fit_rules(loose, probes, alpha))
    metrics: dict[str, float] = {}
    if untaught:
        tune = probes_of(*taken(_photos(untaught, ALL_LOOKS, detector, _DRAWINGS)))
        fitted = fitted.with_rules(fit_fusion(fitted, tune, alpha))
        metrics = with_prefix("tune", measure(fitted, tune))
    metrics |= with_prefix("left_out", left_out := measure(fitted, probes))
    held = measure(fitted, probes_of(*taken(_photos(unknown, ALL_LOOKS, detector, _DRAWINGS)))) if unknown else None
    metrics |= with_prefix("held_out", held) if held else {}
    return Built(fitted.with_rules(fitted.spec, metrics), left_out, held, (), 0)


class _Taker:
    """Embeds one group of pictures after another, and says how many of all are done."""

    def __init__(self, embedder: Embedder, on_progress: Progress) -> None:
        self._embedder, self._on_progress = embedder, on_progress
        self._done = 0
        self.total = 0

    def __call__(self, pieces: Iterable[Piece]) -> tuple[Vectors, list[Piece]]:
        vectors, kept = embed_all(
            pieces, self._embedder, lambda count: self._on_progress(self._done + count, self.total)
        )
        self._done += len(kept)
        return vectors, kept


def sample_items() -> list[tuple[str, str]]:
    """Return (item, category) of the sample pack, in the order of its list."""
    from samples import samples_dir

    with (samples_dir() / "items.csv").open(newline="", encoding="utf-8") as lines:
        return [(row["item"], row["category"]) for row in csv.DictReader(lines)]


def _catalogue(items: Sequence[tuple[str, str]]) -> Iterator[Piece]:
    from pipeline.demo.drawing import compose, flattened, load_look, png, visible_box
    from samples import samples_dir

    for look in CATALOGUE_LOOKS:
        for item, category in items:
            rng = _rng("catalogue", look, item)
            canvas = compose(load_look(samples_dir(), look, item), rng)
            pixels = cut_out(png(flattened(canvas, rng)), visible_box(canvas))
            yield Piece(LabelledRow(category, item), pixels, {})


def _photos(
    items: Sequence[tuple[str, str]],
    looks: Sequence[str],
    detector: Detector | WholePicture | None = None,
    drawings: int = 1,
) -> Iterator[Piece]:
    """Yield each item in each look as a user's photo, cut out by its exact box, with what a detector says of it."""
    from pipeline.demo.drawing import load_look
    from pipeline.demo.photos import photo
    from samples import samples_dir

    for number in range(drawings):
        for look in looks:
            for item, category in items:
                names = ("photo", look, item) if number == 0 else ("photo", look, item, str(number))
                drawn = photo(load_look(samples_dir(), look, item), _rng(*names))
                said = _class_scores(detector, drawn.data, drawn.box) if detector else {}
                yield Piece(LabelledRow(category, item), cut_out(drawn.data, drawn.box), said)


def _class_scores(detector: Detector | WholePicture, data: bytes, box: Box) -> dict[str, float]:
    """Return what a detector says of the object in a box; {} where it does not find one there (IoU of 0.5)."""
    found = detector.detect([data], DecodeLimits())[0]
    assert not isinstance(found, PictureError), "we drew it"
    best = max(found.objects, key=lambda one: one.box.iou(box), default=None)
    if best is None or best.box.iou(box) < _SAME_OBJECT or not best.class_scores:
        return {}
    return dict(zip(detector.classes, best.class_scores, strict=True))


def _rng(*names: str) -> np.random.Generator:
    """Return a generator that depends on what is drawn, not on what was drawn before."""
    return np.random.default_rng([_SEED, *hashlib.sha256("/".join(names).encode()).digest()])
