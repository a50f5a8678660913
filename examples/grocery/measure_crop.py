"""Measure what cropping to the main object does on shop photos: for the category, and for finding the product.

    python -m examples.grocery.measure_crop PATH/TO/grocery --json

Asked are the val photos of the Grocery Store Dataset (there are no boxes in it), of two libraries: the train photos,
taken in the same shops, and the iconic pictures of the catalogue, one a product. Each question is asked twice: with
whole pictures on both sides, and with both sides cropped to the object that the detector is surest of (the whole
picture where it finds none). Category: 43 coarse classes, by the vote of the 20 nearest pictures, each with the weight
exp((similarity - 1) / 0.05). Product: 81 fine classes, hit@k over the first k distinct products. Ties go to the name
that sorts first. Intervals are Wilson's over photos, p is McNemar's exact test; photos of one product are alike, so
both look surer than they are.

Run it in the repository's root. Data: Klasson, Zhang, Kjellstrom, "A hierarchical grocery store image dataset", WACV
2019 (MIT). The shipped detector may have learned from the train and iconic pictures, never from the val photos.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from evaluation.mcnemar import mcnemar
from evaluation.metrics import hit_at_k
from evaluation.stats import wilson_interval
from examples.grocery.make_source import read_classes, read_list
from pipeline.images.crop import crop_object
from pipeline.images.decode import DecodeLimits, PictureError, probe
from pipeline.models.catalog import DEFAULT_DETECTOR, DEFAULT_EMBEDDER, open_detector, open_embedder

if TYPE_CHECKING:
    from pipeline.models.detections import Box
    from pipeline.models.detector import Detector, WholePicture
    from pipeline.models.embedder import Embedder

NEIGHBOURS = 20
TAU = 0.05
BATCH = 16
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


class Labelled(NamedTuple):
    """A picture of the data set: where it lies and what it shows."""

    path: Path
    product: str
    category: str


class Looks(NamedTuple):
    """The pictures of a list, as (n, d) unit vectors of the whole picture and of the crop, and what was cropped."""

    whole: Floats
    crop: Floats
    areas: list[float]
    """The share of the picture that the box covers, for each picture in which an object was found."""


def read_pictures(data: Path, name: str) -> list[Labelled]:
    """Return the pictures of `train`, `val` or `iconic`."""
    classes = read_classes(data)
    if name == "iconic":
        rows = [(row["Iconic Image Path (str)"].lstrip("/"), row) for row in classes.values()]
    else:
        rows = [(path, classes[fine]) for path, fine in read_list(data, f"{name}.txt")]
    return [Labelled(data / path, row["Class Name (str)"], row["Coarse Class Name (str)"]) for path, row in rows]


class Options(NamedTuple):
    """How pictures are decoded and cropped."""

    margin: float
    side: int
    limits: DecodeLimits


def look(
    pictures: Sequence[Labelled], name: str, detector: Detector | WholePicture, embedder: Embedder, options: Options
) -> Looks:
    """Detect, crop and embed, a batch at a time."""
    whole, crop, areas = [], [], list[float]()
    starts = range(0, len(pictures), BATCH)
    for start in track(starts, f"{name} ({len(pictures)} pictures)", console=Console(stderr=True)):
        files = [picture.path.read_bytes() for picture in pictures[start : start + BATCH]]
        boxes = main_boxes(files, detector, options.limits)
        areas += [_share_of(data, box, options) for data, box in zip(files, boxes, strict=True) if box]
        whole.append(embedder.embed([_cut(data, None, options) for data in files]))
        crop.append(embedder.embed([_cut(data, box, options) for data, box in zip(files, boxes, strict=True)]))
    return Looks(np.concatenate(whole), np.concatenate(crop), areas)


def main_boxes(files: Sequence[bytes], detector: Detector | WholePicture, limits: DecodeLimits) -> list[Box | None]:
    """Return each picture's surest box, None where the detector finds none."""
    boxes: list[Box | None] = []
    for found in detector.detect(files, limits):
        if isinstance(found, PictureError):
            raise found
        boxes.append(found.objects[0].box if found.objects else None)
    return boxes


def _cut(data: bytes, box: Box | None, options: Options) -> npt.NDArray[np.uint8]:
    return crop_object(data, box, margin=options.margin, side=options.side, limits=options.limits)


def _share_of(data: bytes, box: Box, options: Options) -> float:
    info = probe(data, options.limits)
    return box.area / (info.width * info.height)


def voted(queries: Floats, library: Floats, categories: Sequence[str]) -> list[str]:
    """Return the category that each query's nearest pictures vote for.

    Args:
        queries: (n, d) unit vectors.
        library: (m, d) unit vectors.
        categories: m names.
    """
    names = sorted(set(categories))
    numbers = np.array([names.index(category) for category in categories])
    winners = []
    for row in queries @ library.T:
        nearest = np.argsort(-row, kind="stable")[:NEIGHBOURS]
        weights = np.exp((row[nearest].astype(np.float64) - 1) / TAU)
        winners.append(names[int(np.bincount(numbers[nearest], weights, len(names)).argmax())])
    return winners


