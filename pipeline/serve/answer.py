"""Answer pictures from the released generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, TypeAdapter, model_serializer

from pipeline.images.decode import PictureError
from pipeline.lake import Lake
from pipeline.models.detections import Box
from pipeline.release.pointer import current
from pipeline.release.withheld import WithheldList, withheld
from pipeline.serve.generation import Asked, Generation, Neighbour
from pipeline.serve.ranking import Ranked, search_ranked
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
    items: tuple[int, ...] = ()
    """Ids of all items of the product that were found, the shown one first."""


_RESULTS: Final = TypeAdapter(list[Result])


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
    return manifest.number, Generation(lake, manifest.categories, manifest.front, manifest.ranking)


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
    hidden = withheld(Path(lake.full("")))
    answers = []
    for picture, found in zip(pictures, ask_ranked(generation, contents, k, category, box, hidden), strict=True):
        if isinstance(found, PictureError):
            raise DataError(f"{picture}: {found}; give a JPEG, PNG, WebP, GIF, BMP or TIFF picture")
        answers.append(answer_of(number, *found))
    return answers


def ask_ranked(
    generation: Generation,
    pictures: Sequence[bytes],
    k: int,
    category: str | None,
    box: Box | None,
    hidden: WithheldList,
) -> list[tuple[Asked, list[Ranked]] | PictureError]:
    """Ask a generation and rank what it finds, by its own settings.

    Objects are found and embedded once, however often more neighbours are fetched.

    Args:
        generation: What answers.
        pictures: Encoded pictures.
        k: Results wanted for each, >= 1.
        category: As for `Generation.ask`.
        box: As for `Generation.ask`.
        hidden: What must not be shown now.

    Returns:
        One for each picture, in order; the error of one that cannot be decoded. The errors are those of
        `Generation.ask`.
    """
    looked = generation.look(pictures, category, box)
    wanted, count = looked.wanted, k * generation.ranking.overfetch
    nearest = generation.search_in(looked.vectors, wanted, count)

    def fetch(row: int, more: int) -> list[Neighbour]:
        if more <= count:
            return nearest[row][:more]
        alone = [categories if place == row else () for place, categories in enumerate(wanted)]
        return generation.search_in(looked.vectors, alone, more)[row]

    rows = iter(range(len(wanted)))
    ranked: list[tuple[Asked, list[Ranked]] | PictureError] = []
    for one in looked.asked:
        if isinstance(one, PictureError):
            ranked.append(one)
            continue
        row = next(rows)
        results = search_ranked(partial(fetch, row), generation.ranking, k, withheld=hidden, rows_of=generation.rows_of)
        ranked.append((one._replace(hits=nearest[row][:k]), results))
    return ranked


def _read(picture: Path) -> bytes:
    try:
        return picture.read_bytes()
    except OSError as error:
        raise DataError(f"{picture}: the query picture cannot be read: {error.strerror}") from error


def answer_of(number: int, asked: Asked, ranked: Sequence[Ranked]) -> Answer:
    """Write down one query's answer.

    Args:
        number: Of the generation.
        asked: What was searched for, as what, where.
        ranked: What is shown, best first.
    """
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
        results=results_of(ranked),
    )


def results_of(ranked: Sequence[Ranked]) -> list[Result]:
    """Write down what is shown, best first."""
    return _RESULTS.validate_python(plain_results(ranked))


def plain_results(ranked: Sequence[Ranked]) -> list[dict[str, Any]]:
    """Return what is shown, best first, as the values that the JSON of a `Result` holds."""
    return [
        {
            "rank": rank,
            "item": one.hit.id,
            "group": one.group,
            "offers": [{"sku": of["sku"], "merchant": of["merchant"], "title": of["title"]} for of in one.offers],
            "category": one.hit.category,
            "title": one.title,
            "distance": round(one.hit.distance, 6),
            "picture": one.row["picture"],
            "box": box_of_row(one.row),
            "items": tuple([item.id for item in one.items]),
        }
        for rank, one in enumerate(ranked, start=1)
    ]


def box_of_row(row: Mapping[str, Any]) -> Box | None:
    """Return an item row's box; None for one written before there was a detector."""
    corners = []
    for name in Box._fields:
        if (corner := row.get(name)) is None:
            return None
        corners.append(int(corner))
    return Box(*corners)
