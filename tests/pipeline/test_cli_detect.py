"""`funnelgate detect`: what programs read, what people see, and wrong calls that leave nothing behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from pipeline.images.decode import DecodeLimits, decode_scaled
from pipeline.images.draw_boxes import draw_boxes
from pipeline.models import catalog
from pipeline.models.detections import Box, Detection
from pipeline.models.spec import sha256_of, write_spec
from reporting.errors import EXIT_INFRASTRUCTURE, EXIT_OK, EXIT_USAGE
from tests.pipeline.conftest import Ended
from tests.pipeline.models.blobs import BlobSession, FixedSession, detector_spec, encoded, scene

Main = Callable[..., Ended]
OBJECTS = {"red": Box(40, 30, 200, 150), "green": Box(260, 180, 380, 280)}
EDGE = {"type": "integer", "minimum": 0}
SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["box", "category", "score"],
        "additionalProperties": False,
        "properties": {
            "box": {"type": "array", "items": EDGE, "minItems": 4, "maxItems": 4},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "category": {"type": "string"},
        },
    },
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two pictures, and a detector in ./blobs whose network is a few lines of numpy."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/model.onnx").write_bytes(b"stand-in")
    write_spec(detector_spec(sha256=sha256_of(tmp_path / "blobs/model.onnx")), tmp_path / "blobs")
    monkeypatch.setattr(catalog, "OrtSession", lambda path, threads: BlobSession())
    (tmp_path / "two.jpg").write_bytes(encoded(scene((400, 300), OBJECTS), "JPEG"))
    (tmp_path / "none.png").write_bytes(encoded(scene((50, 40), {})))
    return tmp_path


def detect(main_in: Main, here: Path, *arguments: str) -> Ended:
    return main_in(here, "detect", *arguments, "--detector", "./blobs")


def listed(text: str) -> Any:
    found = json.loads(text)
    jsonschema.validate(found, SCHEMA)
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_picture_is_a_list_of_objects_the_surest_first(here: Path, main_in: Main) -> None:
    ended = detect(main_in, here, "two.jpg", "--json")
    assert (ended.code, ended.err) == (EXIT_OK, "")
    found = listed(ended.out)
    assert [(one["category"], one["score"]) for one in found] == [("red", 0.9), ("green", 0.8)]
    for one, expected in zip(found, OBJECTS.values(), strict=True):
        assert Box(*one["box"]).iou(expected) > 0.93
    assert listed(detect(main_in, here, "two.jpg", "--main", "--json").out) == found[:1]
    assert listed(detect(main_in, here, "none.png", "--json").out) == []


def test_several_pictures_are_a_list_each_by_their_paths(here: Path, main_in: Main) -> None:
    found = json.loads(detect(main_in, here, "two.jpg", "none.png", "--json").out)
    assert list(found) == ["two.jpg", "none.png"]
    assert [len(listed(json.dumps(objects))) for objects in found.values()] == [2, 0]


def test_people_read_a_line_an_object(here: Path, main_in: Main) -> None:
    lines = detect(main_in, here, "two.jpg", "none.png").out.splitlines()
    assert lines[0] == "two.jpg: 2 objects"
    assert [line.split()[1::5] for line in lines[1:3]] == [["0.900", "red"], ["0.800", "green"]]
    assert lines[3:] == ["none.png: 0 objects"]


def test_whole_takes_the_picture_for_one_object(here: Path, main_in: Main) -> None:
    ended = main_in(here, "detect", "none.png", "--detector", "whole", "--json")
    assert listed(ended.out) == [{"box": [0, 0, 50, 40], "score": 1.0, "category": ""}]


@pytest.mark.parametrize("orientation", [1, 6])
def test_out_draws_the_boxes_into_the_upright_picture(here: Path, main_in: Main, orientation: int) -> None:
    (here / "turned.jpg").write_bytes(encoded(scene((400, 300), OBJECTS), "JPEG", orientation))
    ended = detect(main_in, here, "turned.jpg", "--out", "boxes.png")
    assert (ended.code, ended.out.splitlines()[-1]) == (EXIT_OK, "drawn: boxes.png")
    with Image.open(here / "boxes.png") as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (400, 300))
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    before = np.asarray(scene((400, 300), OBJECTS)).astype(int)
    changed = (np.abs(pixels - before) > 60).any(axis=2)
    near = np.zeros_like(changed)
    for box in OBJECTS.values():
        near[max(0, box.y0 - 30) : box.y1 + 6, max(0, box.x0 - 6) : box.x1 + 6] = True
        near[box.y0 + 30 : box.y1 - 6, box.x0 + 90 : box.x1 - 6] = False
    assert changed.any()
    assert not (changed & ~near).any()
    for box in OBJECTS.values():
        assert changed[box.y0 - 3 : box.y0 + 4, box.x0 + 20 : box.x1 - 4].any(axis=0).mean() > 0.95
    assert files(here).count("boxes.png") == 1
    assert not [name for name in files(here) if name.endswith(".tmp")]


def test_boxes_and_labels_at_the_edges_of_tiny_and_scaled_pictures_are_drawn() -> None:
    for size, box in (((1, 1), Box(0, 0, 1, 1)), ((30, 2000), Box(0, 0, 30, 9)), ((2000, 1500), Box(1, 1, 1999, 1499))):
        data = encoded(scene(size, {}))
        scaled = decode_scaled(data, min_side=720, limits=DecodeLimits())
        image = draw_boxes(scaled, [Detection(box, 0.5, "a label longer than the picture is wide", (1.0,))])
        assert image.size == scaled.image.shape[1::-1]
        assert (np.asarray(image) != scaled.image).any()
        assert (scaled.image == 255).all()  # the decoded picture itself is left alone


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["absent.png"], "absent.png: cannot be read: No such file"),
        (["."], "cannot be read"),
        (["two.jpg", "notes.txt"], "notes.txt: not_an_image"),
        (["cut.jpg"], "cut.jpg: truncated"),
        (["two.jpg", "none.png", "--out", "boxes.png"], "--out draws one picture, found 2"),
        (["two.jpg", "--out", "boxes.jpg"], "--out writes PNG; name a file that ends in .png"),
        (["two.jpg", "--out", "absent/boxes.png"], "the folder absent is not there; make it first"),
        (["two.jpg", "--out", "folder.png"], "folder.png: is a folder"),
        (["none.png", "--out", "none.png"], "is the picture itself"),
        (["cut.jpg", "--out", "boxes.png"], "cut.jpg: truncated"),
    ],
)
def test_a_wrong_call_says_what_to_do_and_leaves_nothing(
    here: Path, main_in: Main, arguments: list[str], says: str
) -> None:
    (here / "notes.txt").write_text("not a picture")
    (here / "cut.jpg").write_bytes((here / "two.jpg").read_bytes()[:1500])
    (here / "folder.png").mkdir()
    before = files(here)
    ended = detect(main_in, here, *arguments, "--json")
    assert (ended.code, ended.out) == (EXIT_USAGE, "")
    assert says in ended.err
    assert files(here) == before


@pytest.mark.parametrize(
    ("detector", "says"),
    [
        ("scene-detectr", "unknown detector 'scene-detectr'"),
        ("./absent", "spec.json: no such file"),
        (str(catalog.SHIPPED / catalog.DEFAULT_EMBEDDER), "answers as embedder, not as detector"),
        ("./damaged", "model.onnx: sha256 is"),
    ],
)
def test_a_detector_that_is_none_is_refused_before_anything_is_drawn(
    here: Path, main_in: Main, detector: str, says: str
) -> None:
    shutil.copytree(here / "blobs", here / "damaged")
    (here / "damaged/model.onnx").write_bytes(b"stand-in, changed")
    ended = main_in(here, "detect", "two.jpg", "--detector", detector, "--out", "boxes.png")
    assert (ended.code, ended.out) == (EXIT_USAGE, "")
    assert says in ended.err
    assert not (here / "boxes.png").exists()


def test_a_model_that_answers_nan_is_named_with_the_picture(
    here: Path, main_in: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = FixedSession(boxes=[[0, 0, 9, 9]], scores=[[np.nan]], classes=[[0, 0, 0]])
    monkeypatch.setattr(catalog, "OrtSession", lambda path, threads: broken)
    ended = detect(main_in, here, "none.png", "two.jpg", "--json")
    assert (ended.code, ended.out) == (EXIT_USAGE, "")
    assert "none.png: model blobs@1" in ended.err
    assert "are not scores in 0..1, e.g. nan" in ended.err


def test_a_drawing_that_cannot_be_written_leaves_the_one_before(
    here: Path, main_in: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert detect(main_in, here, "two.jpg", "--out", "boxes.png").code == EXIT_OK
    before, names = (here / "boxes.png").read_bytes(), files(here)

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    ended = detect(main_in, here, "none.png", "--out", "boxes.png")
    monkeypatch.undo()
    assert ended.code == EXIT_INFRASTRUCTURE
    assert "boxes.png: cannot be written: No space left on device; nothing was left there" in ended.err
    assert (here / "boxes.png").read_bytes() == before
    assert files(here) == names
