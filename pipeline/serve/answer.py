"""Answer one picture from the released generation."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline.lake import Lake
from pipeline.release.pointer import current
from pipeline.serve.generation import Generation
from reporting.errors import DataError, UsageError


class Offer(BaseModel):
    """One merchant's listing of the product a hit shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sku: str
    merchant: str
    title: str


class Result(BaseModel):
    """One hit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int
    item: int
    """Lasting 63-bit id."""
    group: str
    offers: list[Offer]
    category: str
    title: str
    distance: float
    """1 - cosine, in [0, 2]."""
    picture: str
    """sha256 of the picture's bytes."""


class Answer(BaseModel):
    """The hits of one picture, nearest first, and the generation that gave them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generation: int
    results: list[Result]


def released(lake: Lake) -> tuple[int, Generation]:
    """Return the released generation and its number.

    Raises:
        UsageError: nothing has been released yet.
    """
    manifest = current(Path(lake.full("")))
    if manifest is None:
        raise UsageError(f"{lake.root}: nothing has been released yet; run a day to its end first")
    return manifest.number, Generation(lake, manifest.categories)


def answer(lake: Lake, picture: Path, k: int, category: str | None = None) -> Answer:
    """Search a picture file.

    Raises:
        DataError: the file cannot be read, or is no picture.
        ConfigError: the category is not in the release.
    """
    try:
        data = picture.read_bytes()
    except OSError as error:
        raise DataError(f"{picture}: the query picture cannot be read: {error.strerror}") from error
    number, generation = released(lake)
    _refuse_undecodable(picture, data)
    hits = generation.search([data], k, category)[0]
    results = []
    for rank, hit in enumerate(hits, start=1):
        row = generation.item(hit)
        offers = [Offer(sku=o["sku"], merchant=o["merchant"], title=o["title"]) for o in row["offers"]]
        results.append(
            Result(
                rank=rank,
                item=hit.id,
                group=hit.group,
                offers=offers,
                category=hit.category,
                title=row["title"],
                distance=round(hit.distance, 6),
                picture=row["picture"],
            )
        )
    return Answer(generation=number, results=results)


def _refuse_undecodable(picture: Path, data: bytes) -> None:
    from pipeline.images.decode import DecodeLimits, PictureError, decode_rgb

    try:
        decode_rgb(data, min_side=64, limits=DecodeLimits())
    except PictureError as error:
        raise DataError(f"{picture}: {error}; give a JPEG, PNG, WebP, GIF, BMP or TIFF picture") from None
