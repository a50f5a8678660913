"""What arrives in the demo: items, rows of the source manifest, and the fault each row carries."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from reporting.errors import DataError

LOOKS: Final = ("noto", "twemoji", "fluent")
MERCHANTS: Final = {"noto": "noto-house", "twemoji": "tweet-shop"}
"""The looks that are catalogue pictures, and the merchant that sells under each; the third is the users'."""

_SKU_PREFIX = {"noto-house": "NH", "tweet-shop": "TS"}


class Fault(StrEnum):
    """What is wrong with a row, if anything; the value is the name in ``fates.csv`` and ``truth.json``."""

    NONE = "none"
    DUPLICATE_ROW = "duplicate_row"
    DEAD_LINK = "dead_link"
    NOT_AN_IMAGE = "not_an_image"
    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    LOW_CONTRAST = "low_contrast"
    BAD_ASPECT = "bad_aspect"
    TRUNCATED = "truncated"
    RECRAWLED = "recrawled"
    MOVED = "moved"
    COPIED = "copied"
    RECOMPRESSED = "recompressed"
    RESIZED = "resized"
    OFF_SHELF = "off_shelf"
    SET = "set"
    """Sound: the first row of a picture that shows several items, each of them offered by a row of its own."""
    IN_SET = "in_set"
    """A further row of such a picture: the same file, another offer."""


SOUND: Final = frozenset({Fault.NONE, Fault.SET})
"""Rows that nothing is wrong with: one picture each reaches detect."""

DROPPED_BY: Final[dict[Fault, tuple[str, str]]] = {
    Fault.DUPLICATE_ROW: ("collect", "duplicate_row"),
    Fault.DEAD_LINK: ("download", "dead_link"),
    Fault.NOT_AN_IMAGE: ("download", "not_an_image"),
    Fault.TOO_SMALL: ("quality", "too_small"),
    Fault.BLURRED: ("quality", "blurred"),
    Fault.LOW_CONTRAST: ("quality", "low_contrast"),
    Fault.BAD_ASPECT: ("quality", "bad_aspect"),
    Fault.TRUNCATED: ("quality", "truncated"),
    Fault.RECRAWLED: ("dedup", "exact_duplicate"),
    Fault.MOVED: ("dedup", "exact_duplicate"),
    Fault.COPIED: ("dedup", "exact_duplicate"),
    Fault.RECOMPRESSED: ("dedup", "near_duplicate"),
    Fault.RESIZED: ("dedup", "near_duplicate"),
    Fault.OFF_SHELF: ("listing", "off_shelf"),
    Fault.IN_SET: ("dedup", "exact_duplicate"),
}
"""The task and reason a row with this fault is dropped by. In ``dedup`` it may be the row it repeats instead
(of two that arrive on one day the lower item id stays): the count is the same."""


class Encoding(StrEnum):
    """How a merchant serves a sound picture; every one of them must be read and kept."""

    JPEG = "jpeg"
    PNG = "png"
    ALPHA_PNG = "alpha_png"
    PALETTE_PNG = "palette_png"
    ANIMATED_GIF = "animated_gif"
    CMYK_JPEG = "cmyk_jpeg"
    TURNED_JPEG = "turned_jpeg"
    WEBP = "webp"

    @property
    def ending(self) -> str:
        """The file ending, with its dot."""
        return {"jpeg": ".jpg", "png": ".png", "gif": ".gif", "webp": ".webp"}[self.value.split("_")[-1]]


