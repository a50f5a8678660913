"""A self-contained HTML page: pictures of several items, and what the detector found in them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from pipeline.demo.detection import MIN_IOU, Judged
from pipeline.images.decode import DecodeLimits, decode_rgb
from pipeline.models.detections import Box

_SIDE: Final = 400
"""Longer side of a picture on the page, in pixels."""


def write_objects_page(path: Path, pictures: Sequence[Judged], names: dict[str, str]) -> None:
    """Write the page; every picture is a small JPEG inside it, so it needs no other file and no network.

    Args:
        path: of the page.
        pictures: what to show, in this order.
        names: of the items, by group.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
    )
    template = environment.get_template("objects.html.j2")
    page = template.render(pictures=[_shown(one, names) for one in pictures], min_iou=MIN_IOU)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _shown(picture: Judged, names: dict[str, str]) -> dict[str, Any]:
    image = Image.fromarray(decode_rgb(picture.path.read_bytes(), min_side=4096, limits=DecodeLimits()))
    size = image.size
    found = []
    for one, place in zip(picture.found, picture.matches, strict=True):
        item = None if place is None else picture.drawn[place]
        state = "stray" if item is None else "right" if item.category == one.category else "elsewhere"
        name = "no item" if item is None else names[item.group]
        truth = "" if item is None else item.category
        found.append({**one._asdict(), "place": _place(one.box, size), "state": state, "name": name, "truth": truth})
    missed = [
        {"name": names[item.group], "truth": item.category, "place": _place(item.box, size)}
        for at, item in enumerate(picture.drawn)
        if at not in picture.matches
    ]
    return {"name": "/".join(picture.path.parts[-2:]), "image": _inline(image), "found": found, "missed": missed}


def _place(box: Box, size: tuple[int, int]) -> str:
    """Return the CSS that lays a box over its picture, whatever its size on the screen."""
    width, height = size
    return (
        f"left:{100 * box.x0 / width:.2f}%;top:{100 * box.y0 / height:.2f}%;"
        f"width:{100 * box.width / width:.2f}%;height:{100 * box.height / height:.2f}%"
    )


def _inline(image: Image.Image) -> str:
    """Return a picture as a data URL of a JPEG with a longer side of at most 400 px."""
    small = image.copy()
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
