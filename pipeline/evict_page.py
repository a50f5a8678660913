"""A self-contained page: for each reason some pictures that stay or go, and beside them what stays instead."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.evict.audit import audit_rows, explain_row
from pipeline.evict.decisions import Reason
from reporting.text_file import replace_text

if TYPE_CHECKING:
    from pipeline.evict_day import Decided
    from pipeline.place import Place

EXAMPLES: Final = 12
"""Pictures of each reason; evenly spread over all of them."""
_SIDE: Final = 160
_GOING_FIRST: Final = sorted(Reason, key=lambda reason: (reason.keeps, reason))


def write_page(place: Place, found: Decided, path: Path) -> None:
    """Write the page; every picture is a small JPEG inside it, so it needs no other file and no network.

    Raises:
        StoreError: The disk refuses; what was there stays.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "evict" / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    sections = _sections(place, found)
    page = environment.get_template("evict_plan.html.j2").render(
        day=found.day.isoformat(), rows=len(found.stored), sections=sections
    )
    replace_text(path, page, "name another file by --page")


def _sections(place: Place, found: Decided) -> list[dict[str, Any]]:
    sections = []
    for reason in _GOING_FIRST:
        rows = np.flatnonzero(found.decisions.reason == reason)
        if not len(rows):
            continue
        some = rows[:: max(1, len(rows) // EXAMPLES)][:EXAMPLES]
        chosen = audit_rows(found.stored, found.decisions, found.names, some).to_pylist()
        known = _known(found, {one[name] for one in chosen for name in ("picture", "better")})
        sections.append(
            {
                "reason": reason.label.replace("_", " "),
                "keeps": reason.keeps,
                "count": len(rows),
                "pictures": [_shown(place, known, row) for row in chosen],
            }
        )
    return sections


def _known(found: Decided, pictures: set[str | None]) -> dict[str, dict[str, Any]]:
    """Return title and place of some pictures of the library."""
    ids = found.names.ids_of(one for one in pictures if one is not None)
    rows = ids if found.names.live_rows is None else np.sort(found.names.live_rows[ids])
    columns = ("picture", "title", "pack", "offset", "bytes")
    return {row["picture"]: row for row in found.library.rows(rows, columns).to_pylist()}


def _shown(place: Place, known: dict[str, dict[str, Any]], row: dict[str, Any]) -> dict[str, Any]:
    better = row["better"]
    return {
        "picture": row["picture"],
        "title": known[row["picture"]]["title"] or "",
        "text": explain_row(row).replace(better or "", (better or "")[:12]),
        "image": _inline(place, known[row["picture"]]),
        "instead": _inline(place, known[better]) if better in known else None,
    }


def _inline(place: Place, row: dict[str, Any]) -> str | None:
    """Return a picture as a data URL; None where it was let go, its file is gone or cannot be decoded."""
    from PIL import Image

    from pipeline.images.decode import DecodeLimits, PictureError, decode_rgb
    from pipeline.lake import LetGo
    from reporting.errors import StoreError

    try:
        with place.lake.open_pack(row["pack"]) as pack:
            data: bytes = pack.read(row["offset"], row["bytes"])
        image = Image.fromarray(decode_rgb(data, min_side=_SIDE, limits=DecodeLimits()))
    except (LetGo, PictureError, StoreError):  # the page says so in its place
        return None
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