SPECIAL_ENCODINGS: Final = tuple(e for e in Encoding if e not in (Encoding.JPEG, Encoding.PNG))


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the pack's ``items.csv``: the codepoint is the product group of the catalogue of record."""

    group: str
    name: str
    category: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a day's source manifest, with what the pipeline is not told.

    Attributes:
        day: The manifest the row stands in.
        item: What the row offers.
        look: Of which pack look the picture is drawn.
        merchant: Who sells it; a reseller's differs from the look's own.
        sku: The merchant's own number.
        title: As the merchant words it.
        listed: Whether it is on the shelf.
        strategy: Of the crawl: directed, long-tail, replay or discovery.
        path: Of the picture, relative to the demo's folder.
        fault: What is wrong with it.
        encoding: How the picture is served, where the fault does not say.
        base: For a repetition the row it repeats, else None.
        in_set: All items of a composed picture, in the order they are drawn; () for a picture of one.
    """

    day: date
    item: Item
    look: str
    merchant: str
    sku: str
    title: str
    listed: bool
    strategy: str
    path: PurePosixPath
    fault: Fault
    encoding: Encoding
    base: Row | None = None
    in_set: tuple[Item, ...] = ()

    @property
    def dropped_by(self) -> tuple[str, str] | None:
        """The task and reason that drop this row, or None when its picture reaches detect."""
        return DROPPED_BY.get(self.fault)

    @property
    def shown(self) -> tuple[Item, ...]:
        """All items that the picture shows."""
        return self.in_set or (self.item,)


def original(item: Item, look: str, day: date, *, encoding: Encoding, strategy: str) -> Row:
    """Return the row under which a merchant first offers an item, with nothing wrong."""
    merchant = MERCHANTS[look]
    sku = f"{_SKU_PREFIX[merchant]}-{item.group.upper()}"
    path = PurePosixPath("pictures", day.isoformat(), f"{sku.lower()}{encoding.ending}")
    title = item.name.replace("-", " ").capitalize()
    return Row(day, item, look, merchant, sku, title, True, strategy, path, Fault.NONE, encoding)


def variant(base: Row, day: date, fault: Fault, number: int, *, strategy: str, resold: bool = False) -> Row:
    """Return a further row about the item of ``base``: a second view under its own sku, or a reseller's offer.

    Args:
        base: An original.
        day: When it arrives.
        fault: What is wrong with it.
        number: Makes sku and path unique among all rows.
        strategy: Of the crawl.
        resold: Offered by the other merchant.
    """
    merchant = next(m for m in MERCHANTS.values() if (m != base.merchant) == resold)
    sku = f"{_SKU_PREFIX[merchant]}-{base.item.group.upper()}-{number}"
    # A copy keeps its encoding; every other fault is served as JPEG, or pretends to be.
    encoding = base.encoding if fault is Fault.COPIED else Encoding.JPEG
    path = PurePosixPath("pictures", day.isoformat(), f"{sku.lower()}{encoding.ending}")
    return replace(
        base,
        day=day,
        merchant=merchant,
        sku=sku,
        title=f"{base.title}, view {number}",
        listed=fault is not Fault.OFF_SHELF,
        strategy=strategy,
        path=path,
        fault=fault,
        encoding=encoding,
        base=base,
    )


def replayed(base: Row, day: date, fault: Fault, number: int) -> Row:
    """Return a later sighting of an offer: at its old address (``RECRAWLED``), else at a new one."""
    again = replace(base, day=day, strategy="replay", fault=fault, base=base)
    if fault is Fault.RECRAWLED:
        return again
    encoding = base.encoding if fault is Fault.MOVED else Encoding.JPEG
    name = f"{base.sku.lower()}-again-{number}{encoding.ending}"
    path = PurePosixPath("pictures", day.isoformat(), name)
    return replace(again, path=path, encoding=encoding)


def together(
    items: Sequence[tuple[Item, int]], look: str, day: date, number: int, *, encoding: Encoding, strategy: str
) -> list[Row]:
    """Return the rows of one picture that shows several items of a merchant: an offer each, one path for all.

    Args:
        items: What it shows, each with a number that makes its sku unique among all rows.
        look: Of all of them.
        day: When it arrives.
        number: Makes the path unique among the merchant's composed pictures of the day.
        encoding: How the picture is served.
        strategy: Of the crawl.
    """
    in_set = tuple(item for item, _ in items)
    name = f"{_SKU_PREFIX[MERCHANTS[look]].lower()}-set-{number}{encoding.ending}"
    rows: list[Row] = []
    for item, view in items:
        offer = original(item, look, day, encoding=encoding, strategy=strategy)
        row = replace(
            offer,
            sku=f"{offer.sku}-{view}",
            title=f"{offer.title}, in a set",
            path=offer.path.with_name(name),
            fault=Fault.IN_SET if rows else Fault.SET,
            base=rows[0] if rows else None,
            in_set=in_set,
        )
        rows.append(row)
    return rows


def read_items(samples: Path) -> tuple[Item, ...]:
    """Read the pack's list of items, in file order.

    Raises:
        DataError: ``items.csv`` is missing, has other columns, or is empty.
    """
    path = samples / "items.csv"
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the folder of the sample pack; pass its path")
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if reader.fieldnames != ["item", "name", "category"]:
            raise DataError(
                f"{path}:1: columns are {reader.fieldnames}; expected item,name,category; correct the header"
            )
        items = tuple(Item(row["item"], row["name"], row["category"]) for row in reader)
    if not items:
        raise DataError(f"{path}: no items; expected at least one line after the header; use the pack as it came")
    return items
