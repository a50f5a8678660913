"""A self-contained HTML page with queries and the pictures found for them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from pipeline.images.decode import DecodeLimits, decode_rgb
from pipeline.lake import Lake
from pipeline.serve.answer import Answer, released

_SIDE = 240


def write_contact_sheet(path: Path, lake: Lake, queries: Sequence[tuple[Path, Answer]], title: str) -> None:
    """Write the page; every picture is a small JPEG inside it, so it needs no other file and no network."""
    number, generation = released(lake)
    rows = {row["id"]: row for shelf in generation.shelves.values() for row in shelf.items.values()}
    sections = []
    for query, answer in queries:
        hits = []
        for result in answer.results:
            row = rows[result.item]
            with lake.open_pack(row["pack"]) as pack:
                image = _inline(pack.read(row["offset"], row["bytes"]))
            hits.append({**result.model_dump(), "image": image})
        sections.append({"name": query.name, "image": _inline(query.read_bytes()), "hits": hits})
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("contact_sheet.html.j2").render(title=title, generation=number, queries=sections)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _inline(data: bytes) -> str:
    """Return a picture as a data URL of a JPEG with a longer side of at most 240 px."""
    image = Image.fromarray(decode_rgb(data, min_side=_SIDE, limits=DecodeLimits()))
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
