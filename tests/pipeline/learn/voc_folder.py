"""Small folders in Pascal VOC's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

Marked = tuple[str, float | str, float | str, float | str, float | str]
"""Class, xmin, ymin, xmax, ymax, counted from 1 and the last included."""


def annotation(*objects: Marked) -> bytes:
    """Return the XML of one picture."""
    parts = [
        f"<object><name>{name}</name><pose>x</pose><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    ]
    return f"<annotation><size><width>9</width></size>{''.join(parts)}</annotation>".encode()


def voc_folder(
    folder: Path,
    pictures: Mapping[str, Sequence[Marked]],
    *,
    size: tuple[int, int] = (40, 30),
    colour: int = 0,
    **lists: Sequence[str],
) -> Path:
    """Write pictures of one colour with these boxes, and lists of their names."""
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for stem, boxes in pictures.items():
        Image.new("RGB", size, (colour,) * 3).save(folder / "JPEGImages" / f"{stem}.jpg")
        (folder / "Annotations" / f"{stem}.xml").write_bytes(annotation(*boxes))
    for name, stems in lists.items():
        (folder / "ImageSets/Main" / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    return folder
