"""Builds a reference gallery: pictures to crops to vectors, rules fitted on them, and what they are worth, measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.category.fit import Measured, Probes, fit_rules, measure
from pipeline.category.gallery import Gallery, LabelledRow, seal
from pipeline.category.spec import About
from pipeline.images.crop import DEFAULT_MARGIN, DEFAULT_SIDE, crop_object
from pipeline.images.decode import DecodeLimits, PictureError, Rgb
from reporting.errors import DataError

if TYPE_CHECKING:
    from pipeline.models.detections import Box
    from pipeline.models.detector import Detector, WholePicture
    from pipeline.models.embedder import Embedder

_BATCH = 16
_LIMITS = DecodeLimits()

Vectors = NDArray[np.float32]
Progress = Callable[[int, int], None]


class Skipped(NamedTuple):
    """A picture that is not in the gallery, and why."""

    path: str
    reason: str


class Built(NamedTuple):
    """A gallery with its rules, and what it was measured on."""

    gallery: Gallery
    left_out: Measured
    """On labelled objects, each without its own group's vote: what an unknown product can expect."""
    held_out: Measured | None
    """On items that took no part in anything, in all looks; only of the sample pack."""
    skipped: tuple[Skipped, ...]
    whole: int
    """Pictures taken as a whole because no object was found in them."""


class Piece(NamedTuple):
    """A labelled object, cut out."""

    label: LabelledRow
    pixels: Rgb
    class_scores: dict[str, float]


def build_from_labels(
    labels: Sequence[tuple[Path, LabelledRow]],
    *,
    name: str,
    version: int,
    licence: str,
    embedder: Embedder,
    detector: Detector | WholePicture,
    alpha: float | None = None,
    on_progress: Progress,
) -> Built:
    """Build a gallery of the main objects of labelled pictures; its rules are fitted on them, each left out in turn.

    Args:
        labels: from `read_labels`.
        name: of the gallery.
        version: likewise.
        licence: SPDX expression of the pictures.
        embedder: makes the vectors.
        detector: finds the main object; where it finds none, the whole picture counts. Its classes take part in the
            fit, so it should not have been trained on these pictures: what it knows by heart it is too sure of.
        alpha: weight of the detector; None: fitted, or the default where it has no classes.
        on_progress: called with (done, all) pictures.

    Raises:
        DataError: no picture can be used, or a group has two categories.
    """
    skipped: list[Skipped] = []
    whole: list[Path] = []
    vectors, kept = embed_all(_found(labels, detector, skipped, whole), embedder, lambda n: on_progress(n, len(labels)))
    if not kept:
        raise DataError(f"none of {len(labels)} pictures can be used; first {skipped[0].path}: {skipped[0].reason}")
    about = About(
        *(name, version, str(embedder.ref.name), embedder.space_id, detector.version),
        *(DEFAULT_MARGIN, DEFAULT_SIDE, licence, f"{len(kept)} labelled pictures"),
    )
    rows, probes = [piece.label for piece in kept], probes_of(vectors, kept)
    loose = seal(vectors, rows, about)
    rules = fit_rules(loose, probes, alpha)
    measured = measure(loose.with_rules(rules), probes)
    gallery = loose.with_rules(rules, with_prefix("left_out", measured))
    return Built(gallery, measured, None, tuple(skipped), len(whole))


def _found(
    labels: Sequence[tuple[Path, LabelledRow]],
    detector: Detector | WholePicture,
    skipped: list[Skipped],
    whole: list[Path],
) -> Iterator[Piece]:
    for path, label in labels:
        try:
            data = path.read_bytes()
            found = detector.detect([data], _LIMITS)[0]
            if isinstance(found, PictureError):
                raise found
            main = found.objects[0] if found.objects else None
            if main is None:
                whole.append(path)
            pixels = cut_out(data, main.box if main else None)
        except OSError as error:
            skipped.append(Skipped(str(path), f"cannot be read: {error.strerror}"))
            continue
        except PictureError as error:
            skipped.append(Skipped(str(path), str(error)))
            continue
        said = dict(zip(detector.classes, main.class_scores, strict=True)) if main and main.class_scores else {}
        yield Piece(label._replace(picture=hashlib.sha256(data).hexdigest()), pixels, said)


def cut_out(data: bytes, box: Box | None) -> Rgb:
    """Return an object as the task crop cuts it out by default, None for the whole picture.

    Raises:
        PictureError: the picture cannot be decoded.
    """
    return crop_object(data, box, margin=DEFAULT_MARGIN, side=DEFAULT_SIDE, limits=_LIMITS)


def embed_all(
    pieces: Iterable[Piece], embedder: Embedder, on_progress: Callable[[int], None]
) -> tuple[Vectors, list[Piece]]:
    """Return the vectors of all pieces, and the pieces without their pixels."""
    waiting = iter(pieces)
    vectors = [np.zeros((0, embedder.dim), np.float32)]
    kept: list[Piece] = []
    nothing = np.zeros((0, 0, 3), np.uint8)
    while batch := list(islice(waiting, _BATCH)):
        vectors.append(embedder.embed([piece.pixels for piece in batch]))
        kept += [piece._replace(pixels=nothing) for piece in batch]
        on_progress(len(kept))
    return np.concatenate(vectors), kept


def probes_of(vectors: Vectors, pieces: Sequence[Piece]) -> Probes:
    """Return what to judge by: the vectors, and what `pieces` say of them."""
    labels = [piece.label for piece in pieces]
    return Probes(
        vectors,
        [label.category for label in labels],
        [label.group for label in labels],
        [piece.class_scores for piece in pieces],
    )


def with_prefix(prefix: str, measured: Measured) -> dict[str, float]:
    """Return the metrics as a spec keeps them: `left_out_vote_accuracy`."""
    return {f"{prefix}_{name}": value for name, value in measured.metrics.items()}
