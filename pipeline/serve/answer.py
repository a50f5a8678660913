"""Answer pictures from the released generation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from pipeline.images.decode import PictureError
from pipeline.lake import Lake
from pipeline.models.detections import Box
from pipeline.release.pointer import current
from pipeline.serve.generation import Asked, Generation, Neighbour
from reporting.errors import DataError, UsageError

BoxList = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the upright original."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QueryBox(_Frozen):
    """The part of the picture that was searched."""

    box: BoxList
    score: float = Field(ge=0, le=1)
    """How sure the detector is that an object is there; 0 where it found none there."""
    category: str | None
    """The one that was asked for or predicted; None where this release predicts none."""
    votes: dict[str, float]
    """Share of the nearest labelled objects' votes by category."""
    note: str = ""
    """What to know about the choice; left out of the JSON where there is nothing to say."""

    @model_serializer(mode="wrap")
    def _without_empty_note(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        return {name: value for name, value in written.items() if name != "note" or value}


class OtherBox(_Frozen):
    """Another object of the picture, to be searched by its box."""

    box: BoxList
    score: float = Field(ge=0, le=1)
    category: str
    """The detector's; "" where it knows no classes."""


class Offer(_Frozen):
    """One merchant's listing of the product a hit shows."""

    sku: str
    merchant: str
    title: str


class Result(_Frozen):
    """One hit."""

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
    box: BoxList | None = None
    """Where in that picture; None where the item is the whole picture, of before there was a detector."""


class Answer(_Frozen):
    """What was searched for in one picture, the hits, nearest first, and the generation that gave them."""

    generation: int
    object: QueryBox
    others: list[OtherBox]
    reason: str
    """Why that category, or why all of them; one sentence."""
    results: list[Result]


def released(lake: Lake) -> tuple[int, Generation]:
    """Return the released generation and its number.

    Raises:
        UsageError: nothing has been released yet.
    """
    manifest = current(Path(lake.full("")))
    if manifest is None:
        raise UsageError(f"{lake.root}: nothing has been released yet; run a day to its end first")
    return manifest.number, Generation(lake, manifest.categories, manifest.front)


def answer(lake: Lake, picture: Path, k: int, category: str | None = None, box: Box | None = None) -> Answer:
    """Search a picture file; arguments and errors are those of `answer_all`."""
    return answer_all(lake, [picture], k, category, box)[0]


def answer_all(
    lake: Lake, pictures: Sequence[Path], k: int, category: str | None = None, box: Box | None = None
) -> list[Answer]:
    """Search picture files, all by one generation and together.

    Args:
        lake: holds the release.
        pictures: files.
        k: hits wanted for each, >= 1.
        category: search this one instead of the predicted one.
        box: search this part of every picture instead of its most confident object.

    Raises:
        DataError: a file cannot be read, or is no picture; or a model is not the one of the release.
        ConfigError: the category is not in the release.
        UsageError: nothing was released yet, or the box is not a part of a picture.
    """
    contents = [_read(picture) for picture in pictures]
    number, generation = released(lake)
    answers = []
    for picture, asked in zip(pictures, generation.ask(contents, k, category, box), strict=True):
        if isinstance(asked, PictureError):
            raise DataError(f"{picture}: {asked}; give a JPEG, PNG, WebP, GIF, BMP or TIFF picture")
        answers.append(_answer(number, generation, asked))
    return answers


def _read(picture: Path) -> bytes:
    try:
        return picture.read_bytes()
    except OSError as error:
        raise DataError(f"{picture}: the query picture cannot be read: {error.strerror}") from error


def _answer(number: int, generation: Generation, asked: Asked) -> Answer:
    seen, decision = asked.object, asked.decision
    votes = {} if decision is None else decision.votes
    return Answer(
        generation=number,
        object=QueryBox(
            box=seen.box,
            score=round(seen.score, 4),
            category=asked.route.category,
            votes={
                name: round(share, 4) for name, share in sorted(votes.items(), key=lambda vote: (-vote[1], vote[0]))
            },
            note="; ".join(note for note in (seen.note, asked.route.note) if note),
        ),
        others=[OtherBox(box=one.box, score=round(one.score, 4), category=one.label) for one in seen.others],
        reason=asked.route.reason,
        results=[_result(generation, rank, hit) for rank, hit in enumerate(asked.hits, start=1)],
    )


def _result(generation: Generation, rank: int, hit: Neighbour) -> Result:
    row = generation.item(hit)
    return Result(
        rank=rank,
        item=hit.id,
        group=hit.group,
        offers=[Offer(sku=one["sku"], merchant=one["merchant"], title=one["title"]) for one in row["offers"]],
        category=hit.category,
        title=row["title"],
        distance=round(hit.distance, 6),
        picture=row["picture"],
        box=box_of_row(row),
    )


def box_of_row(row: dict[str, Any]) -> Box | None:
    """Return an item row's box; None for one written before there was a detector."""
    corners = [row.get(name) for name in Box._fields]
    return None if None in corners else Box(*(int(corner) for corner in corners if corner is not None))
