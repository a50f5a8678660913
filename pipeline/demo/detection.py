"""What the detector made of the demo's pictures, held against what was drawn into them."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date as Date
from pathlib import Path
from typing import Any, Final, NamedTuple

import samples
from pipeline.lake import Lake
from pipeline.models.detections import Box
from pipeline.partitions import Partitions

MIN_IOU: Final = 0.5
"""From which overlap on a found box is the drawn one (PASCAL VOC, and AP50 of COCO)."""


class Drawn(NamedTuple):
    """An item that was drawn into a picture."""

    group: str
    category: str
    box: Box


class FoundObject(NamedTuple):
    """An object that detect booked."""

    id: int
    box: Box
    score: float
    detected: str
    """The detector's own class; "" where it has none."""
    category: str
    """Where categorise put it; "" where it was dropped on the way there or right after."""


class Judged(NamedTuple):
    """A picture of the day: what was drawn, what was found, and which is which."""

    path: Path
    drawn: tuple[Drawn, ...]
    found: tuple[FoundObject, ...]
    matches: tuple[int | None, ...]
    """For each of `found` its place in `drawn`; None: a box around no item."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over pictures; a ratio of nothing is None.

    Attributes:
        pictures: that reached detect.
        drawn: items in them.
        hit: of `drawn` those with a found box of their own, `MIN_IOU` or more.
        found: boxes in them.
        placed: of `hit` those that categorise put into their true category.
        detected: of `hit` those that the detector's own class names rightly.
    """

    pictures: int = 0
    drawn: int = 0
    hit: int = 0
    found: int = 0
    placed: int = 0
    detected: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Return the sums of both."""
        return Tally(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def recall(self) -> float | None:
        """Share of the drawn items that were found."""
        return self.hit / self.drawn if self.drawn else None

    @property
    def precision(self) -> float | None:
        """Share of the found boxes that hold an item, each item counted once."""
        return self.hit / self.found if self.found else None

    @property
    def category_accuracy(self) -> float | None:
        """Share of the found items that went to their category."""
        return self.placed / self.hit if self.hit else None

    @property
    def detector_accuracy(self) -> float | None:
        """Share of the found items whose class the detector alone would have said."""
        return self.detected / self.hit if self.hit else None

    def document(self) -> dict[str, int | float | None]:
        """Return counts and ratios, for ``--json``."""
        names = ("recall", "precision", "category_accuracy", "detector_accuracy")
        ratios = {name: getattr(self, name) for name in names}
        return {**{field.name: getattr(self, field.name) for field in fields(self)}, **ratios}


def match(drawn: Sequence[Drawn], found: Sequence[FoundObject]) -> tuple[int | None, ...]:
    """Return for each found object the drawn item it stands for, or None.

    By falling score (ties: by box) each takes, of the items that are still free, the one it overlaps most, from
    `MIN_IOU` on; equal overlaps go to the earlier item.
    """
    free = set(range(len(drawn)))
    matches: dict[int, int] = {}
    for at in sorted(range(len(found)), key=lambda at: (-found[at].score, found[at].box)):
        overlaps = [(found[at].box.iou(drawn[one].box), -one) for one in free]
        best, place = max(overlaps, default=(0.0, 0))
        if best >= MIN_IOU:
            matches[at] = -place
            free.remove(-place)
    return tuple(matches.get(at) for at in range(len(found)))


def tally(pictures: Iterable[Judged], counts: Callable[[str], bool] | None = None) -> Tally:
    """Sum up pictures.

    Args:
        pictures: any number, also none.
        counts: whether to count the items of a group; None: of all. A box around no item belongs to no group, so
            `found` is then 0 and the precision None.
    """
    total = Tally()
    for picture in pictures:
        asked = [counts is None or counts(one.group) for one in picture.drawn]
        pairs = [
            (picture.drawn[place], one)
            for one, place in zip(picture.found, picture.matches, strict=True)
            if place is not None and asked[place]
        ]
        total += Tally(
            pictures=1,
            drawn=sum(asked),
            hit=len(pairs),
            found=len(picture.found) if counts is None else 0,
            placed=sum(one.category == item.category for item, one in pairs),
            detected=sum(one.detected == item.category for item, one in pairs),
        )
    return total


@dataclass(frozen=True, slots=True)
class Report:
    """What was made of the pictures of some days."""

    days: Mapping[Date, tuple[Judged, ...]]

    @property
    def pictures(self) -> tuple[Judged, ...]:
        """All of them, by day and path."""
        return tuple(picture for pictures in self.days.values() for picture in pictures)

    @property
    def total(self) -> Tally:
        """The sums of all days."""
        return tally(self.pictures)

    def of_items(self, *, held_out: bool) -> Tally:
        """Return the sums over the items that nothing shipped was trained on (`samples.held_out`), or the others."""
        return tally(self.pictures, lambda group: samples.held_out(group) == held_out)

    def document(self) -> dict[str, Any]:
        """Return all of it, for ``--json``: ``days`` by ISO date, ``total``, ``trained`` and ``held_out``."""
        return {
            "min_iou": MIN_IOU,
            "days": {day.isoformat(): tally(pictures).document() for day, pictures in self.days.items()},
            "total": self.total.document(),
            "trained": _of_a_part(self.of_items(held_out=False)),
            "held_out": _of_a_part(self.of_items(held_out=True)),
        }


def _of_a_part(sums: Tally) -> dict[str, int | float | None]:
    """Leave out what cannot be said of some of the items alone."""
    return {name: value for name, value in sums.document().items() if name not in ("pictures", "found", "precision")}


def read_boxes(path: Path) -> dict[str, tuple[Drawn, ...]]:
    """Return the content of ``objects.csv`` or ``query_boxes.csv`` of the arrivals, by path as written there."""
    found: dict[str, list[Drawn]] = {}
    with path.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            box = Box(*(int(row[name]) for name in Box._fields))
            found.setdefault(row["path"], []).append(Drawn(row["group"], row["category"], box))
    return {name: tuple(drawn) for name, drawn in found.items()}


def read_drawn(arrivals: Path) -> dict[str, tuple[Path, tuple[Drawn, ...]]]:
    """Return what is in each picture of the arrivals, by the sha256 of its bytes, and a file of these bytes."""
    files = ((arrivals / name, drawn) for name, drawn in read_boxes(arrivals / "objects.csv").items())
    return {hashlib.sha256(path.read_bytes()).hexdigest(): (path, drawn) for path, drawn in files}


def judge_day(
    lake: Lake, partitions: Partitions, day: Date, drawn: Mapping[str, tuple[Path, tuple[Drawn, ...]]]
) -> tuple[Judged, ...]:
    """Return the pictures of a day that reached detect, by path, as the effective plan has them.

    Args:
        lake: where the partitions lie.
        partitions: which of them count.
        day: which day.
        drawn: from `read_drawn`; a picture that is not there shows no item, and has its sha256 for a path.
    """
    arrived = [
        picture
        for part in partitions.of_task("listing", day)
        for picture in lake.read_table(f"{part.folder}/items.parquet", ["picture"])["picture"].to_pylist()
    ]
    found = _found(lake, partitions, day)
    judged = []
    for picture in arrived:
        path, items = drawn.get(picture, (Path(picture), ()))
        objects = tuple(found.get(picture, ()))
        judged.append(Judged(path, items, objects, match(items, objects)))
    return tuple(sorted(judged, key=lambda one: one.path))


def _found(lake: Lake, partitions: Partitions, day: Date) -> dict[str, list[FoundObject]]:
    """Return the objects of a day by picture, in the order of their ordinals."""
    categories: dict[str, str] = {}
    for part in partitions.of_task("embed", day):
        for name in lake.read_table(f"{part.folder}/items.parquet", ["object"])["object"].to_pylist():
            categories[name] = part.leaf.category
    found: dict[str, list[FoundObject]] = {}
    for part in partitions.of_task("detect", day):
        columns = ["object", "ordinal", "id", "picture", "x0", "y0", "x1", "y1", "score", "detected"]
        rows = lake.read_table(f"{part.folder}/items.parquet", columns).sort_by("ordinal").to_pylist()
        for row in rows:
            box = Box(row["x0"], row["y0"], row["x1"], row["y1"])
            one = FoundObject(row["id"], box, row["score"], row["detected"], categories.get(row["object"], ""))
            found.setdefault(row["picture"], []).append(one)
    return found
