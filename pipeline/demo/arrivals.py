"""Writes the demo's source: a manifest a day, the pictures it points to, queries, and the injected truth."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from pipeline.demo.defects import repeated, spoiled
from pipeline.demo.drawing import compose, encode, load_look, visible_box, width_of
from pipeline.demo.photos import photo
from pipeline.demo.rows import LOOKS, SOUND, Fault, Item, Row, read_items
from pipeline.demo.schedule import schedule
from pipeline.demo.sets import compose_set
from pipeline.demo.truth import truth
from pipeline.models.detections import Box
from reporting.errors import ConfigError

_MANIFEST_COLUMNS: Final = ("path", "sku", "merchant", "category", "title", "listed", "strategy", "group")
_FATE_COLUMNS: Final = ("day", "line", "path", "sku", "merchant", "fault", "task", "reason", "base")
_OBJECT_COLUMNS: Final = ("path", "group", "category", "x0", "y0", "x1", "y1")
_COPIES: Final = (Fault.MOVED, Fault.COPIED)
_NEAR: Final = (Fault.RECOMPRESSED, Fault.RESIZED)
_NO_PICTURE: Final = (Fault.DEAD_LINK, Fault.RECRAWLED, Fault.DUPLICATE_ROW, Fault.IN_SET)

Placed = tuple[tuple[Item, Box], ...]
"""The items of a picture, each with its box in pixels of the upright picture."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Where everything was written, and how much of it.

    Attributes:
        folder: Holds all the others.
        manifests: ``source/{day}.csv`` by day, in order; paths in them are relative to ``source/``.
        queries: ``queries.csv`` with the columns path (relative to ``folder``), group, category.
        truth: ``truth.json``, see `pipeline.demo.truth`.
        fates: ``fates.csv``: every manifest line with its fault, the task and reason that drop it (empty when it
            is kept), and the path of the picture it repeats or is a further view of.
        objects: ``objects.csv``: path (relative to ``folder``), group, category, x0, y0, x1, y1 of every item in
            every picture that detect may see, so without those that an earlier task drops by a fault of their own.
        query_boxes: ``query_boxes.csv``: the same of the queries, one a photo.
        rows: Manifest rows of all days.
        pictures: Picture files written for them.
        photos: Query pictures.
    """

    folder: Path
    manifests: Mapping[date, Path]
    queries: Path
    truth: Path
    fates: Path
    objects: Path
    query_boxes: Path
    rows: int
    pictures: int
    photos: int


def write_arrivals(samples: Path, out: Path, *, first_day: date, days: int = 7, seed: int = 7) -> Arrivals:
    """Write the arrivals of some days, deterministically: equal arguments give equal bytes.

    Files of an earlier call are overwritten; ``truth.json`` comes last, so where it exists the rest is complete.

    Args:
        samples: The sample pack, `samples.samples_dir()`.
        out: Folder to write to; made if need be.
        first_day: Day of the first manifest.
        days: Manifests, at least 1. The catalogue of 252 items in two looks is spread over seven days, or over
            all of them when there are more.
        seed: At least 0; draws what arrives when, and how every picture looks.

    Raises:
        ConfigError: ``days`` or ``seed`` is too small.
        DataError: The sample pack is incomplete.
    """
    if days < 1 or seed < 0:
        raise ConfigError(f"demo: {days} days and seed {seed} found; expected days >= 1 and seed >= 0; correct them")
    items = read_items(samples)
    plan = schedule(items, first_day=first_day, days=days, seed=seed)
    writer = _PictureWriter(samples, out, items, seed)
    for rows in plan.values():
        # Sound ones first: the repetitions of a day are made from their files.
        for row in sorted(rows, key=lambda row: row.fault not in SOUND):
            writer.write(row)
    manifests = {day: _write_manifest(out / "source" / f"{day.isoformat()}.csv", rows) for day, rows in plan.items()}
    queries, query_boxes = _write_queries(samples, out, items, seed)
    objects = _write_objects(out / "objects.csv", writer.placed)
    fates = _write_fates(out / "fates.csv", plan)
    truth_path = out / "truth.json"
    truth_path.write_text(json.dumps(truth(plan, seed=seed, queries=len(items)), indent=1) + "\n", encoding="utf-8")
    total = sum(map(len, plan.values()))
    return Arrivals(out, manifests, queries, truth_path, fates, objects, query_boxes, total, writer.written, len(items))


class _PictureWriter:
    """Draws and writes the picture of a row, if it has one of its own, and remembers what is where in it."""

    def __init__(self, samples: Path, out: Path, items: Sequence[Item], seed: int) -> None:
        self.samples, self.out, self.seed = samples, out, seed
        self.number = {item.group: at for at, item in enumerate(items)}
        self.written = 0
        self.placed: dict[PurePosixPath, Placed] = {}

    def write(self, row: Row) -> None:
        """Write the row's file; a dead link has none, and a re-crawled row or one of a set has another row's."""
        if row.fault in _NO_PICTURE:
            return
        data, placed = self._drawn(row)
        path = self.out / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.written += 1
        if placed:
            self.placed[row.path] = placed

    def _drawn(self, row: Row) -> tuple[bytes, Placed]:
        rng = self._rng(row)
        if row.base is not None and row.fault in _COPIES:
            return (self.out / row.base.path).read_bytes(), self.placed[row.base.path]
        if row.base is not None and row.fault in _NEAR:
            base = (self.out / row.base.path).read_bytes()
            data = repeated(base, row.fault, rng)
            return data, _scaled(self.placed[row.base.path], width_of(data) / width_of(base))
        looks = [load_look(self.samples, row.look, item.group) for item in row.shown]
        if row.fault is Fault.SET:
            canvas, boxes = compose_set(looks, rng)
        else:
            canvas = compose(looks[0], rng)
            boxes = [visible_box(canvas)]
        if row.fault in SOUND:
            return encode(canvas, row.encoding, rng), tuple(zip(row.shown, boxes, strict=True))
        return spoiled(canvas, row.fault, rng), ()

    def _rng(self, row: Row) -> np.random.Generator:
        """Seed by what the row is, not by its place in the plan: an original looks alike whenever it arrives."""
        number, look = self.number[row.item.group], LOOKS.index(row.look)
        fault = list(Fault).index(row.fault)
        day = 0 if row.fault is Fault.NONE else row.day.toordinal()
        return np.random.default_rng([self.seed, 2, number, look, fault, day])


def _scaled(placed: Placed, factor: float) -> Placed:
    """Return the boxes in a picture of another size, to the nearest pixel."""
    return tuple((item, Box(*(round(value * factor) for value in box))) for item, box in placed)


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def _write_manifest(path: Path, rows: Sequence[Row]) -> Path:
    return _write_csv(
        path,
        _MANIFEST_COLUMNS,
        (
            (
                f"../{row.path}",
                row.sku,
                row.merchant,
                row.item.category,
                row.title,
                str(row.listed).lower(),
                row.strategy,
                row.item.group,
            )
            for row in rows
        ),
    )


def _write_fates(path: Path, plan: Mapping[date, Sequence[Row]]) -> Path:
    def fates() -> Iterable[Sequence[object]]:
        for day, rows in plan.items():
            for line, row in enumerate(rows, start=2):  # line 1 is the header
                task, reason = row.dropped_by or ("", "")
                base = row.base.path if row.base else ""
                yield day, line, f"../{row.path}", row.sku, row.merchant, row.fault.value, task, reason, base

    return _write_csv(path, _FATE_COLUMNS, fates())


def _write_objects(path: Path, placed: Mapping[PurePosixPath, Placed]) -> Path:
    rows = ((at, item.group, item.category, *box) for at, found in placed.items() for item, box in found)
    return _write_csv(path, _OBJECT_COLUMNS, rows)


def _write_queries(samples: Path, out: Path, items: Sequence[Item], seed: int) -> tuple[Path, Path]:
    (out / "queries").mkdir(parents=True, exist_ok=True)
    rows: list[tuple[object, ...]] = []
    boxes: list[tuple[object, ...]] = []
    for number, item in enumerate(items):
        path = Path("queries") / f"{item.group}.jpg"
        taken = photo(load_look(samples, LOOKS[-1], item.group), np.random.default_rng([seed, 3, number]))
        (out / path).write_bytes(taken.data)
        rows.append((path.as_posix(), item.group, item.category))
        boxes.append((*rows[-1], *taken.box))
    queries = _write_csv(out / "queries.csv", ("path", "group", "category"), rows)
    return queries, _write_csv(out / "query_boxes.csv", _OBJECT_COLUMNS, boxes)
