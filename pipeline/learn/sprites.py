"""Cut-out items to paste: the sample pack's pictures, and catalogue pictures cut from their white background."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from reporting.errors import ConfigError, DataError
from samples import held_out

_VISIBLE = 40
"""Alpha from which a pixel belongs to an item: below it are soft edges and shadows."""
_ICONIC_CATEGORY = {"Fruit": "food-fruit", "Vegetables": "food-fruit"}
"""What the sample pack calls them; packages (milk, juice) have no class of their own and teach boxes only."""


class Sprite(NamedTuple):
    """One cut-out picture of an item."""

    name: str
    category: str | None
    """None: teaches where an object is, not what it is."""
    image: Image.Image
    """RGBA, trimmed to what can be seen."""


Part: TypeAlias = Literal["train", "tune", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "tune", "test")


def part_of(item: str) -> Part:
    """Return what an item may be used for: `test` for `samples.held_out` ones, of the rest one in eight to `tune`.

    Thresholds and calibration are fitted on `tune`: on items that were trained on every detector is over-confident.
    """
    if held_out(item):
        return "test"
    return "tune" if int(hashlib.sha256(item.encode()).hexdigest()[8:16], 16) % 8 == 0 else "train"


def sample_sprites(samples: Path, looks: Sequence[str], part: Part) -> list[Sprite]:
    """Return the sample pack's pictures of a part's items, by (look, item).

    Raises:
        ConfigError: an unknown look, with the nearest, or none.
        DataError: a picture is missing.
    """
    with (samples / "items.csv").open(newline="", encoding="utf-8") as lines:
        items = [(row["item"], row["category"]) for row in csv.DictReader(lines)]
    known = sorted(path.name for path in (samples / "pictures").iterdir() if path.is_dir())
    found = []
    for look in looks:
        if look not in known:
            raise ConfigError.unknown_name("look", look, known, str(samples / "pictures"))
        for item, category in items:
            if part_of(item) == part:
                found.append(Sprite(f"{look}/{item}", category, trimmed(_read_rgba(samples / "pictures" / look, item))))
    if not found:
        raise ConfigError(f"source.looks: no pictures to draw from; name some of {', '.join(known)}")
    return found


def iconic_sprites(folder: Path) -> list[Sprite]:
    """Return the Grocery Store Dataset's catalogue pictures without their white background, by path.

    Raises:
        DataError: the folder holds none.
    """
    root = folder / "iconic-images-and-descriptions"
    found = []
    for path in sorted(root.rglob("*_Iconic.jpg")):
        with Image.open(path) as picture:
            cut = trimmed(without_white(picture.convert("RGB")))
        found.append(Sprite(f"iconic/{path.stem}", _ICONIC_CATEGORY.get(path.relative_to(root).parts[0]), cut))
    if not found:
        raise DataError(f"{root}: no catalogue pictures (*_Iconic.jpg); name the folder of the Grocery Store Dataset")
    return found


def trimmed(image: Image.Image) -> Image.Image:
    """Return an RGBA picture cropped to what can be seen of it.

    Raises:
        DataError: nothing can be seen.
    """
    box = visible_box(image)
    if box is None:
        raise DataError("a cut-out item has no visible pixel; replace the picture")
    return image.crop(box)


def visible_box(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Return the box (x0, y0, x1, y1) around the pixels with alpha of at least 40; None where there are none."""
    return image.getchannel("A").point(lambda value: 255 if value >= _VISIBLE else 0).getbbox()


def without_white(picture: Image.Image) -> Image.Image:
    """Return RGBA whose white that touches the border is transparent; white within the item stays.

    A flood from the border over pixels of at least 244 in every channel, its edge softened by one pixel.
    """
    white = np.asarray(picture).min(axis=2) >= 244
    # A copy: what fromarray gives is read-only, and floodfill then does nothing and says nothing.
    ground = Image.fromarray(np.pad(white, 1, constant_values=True).astype(np.uint8) * 255).copy()
    ImageDraw.floodfill(ground, (0, 0), 128)
    item = np.asarray(ground)[1:-1, 1:-1] != 128
    alpha = Image.fromarray(item.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(1))
    cut = picture.convert("RGBA")
    cut.putalpha(alpha)
    return cut


def _read_rgba(folder: Path, item: str) -> Image.Image:
    paths = [path for ending in ("png", "webp") if (path := folder / f"{item}.{ending}").is_file()]
    if len(paths) != 1:
        raise DataError(f"{folder}: {len(paths)} PNG or WebP pictures of {item}; expected one; use the pack as it came")
    with Image.open(paths[0]) as picture:
        return picture.convert("RGBA")
