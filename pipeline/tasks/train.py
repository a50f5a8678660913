"""train: the category's quantizer, made of the window that is there and frozen; then how far each day drifts from it.

Whichever day of a window comes first trains for all of them, on vectors of all the days that are embedded already.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.index.codec import Codec
from pipeline.index.drift import drift_of
from pipeline.index.quantizer import from_bytes
from pipeline.quantizers import Quantizer, TooFew, Wanted, quantizer_for
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from pipeline.tasks.embed import vectors_of, without_let_go
from pipeline.tasks.space import space_of
from pipeline.tasks.training import window_sample
from reporting.errors import ConfigError

FILE = "quantizer.json"


class Settings(BaseModel):
    """How a category's vectors are stored. A change makes the window stale: shards of two trainings never merge."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    codec: str = "flat"
    """`flat`, `sq8`, `pq<M>` or `opq<M>`, see `pipeline.index.codec`."""
    revision: int = Field(default=1, ge=1)
    """Raise it to train anew, as when `drift_ratio` stays high."""
    window_days: int = Field(default=60, ge=1)
    """Days whose items will be in the merged index: lists are made for so many vectors, and learnt from these days."""
    sample_rows: int = Field(default=100_000, ge=1)
    """Vectors that a training learns from, the newest first; at least all of the day that trains."""
    min_rows: int = Field(default=256, ge=1)
    """A codec other than `flat` needs at least so many to learn from; `pq` 39 for each of its codes (256), too."""
    too_few: Literal["refuse", "flat"] = "refuse"
    """With fewer: an error, or vectors are stored flat until `revision` is raised."""

    @field_validator("codec")
    @classmethod
    def _is_a_codec(cls, text: str) -> str:
        try:
            return str(Codec.parse(text))
        except ConfigError as error:
            raise ValueError(str(error)) from error


def run(leaf: LeafContext, settings: Settings) -> None:
    """Train, if nobody has; book the day's drift, and hand on which quantizer the day's shard is built with."""
    rows = leaf.read("embed", "items")
    leaf.books.take(rows["object"].to_pylist())
    drops: list[Drop] = []
    rows = without_let_go(rows, drops)
    write_drops(leaf, drops)
    space = space_of(leaf)
    leaf.books.use("space", space)
    vectors = vectors_of(rows)
    wanted = Wanted(leaf.key.category, space, settings.codec, settings.revision)
    sample = partial(window_sample, leaf, space, rows, window_days=settings.window_days, rows=settings.sample_rows)
    too_few = TooFew(settings.min_rows, flat=settings.too_few == "flat")
    quantizer = quantizer_for(leaf, wanted, vectors, settings.window_days, sample, too_few)
    ratio = None
    if quantizer is not None:
        leaf.books.use("quantizer", quantizer.fingerprint[:16])
        if quantizer.training_rows is not None:
            leaf.books.measure("training_rows", quantizer.training_rows)
        if len(vectors):
            index = from_bytes(leaf.lake.read_bytes(quantizer.path), where=quantizer.path)
            drift = drift_of(index, vectors, quantizer.training)
            leaf.books.measure("list_imbalance", drift.imbalance)
            leaf.books.measure("quantisation_error", drift.quantisation_error)
            ratio = drift.ratio
    # Always there, so that a check of it is never left unjudged: a day without vectors has not drifted.
    leaf.books.measure("drift_ratio", 1.0 if ratio is None else ratio)
    _hand_on(leaf, quantizer)
    leaf.books.keep(rows["object"].to_pylist())


def _hand_on(leaf: LeafContext, quantizer: Quantizer | None) -> None:
    content = {} if quantizer is None else {"path": quantizer.path, "fingerprint": quantizer.fingerprint}
    with leaf.create(FILE) as file:
        file.write(json.dumps(content).encode())
