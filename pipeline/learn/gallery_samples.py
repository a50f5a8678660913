"""The gallery of the sample pack, drawn as the demo draws its catalogue: what is shipped as `sample-pack`."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.category.fit import fit_rules, measure
from pipeline.category.gallery import DEFAULT_GALLERY, LabelledRow, seal
from pipeline.category.spec import About
from pipeline.images.crop import DEFAULT_MARGIN, DEFAULT_SIDE
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

if TYPE_CHECKING:
    from pipeline.models.embedder import Embedder

CATALOGUE_LOOKS = ("noto", "twemoji")
"""The third look, fluent, is the users': a gallery does not hold what it will be asked about."""
ALL_LOOKS = (*CATALOGUE_LOOKS, "fluent")
LICENCE = "Apache-2.0 AND CC-BY-4.0"
_SEED = 5


def build_samples(
    *,
    embedder: Embedder,
    items: Sequence[tuple[str, str]] | None = None,
    version: int = 1,
    alpha: float | None = None,
    on_progress: Progress,
) -> Built:
    """Build the gallery of the sample pack: what is shipped as `sample-pack`, byte for byte on the same machine.

    Rows: each item that is not held out, in both catalogue looks, drawn as the demo's catalogue, cut out by the box it
    was drawn in: the gallery does not depend on a detector. Rules: fitted on other drawings of the same items, as
    photos on the demo's backgrounds, each without its own item's vote. Measured: on photos of the held-out items.

    Args:
        embedder: makes the vectors.
        items: (item, category) to take; default all of the pack.
        version: of the gallery.
        alpha: weight of the detector; None: the default, because the shipped detector has seen these very items.
        on_progress: called with (done, all) pictures.
    """
    from samples import held_out

    known = [item for item in items or sample_items() if not held_out(item[0])]
    unknown = [item for item in items or sample_items() if held_out(item[0])]
    total = 2 * len(known) * len(CATALOGUE_LOOKS) + len(unknown) * len(ALL_LOOKS)
    done = 0

    def taken(pieces: Iterable[Piece]) -> tuple[Vectors, list[Piece]]:
        nonlocal done
        vectors, kept = embed_all(pieces, embedder, lambda count: on_progress(done + count, total))
        done += len(kept)
        return vectors, kept

    vectors, kept = taken(_catalogue(known))
    about = About(
        *(DEFAULT_GALLERY, version, str(embedder.ref.name), embedder.space_id, "exact boxes"),
        *(DEFAULT_MARGIN, DEFAULT_SIDE, LICENCE, "samples/pictures: noto and twemoji, items not held out"),
    )
    rows = [piece.label for piece in kept]
    probes = probes_of(*taken(_photos(known, CATALOGUE_LOOKS)))
    loose = seal(vectors, rows, about)
    rules = fit_rules(loose, probes, alpha)
    fitted = loose.with_rules(rules)
    left_out = measure(fitted, probes)
    held = measure(fitted, probes_of(*taken(_photos(unknown, ALL_LOOKS)))) if unknown else None
    metrics = with_prefix("left_out", left_out) | (with_prefix("held_out", held) if held else {})
    return Built(loose.with_rules(rules, metrics), left_out, held, (), 0)


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


def _photos(items: Sequence[tuple[str, str]], looks: Sequence[str]) -> Iterator[Piece]:
    from pipeline.demo.drawing import load_look
    from pipeline.demo.photos import photo
    from samples import samples_dir

    for look in looks:
        for item, category in items:
            drawn = photo(load_look(samples_dir(), look, item), _rng("photo", look, item))
            yield Piece(LabelledRow(category, item), cut_out(drawn.data, drawn.box), {})


def _rng(*names: str) -> np.random.Generator:
    """Return a generator that depends on what is drawn, not on what was drawn before."""
    return np.random.default_rng([_SEED, *hashlib.sha256("/".join(names).encode()).digest()])
