"""A self-contained HTML page: each query with its object, its category and why, and the objects found for it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from pipeline.images.crop import DEFAULT_MARGIN, crop_object, upright_size
from pipeline.images.decode import DecodeLimits
from pipeline.lake import Lake
from pipeline.models.detections import Box
from pipeline.serve.answer import Answer, Result, released
from pipeline.serve.generation import Generation
from reporting.errors import UsageError

_QUERY_SIDE = 420  # longer side in pixels: what a page of many queries can carry
_SIDE = 240
_LIMITS = DecodeLimits()


class Drawn(NamedTuple):
    """A picture on the page, with the box of its object and that object alone."""

    image: str
    """Data URL of a small JPEG."""
    width: int
    """Of the upright original, in whose pixels the boxes are drawn."""
    height: int
    box: Box | None
    """None where the object is the whole picture."""
    crop: str | None
    """Data URL of the object alone, as it was embedded; None likewise."""


def write_contact_sheet(path: Path, lake: Lake, queries: Sequence[tuple[Path, Answer]], title: str) -> None:
    """Write the page; every picture is a small JPEG inside it, so it needs no other file and no network.

    Args:
        path: the page; its folder is made if missing.
        lake: holds the pictures of the hits.
        queries: picture files and what was answered, all by the release that is current.
        title: of the page.

    Raises:
        UsageError: an answer is of a release that is not current any more.
    """
    number, generation = released(lake)
    margin = DEFAULT_MARGIN if generation.front is None else generation.front.margin
    sections = []
    for query, answer in queries:
        if answer.generation != number:
            raise UsageError(f"{query}: was answered by release {answer.generation}, now it is {number}; search again")
        hits = [
            {**result.model_dump(), "drawn": _draw(_picture(lake, generation, result), result.box, margin, _SIDE)}
            for result in answer.results
        ]
        drawn = _draw(query.read_bytes(), Box(*answer.object.box), margin, _QUERY_SIDE)
        sections.append({"name": query.name, "drawn": drawn, "answer": answer, "hits": hits})
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("contact_sheet.html.j2").render(title=title, generation=number, queries=sections)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _picture(lake: Lake, generation: Generation, result: Result) -> bytes:
    row: dict[str, Any] = generation.shelves[result.category].item(result.item)
    with lake.open_pack(row["pack"]) as pack:
        return pack.read(row["offset"], row["bytes"])


def _draw(data: bytes, corners: Sequence[int] | None, margin: float, side: int) -> Drawn:
    whole = Box(0, 0, *upright_size(data, _LIMITS))
    box = None if corners is None or Box(*corners) == whole else Box(*corners)
    crop = None if box is None else _inline(data, box, margin, _SIDE)
    return Drawn(_inline(data, None, margin, side), whole.width, whole.height, box, crop)


def _inline(data: bytes, box: Box | None, margin: float, side: int) -> str:
    """Return a picture, or one object of it, as a data URL of a JPEG with a longer side of at most `side` pixels."""
    image = Image.fromarray(crop_object(data, box, margin=margin, side=side, limits=_LIMITS))
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
