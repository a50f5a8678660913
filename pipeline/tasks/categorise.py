"""categorise: the fan-out. Every object goes to one category and is booked there; the sums are the next task's input.

The category is predicted from the crop, by the detector's word and a vote of labelled neighbours, and the decision
is kept with the object. What the merchant declared is compared: `declared_as_*` in the record of a category is its
column of the confusion matrix.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.category.decision import Decision, Listing, decide, declared_decision
from pipeline.category.gallery import DEFAULT_GALLERY, Gallery, open_gallery
from pipeline.images.crop import decode_crop
from pipeline.images.decode import DecodeLimits, PictureError
from pipeline.models.catalog import open_detector, open_embedder
from pipeline.models.embedder import Embedder
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, keep_rows, write_drops
from pipeline.tasks.pictures import iter_crops
from pipeline.window.offers import categories_elsewhere
from reporting.booking import Booking
from reporting.errors import DataError
from reporting.key import ALL

_NOT_IN_A_KEY = re.compile(r'[/\\|:*?"<>\x00-\x1f]+')
DECLARED_AS = "declared_as_"
_MOST_NAMES = 300
"""Declared categories that one record counts, the most frequent ones: each name is a field in Elasticsearch."""


class Settings(BaseModel):
    """Who says the category."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["predicted", "declared"] = "predicted"
    """`declared`: believe the source; for a team without labelled pictures of its own products."""
    gallery: str = DEFAULT_GALLERY
    """Whose rows vote: a folder under pipeline/category/galleries, or a path to one (with a slash in it)."""
    batch_size: int = Field(default=16, ge=1, le=1024)
    """Crops that go through the gallery's model at a time."""
    decode: DecodeLimits = Field(default_factory=DecodeLimits)


def category_name(text: str, fallback: str) -> str:
    """Return the source's category as a key part: trimmed, forbidden characters replaced; empty gives the fallback.

    Example:
        >>> category_name(" Food/Fruit ", "other"), category_name("", "other")
        ('Food-Fruit', 'other')
    """
    name = _NOT_IN_A_KEY.sub("-", text).strip(". ")[:128].rstrip(". ")
    return fallback if not name or name == ALL else name


def run(leaf: LeafContext, settings: Settings) -> None:
    """Send every object of the package to its category; every category is booked, also with 0 objects.

    Nobody can say where an object belongs whose crop was let go: the last category, which takes what no other wins,
    books it as dropped.
    """
    rows = leaf.read("crop", "items")
    known = leaf.day_split().categories
    drops: list[Drop] = []
    if settings.by == "predicted":
        gallery = open_gallery(settings.gallery)
        model = str(open_embedder(gallery.spec.embedder, space_id=gallery.spec.space_id).ref)
        rows, decisions = _predicted(leaf, rows, gallery, settings, drops)
        declared = _declared(rows)
    else:
        gallery, model, declared = None, "", _declared(rows)
        decisions = [declared_decision(name if name in known else known[-1], name) for name in declared]
    leaf.books_of(known[-1]).take([name for name, _, _ in drops])
    write_drops(leaf, drops, leaf.books_of(known[-1]))
    placed = _with_decisions(rows, decisions, declared)
    for category in known:
        mine = placed.filter(pc.equal(placed["placed"], category))
        books = leaf.books_of(category)
        books.take(mine["object"].to_pylist())
        books.keep(mine["object"].to_pylist())
        if gallery is not None:
            books.use("model", model)
            books.use("space", gallery.spec.space_id)
            books.use("gallery", f"{gallery.spec.name}@{gallery.spec.version}:{gallery.spec.sha256[:16]}")
        here = [(one, said) for one, said in zip(decisions, declared, strict=True) if one.category == category]
        _measure(books, category, here, predicted=gallery is not None)
        leaf.write(f"items-{category}", mine)


def _declared(rows: pa.Table) -> list[str]:
    return [category_name(text, "") for text in rows["category"].to_pylist()]


