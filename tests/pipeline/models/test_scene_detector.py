"""The shipped detector on pictures nobody trained on: held-out items of the sample pack."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.images.decode import DecodeLimits
from pipeline.models.catalog import DEFAULT_DETECTOR, open_detector
from pipeline.models.detections import Box, Found
from pipeline.models.detector import Detector
from samples import held_out, samples_dir
from tests.pipeline.conftest import Ended
from tests.pipeline.models.blobs import encoded

LIMITS = DecodeLimits()
PLAIN = (214, 205, 190)
Placed = tuple[Image.Image, list[Box]]


def items() -> list[str]:
    with (samples_dir() / "items.csv").open(newline="", encoding="utf-8") as lines:
        return [row["item"] for row in csv.DictReader(lines) if held_out(row["item"])]


def table(size: tuple[int, int], objects: list[tuple[str, int, tuple[int, int]]]) -> Placed:
    """Return a plain picture with (item, longer side, top left corner) pasted, and the boxes of what is visible."""
    image, boxes = Image.new("RGB", size, PLAIN), []
    for item, side, (x, y) in objects:
        with Image.open(next((samples_dir() / "pictures/noto").glob(f"{item}.*"))) as opened:
            drawn = opened.convert("RGBA")
        drawn = drawn.crop(drawn.getchannel("A").point(lambda v: 255 * (v > 40)).getbbox())
        drawn.thumbnail((side, side), Image.Resampling.LANCZOS)
        image.paste(drawn, (x, y), drawn)
        boxes.append(Box(x, y, x + drawn.width, y + drawn.height))
    return image, boxes


@pytest.fixture(scope="module")
def detector() -> Detector:
    found = open_detector(DEFAULT_DETECTOR)
    assert isinstance(found, Detector)
    return found


def seen(detector: Detector, *files: bytes) -> list[Found]:
    answers = detector.detect(files, LIMITS)
    assert all(isinstance(one, Found) for one in answers)
    return [one for one in answers if isinstance(one, Found)]


def nearest(found: Found, box: Box) -> Box:
    return max((one.box for one in found.objects), key=box.iou)


def test_the_main_object_is_found_on_a_plain_background(detector: Detector) -> None:
    scenes = [table((640, 480), [(item, 180, (60 + 21 * n, 40 + 11 * n))]) for n, item in enumerate(items()[:20])]
    hits = 0
    for found, (_, (box,)) in zip(seen(detector, *(encoded(image) for image, _ in scenes)), scenes, strict=True):
        hits += bool(found.objects) and found.objects[0].box.iou(box) >= 0.5
    assert hits >= 19


def test_each_of_several_objects_is_found_once(detector: Detector) -> None:
    first, second, third = items()[3:6]
    image, boxes = table((900, 600), [(first, 220, (40, 60)), (second, 220, (560, 50)), (third, 220, (300, 340))])
    (found,) = seen(detector, encoded(image, "JPEG"))
    assert len(found.objects) == 3
    for box in boxes:
        assert sum(one.box.iou(box) >= 0.5 for one in found.objects) == 1
    for one in found.objects:
        assert sum(one.class_scores) == pytest.approx(1.0)
        assert one.label == detector.classes[int(np.argmax(one.class_scores))]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_that_exif_turns_gives_the_boxes_of_the_upright_one(detector: Detector, orientation: int) -> None:
    image, _ = table((250, 190), [(items()[0], 120, (30, 20)), (items()[1], 90, (150, 90))])
    upright, turned = seen(detector, encoded(image), encoded(image, orientation=orientation))
    assert upright.objects
    assert [one.box for one in turned.objects] == [one.box for one in upright.objects]
    # A multiple of the scale it is decoded at: else the network sees it shifted by a part of a pixel, and it matters.
    photo, boxes = table((1600, 1200), [(items()[0], 700, (200, 100)), (items()[1], 500, (1000, 600))])
    upright, turned = seen(detector, encoded(photo, "JPEG"), encoded(photo, "JPEG", orientation))
    for box in boxes:
        assert nearest(upright, box).iou(nearest(turned, box)) > 0.9


def test_an_empty_table_holds_nothing(detector: Detector) -> None:
    assert [found.objects for found in seen(detector, encoded(table((400, 300), [])[0]))] == [()]


def test_main_of_the_command_is_the_surest_object(tmp_path: Path, main_in: Callable[..., Ended]) -> None:
    image, boxes = table((640, 480), [(items()[7], 250, (60, 40)), (items()[8], 160, (430, 280))])
    (tmp_path / "table.jpg").write_bytes(encoded(image, "JPEG"))
    ended = main_in(tmp_path, "detect", "table.jpg", "--json", "--out", "boxes.png")
    assert ended.code == 0, ended.err
    everything = json.loads(ended.out)
    assert json.loads(main_in(tmp_path, "detect", "table.jpg", "--main", "--json").out) == everything[:1]
    assert [one["score"] for one in everything] == sorted((one["score"] for one in everything), reverse=True)
    assert max(Box(*everything[0]["box"]).iou(box) for box in boxes) >= 0.5
    with Image.open(tmp_path / "boxes.png") as drawn:
        assert drawn.size == (640, 480)
