"""detect: from pictures to objects. Every object above the detector's threshold goes on, with a lasting id of its own.

The books change their unit here: what is taken in, kept and dropped are pictures, `produced` are objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from pipeline.images.crop import upright_size
from pipeline.images.decode import DecodeLimits, PictureError
from pipeline.item_ids import Registered, register_objects
from pipeline.models.catalog import DEFAULT_DETECTOR, open_detector
from pipeline.models.detections import Found
from pipeline.models.detector import Detector, WholePicture
from pipeline.tasks.context import LeafContext
from pipeline.tasks.drops import Drop, write_drops
from pipeline.tasks.pictures import iter_pictures

OBJECT_COLUMNS = (
    ("object", pa.string()),
    ("ordinal", pa.int16()),
    ("id", pa.int64()),
    ("x0", pa.int32()),
    ("y0", pa.int32()),
    ("x1", pa.int32()),
    ("y1", pa.int32()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("score", pa.float32()),
    ("detected", pa.string()),
    ("class_scores", pa.list_(pa.float32())),
)
"""What a row of `items.parquet` has beside its picture's row: box and size in pixels of the upright original."""


class Settings(BaseModel):
    """What finds the objects. Its thresholds are part of the detector's version, so they are no settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str = DEFAULT_DETECTOR
    """A folder under pipeline/models/weights, or a path to one; `whole`: the picture is the object."""
    batch_size: int = Field(default=16, ge=1, le=1024)
    """Pictures that go through the detector at a time."""
    decode: DecodeLimits = Field(default_factory=DecodeLimits)


class _Seen:
    """What the detector said of a package's pictures, by item."""

    def __init__(self) -> None:
        self.found: dict[str, Found] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self.broken: list[Drop] = []


def run(leaf: LeafContext, settings: Settings) -> None:
    """Find the objects of every picture of the package, and register them before anything is written."""
    rows = leaf.read("listing", "items").sort_by("item")
    items, pictures = rows["item"].to_pylist(), rows["picture"].to_pylist()
    leaf.books.take(items)
    detector = open_detector(settings.detector)
    leaf.books.use("model", str(detector.ref))
    leaf.books.use("detector", detector.version)
    leaf.built_with["detector"] = detector.version  # what this process has loaded, whatever lies on the disk by now
    seen = _look(leaf, rows, detector, settings)
    of_picture = {
        picture: seen.found[item].objects for item, picture in zip(items, pictures, strict=True) if item in seen.found
    }
    with leaf.store.begin() as work:
        registered = register_objects(work, detector.version, of_picture)
    objects = [registered.get(picture, []) for picture in pictures]
    write_drops(leaf, [*seen.broken, *_nothing_found(items, objects, seen)])
    out = _object_rows(rows, objects, seen)
    leaf.write("items", out)
    leaf.books.keep([item for item, found in zip(items, objects, strict=True) if found])
    leaf.books.produce(out["object"].to_pylist())
    _measure(leaf, objects, seen)


def _look(leaf: LeafContext, rows: pa.Table, detector: Detector | WholePicture, settings: Settings) -> _Seen:
    seen = _Seen()
    pictures = iter_pictures(leaf.lake, rows, seen.broken)
    while batch := list(islice(pictures, settings.batch_size)):
        answers = detector.detect([data for _, data in batch], settings.decode)
        for (item, data), answer in zip(batch, answers, strict=True):
            if isinstance(answer, PictureError):
                seen.broken.append((item, "decode_error", str(answer)))
            else:
                seen.found[item] = answer
                seen.sizes[item] = upright_size(data, settings.decode)
    return seen


def _nothing_found(items: Sequence[str], objects: Sequence[Sequence[Registered]], seen: _Seen) -> Iterator[Drop]:
    for item, found in zip(items, objects, strict=True):
        if found or item not in seen.found:
            continue
        best = seen.found[item].best_rejected
        if best > 0:
            yield item, "low_score", f"the best of its candidates has score {best:.3f}, below the detector's threshold"
        else:
            yield item, "no_object", "the detector sees no candidate"


def _object_rows(rows: pa.Table, objects: Sequence[Sequence[Registered]], seen: _Seen) -> pa.Table:
    """Return one row an object, sorted by (item, ordinal); `rows` are sorted by item."""
    items = rows["item"].to_pylist()
    values: list[tuple[object, ...]] = [
        (f"{item}#{one.ordinal}", one.ordinal, one.id, *one.box, *seen.sizes[item], *one[3:])
        for item, found in zip(items, objects, strict=True)
        for one in found
    ]
    out = rows.take(pa.array([row for row, found in enumerate(objects) for _ in found], pa.int64()))
    columns = list(zip(*values, strict=True)) or [()] * len(OBJECT_COLUMNS)
    for (name, kind), column in zip(OBJECT_COLUMNS, columns, strict=True):
        out = out.append_column(name, pa.array(column, kind))
    return out


def _measure(leaf: LeafContext, objects: Sequence[Sequence[Registered]], seen: _Seen) -> None:
    """Book what drifts when the detector or the pictures change; a mean over nothing is left out, not 0."""
    counts = [len(found) for found in objects]
    total = sum(counts)
    leaf.books.measure("objects", total)
    leaf.books.measure("one_object", sum(count == 1 for count in counts))
    leaf.books.measure("several_objects", sum(count > 1 for count in counts))
    leaf.books.measure("low_score_boxes", sum(found.best_rejected > 0 for found in seen.found.values()))
    if counts:
        leaf.books.measure("objects_per_picture", total / len(counts))
    if total:
        leaf.books.measure("mean_score", sum(one.score for found in objects for one in found) / total)