def _predicted(
    leaf: LeafContext, rows: pa.Table, gallery: Gallery, settings: Settings, drops: list[Drop]
) -> tuple[pa.Table, list[Decision]]:
    """Return the rows that have their crop, with its vector, and the decisions about them."""
    known = leaf.day_split().categories
    embedder = open_embedder(gallery.spec.embedder, space_id=gallery.spec.space_id)
    if embedder.space_id != gallery.spec.space_id:
        raise DataError(
            f"gallery {settings.gallery}: its rows are vectors of space {gallery.spec.space_id}, but model"
            f" {embedder.ref} answers in {embedder.space_id}; build the gallery again (funnelgate learn gallery)"
        )
    vectors = _vectors(leaf, rows, embedder, settings, drops)
    rows = keep_rows(rows, drops, by="object")
    decisions = decide(
        gallery,
        vectors,
        _class_scores(leaf, rows),
        excluding=[Listing(*row) for row in zip(*_columns(rows, "merchant", "sku", "picture"), strict=True)],
        known=known,
        fallback=known[-1],
    )
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), embedder.dim)
    spaces = pa.array([embedder.space_id] * rows.num_rows, pa.string())
    return rows.append_column("space", spaces).append_column("vector", column), decisions


def _vectors(
    leaf: LeafContext, rows: pa.Table, embedder: Embedder, settings: Settings, drops: list[Drop]
) -> NDArray[np.float32]:
    vectors = [np.zeros((0, embedder.dim), np.float32)]
    crops = iter_crops(leaf.lake, rows, drops)
    while batch := list(islice(crops, settings.batch_size)):
        pixels = []
        for name, data in batch:
            try:
                pixels.append(decode_crop(data, settings.decode))
            except PictureError as error:
                # We wrote it ourselves, without loss: this is a damaged lake, not a bad picture.
                raise DataError(f"{leaf.key}: the crop of {name} cannot be read: {error}; run crop again") from error
        vectors.append(embedder.embed(pixels))
    return np.concatenate(vectors)


def _class_scores(leaf: LeafContext, rows: pa.Table) -> list[dict[str, float]]:
    """Return the detector's probabilities by class, {} where it gave none."""
    from pipeline.tasks import task_settings

    settings: Any = task_settings(leaf.topology, "detect")
    classes = open_detector(settings.detector).classes
    found = []
    for name, scores in zip(*_columns(rows, "object", "class_scores"), strict=True):
        if scores and len(scores) != len(classes):
            raise DataError(
                f"{leaf.key}: object {name} has {len(scores)} class scores, detector {settings.detector} has"
                f" {len(classes)} classes: it was found by another detector; run detect again"
            )
        found.append(dict(zip(classes, scores or (), strict=False)))
    return found


def _columns(rows: pa.Table, *names: str) -> list[list[Any]]:
    return [rows[name].to_pylist() for name in names]


def _with_decisions(rows: pa.Table, decisions: Sequence[Decision], declared: Sequence[str]) -> pa.Table:
    """Return the rows with where they go, why, and where the other objects of their pictures go."""
    placed = [one.category for one in decisions]
    why = [
        one.model_copy(update={"declared": said}).model_dump_json(exclude_defaults=True)
        for one, said in zip(decisions, declared, strict=True)
    ]
    elsewhere = categories_elsewhere(rows["item"].to_pylist(), placed)
    out = rows.drop_columns(["class_scores"])
    out = out.append_column("placed", pa.array(placed, pa.string())).append_column("why", pa.array(why, pa.string()))
    return out.append_column("elsewhere", pa.array(elsewhere, pa.list_(pa.string())))


def _measure(books: Booking, category: str, here: Sequence[tuple[Decision, str]], *, predicted: bool) -> None:
    """Book the category's column of the confusion matrix, and who would have said the same alone."""
    counts = Counter(said for _, said in here if said)
    for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:_MOST_NAMES]:
        books.measure(f"{DECLARED_AS}{name}", count)
    books.measure("not_declared", sum(not said for _, said in here))
    if predicted:
        books.measure("detector_agrees", sum(one.detector_says() == category for one, _ in here))
        books.measure("vote_agrees", sum(one.vote_says() == category for one, _ in here))
        books.measure("fell_back", sum(one.by == "fallback" for one, _ in here))