def ranked(queries: Floats, library: Floats, products: Sequence[str], wanted: Sequence[str]) -> Bools:
    """Return by rank of distinct products whether it is the wanted one: (n, products) bool."""
    names = sorted(set(products))
    members = [np.flatnonzero(np.array(products) == name) for name in names]
    similarities = queries @ library.T
    best = np.stack([similarities[:, rows].max(axis=1) for rows in members], axis=1)
    order = np.argsort(-best, axis=1, kind="stable")
    is_wanted: Bools = np.array(names)[order] == np.array(wanted)[:, None]
    return is_wanted


def answers(asked: Sequence[Labelled], queries: Floats, library: Sequence[Labelled], rows: Floats) -> dict[str, Bools]:
    """Return which photos were answered rightly, by question."""
    category = voted(queries, rows, [picture.category for picture in library])
    products = ranked(queries, rows, [picture.product for picture in library], [picture.product for picture in asked])
    return {
        "category": np.array([picture.category for picture in asked]) == np.array(category),
        "product hit@1": hit_at_k(products, 1) > 0,
        "product hit@10": hit_at_k(products, 10) > 0,
    }


def compare(gallery: str, question: str, whole: Bools, crop: Bools) -> dict[str, object]:
    """Return one line of the table: both shares with their intervals, and how sure their difference is."""
    test = mcnemar(crop.tolist(), whole.tolist())
    line: dict[str, object] = {"gallery": gallery, "question": question, "n": len(whole)}
    for name, right in (("whole", whole), ("crop", crop)):
        low, high = wilson_interval(int(right.sum()), len(right))
        line[name] = {"value": float(right.mean()), "ci_low": low, "ci_high": high}
    return line | {"gain": test.difference, "p_value": test.p_value, "won": test.only_first, "lost": test.only_second}


def measure(data: Path, detector_name: str, every: int, options: Options) -> dict[str, object]:
    """Measure everything."""
    started = time.monotonic()
    detector, embedder = open_detector(detector_name), open_embedder(DEFAULT_EMBEDDER)
    lists = {
        name: read_pictures(data, name)[:: 1 if name == "iconic" else every] for name in ("val", "iconic", "train")
    }
    looks = {name: look(pictures, name, detector, embedder, options) for name, pictures in lists.items()}
    lines = []
    for gallery in ("train", "iconic"):
        right = [
            answers(lists["val"], queries, lists[gallery], rows)
            for queries, rows in ((looks["val"].whole, looks[gallery].whole), (looks["val"].crop, looks[gallery].crop))
        ]
        lines += [compare(gallery, question, right[0][question], right[1][question]) for question in right[0]]
    return {
        "detector": detector.version,
        "embedder": f"{embedder.ref}:{embedder.space_id}",
        "pictures": {name: len(pictures) for name, pictures in lists.items()},
        "found": {name: len(one.areas) / len(lists[name]) for name, one in looks.items()},
        "median_area": {name: float(np.median(one.areas)) if one.areas else 0.0 for name, one in looks.items()},
        "lines": lines,
        "seconds": round(time.monotonic() - started, 1),
    }


def _print(result: dict[str, object]) -> None:
    print(f"detector {result['detector']}, embedder {result['embedder']}, {result['seconds']} s")
    for name, key in (("an object was found", "found"), ("median share of the picture", "median_area")):
        shares = result[key]
        assert isinstance(shares, dict)
        print(f"{name}: " + ", ".join(f"{where} {share:.3f}" for where, share in shares.items()))
    print(f"{'library':8} {'question':15} {'whole':>22} {'crop':>22} {'gain':>7} {'p':>8} won:lost")
    lines = result["lines"]
    assert isinstance(lines, list)
    for line in lines:
        shares = [line[name] for name in ("whole", "crop")]
        cells = [f"{share['value']:.3f} [{share['ci_low']:.3f}, {share['ci_high']:.3f}]" for share in shares]
        print(
            f"{line['gallery']:8} {line['question']:15} {cells[0]:>22} {cells[1]:>22} {line['gain']:+7.3f}"
            f" {line['p_value']:8.2g} {line['won']}:{line['lost']}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with classes.csv, train.txt and val.txt")
    parser.add_argument("--detector", default=DEFAULT_DETECTOR, help="a shipped detector's name, or a model folder")
    parser.add_argument("--margin", type=float, default=0.08, help="share of the box's longer side added all round")
    parser.add_argument("--side", type=int, default=256, help="most pixels on the shorter side of a crop")
    parser.add_argument("--every", type=int, default=1, help="take every n-th photo only, for a quick look")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    given = parser.parse_args()
    result = measure(given.data, given.detector, given.every, Options(given.margin, given.side, DecodeLimits()))
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        _print(result)


if __name__ == "__main__":
    main()
