"""Pascal VOC: boxes where the picture shows them, however it is turned or scaled; whatever is damaged has a name."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from pipeline.learn.config import VocSource
from pipeline.learn.voc import VocSet, _flipped, parse_annotation, read_list, voc_sets
from reporting.errors import ConfigError, DataError
from tests.pipeline.learn.voc_folder import annotation, voc_folder


def test_pixels_count_from_one_and_the_last_is_included() -> None:
    """The box of the whole 20 x 10 picture is 1, 1, 20, 10 in VOC's words."""
    boxes, names = parse_annotation(annotation(("cup", 1, 1, 20, 10), ("hat", 3, 2, 3, 2)), "a.xml")
    assert boxes.tolist() == [[0, 0, 20, 10], [2, 1, 3, 2]]
    assert boxes.dtype == np.float32
    assert names == ("cup", "hat")


def test_a_box_that_begins_before_the_picture_is_cut_and_an_empty_one_left_out() -> None:
    boxes, names = parse_annotation(annotation(("cup", 0, -3, 5, 5), ("hat", 8, 2, 7, 2), ("mug", 2, 9, 4, 8)), "a.xml")
    assert boxes.tolist() == [[0, 0, 5, 5]]
    assert names == ("cup",)


def test_parts_of_an_object_are_none_of_its_sides() -> None:
    text = annotation(("dog", 1, 2, 30, 40)).replace(
        b"<bndbox>", b"<part><name>head</name><bndbox><xmin>5</xmin><xmax>9</xmax></bndbox></part><bndbox>"
    )
    boxes, names = parse_annotation(text, "a.xml")
    assert (boxes.tolist(), names) == ([[0, 1, 30, 40]], ("dog",))


CUP = [("cup", 1, 1, 5, 5)]
HAT = [("hat", 1, 1, 5, 5)]
ENTITY = b'<!DOCTYPE a [<!ENTITY x "y">]><annotation><object><name>&x;</name></object></annotation>'


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (ENTITY, "a document type is not allowed"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "a document type is not allowed"),
        (b"<annotation>&x;</annotation>", "undefined entity"),
        (annotation(("a", 1, 1, 2, 2)).replace(b"<xmax>2</xmax>", b""), "object 1 has no xmax"),
        (annotation(("a", 1, 1, 2, 2), ("", 1, 1, 2, 2)), "object 2 has no name"),
        (annotation(("a", 1, 1, 2, 2)).replace(b"<ymin>1<", b"<ymin>one<"), "could not convert"),
        (annotation(("a", 1, 1, "inf", 2)), "object 1 has the box 1.0, 1.0, inf, 2.0"),
        (annotation(("a", "nan", 1, 2, 2)), "object 1 has the box nan"),
        (annotation(("a", 1, 1, "1e39", 2)), "object 1 has the box"),
        (b"", "no element found"),
        (annotation(("a", 1, 1, 2, 2))[:-5], "unclosed token|no element found"),
        (b'<?xml version="1.0" encoding="klingon"?><annotation/>', "unknown encoding: klingon"),
        (b"<a>" * 17 + b"</a>" * 17, "more than 16 deep"),
        (b"<annotation>" + b" " * (1 << 20) + b"</annotation>", "1048601 bytes; an annotation has at most 1048576"),
    ],
)
def test_a_damaged_or_hostile_annotation_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(DataError, match=rf"^some/a\.xml: .*({says})"):
        parse_annotation(data, "some/a.xml")


def test_a_megabyte_of_lines_is_read_as_fast_as_any_other() -> None:
    """Joined one by one they would take minutes."""
    assert parse_annotation(b"<annotation>" + b"\n" * 1_000_000 + b"</annotation>", "a.xml")[1] == ()


@given(st.binary(max_size=200) | st.text(alphabet="<>/&;!abjectondbx \n\"'=", max_size=200).map(str.encode))
def test_any_bytes_are_boxes_or_a_data_error(data: bytes) -> None:
    for text in (data, b"<annotation>" + data + b"</annotation>"):
        try:
            boxes, names = parse_annotation(text, "a.xml")
        except DataError:
            continue
        assert boxes.shape == (len(names), 4)


SIDE = st.integers(1, 12)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    height, width = draw(SIDE), draw(SIDE)
    image = draw(arrays.arrays(np.uint8, (height, width, 3)))
    edges = [sorted(draw(st.tuples(st.integers(0, side - 1), st.integers(1, side)))) for side in (width, height) * 3]
    boxes = [
        [x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)] for (x0, x1), (y0, y1) in zip(edges[::2], edges[1::2], strict=True)
    ]
    return image, np.array(boxes, np.float32)


def mask_of(box: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape[:2], np.bool_)
    x0, y0, x1, y1 = box.astype(int)
    mask[y0:y1, x0:x1] = True
    return mask


@given(pictures(), st.booleans(), st.booleans())
def test_a_flip_moves_boxes_as_it_moves_their_pixels_and_undoes_itself(
    drawn: tuple[NDArray[np.uint8], NDArray[np.float32]], across: bool, down: bool
) -> None:
    image, boxes = drawn
    turned, moved = _flipped(image, boxes, across=across, down=down)
    step = np.s_[:: -1 if down else 1, :: -1 if across else 1]
    assert (turned == image[step]).all()
    for before, after in zip(boxes, moved, strict=True):
        assert (mask_of(after, image.shape) == mask_of(before, image.shape)[step]).all()
    again, back = _flipped(turned, moved, across=across, down=down)
    assert (again == image).all()
    assert (back == boxes).all()


def marked(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """A black picture with a white rectangle."""
    picture = Image.new("RGB", size)
    picture.paste((255, 255, 255), box)
    return picture


@pytest.mark.parametrize(
    ("size", "scale", "turn"),
    [((200, 120), 1, 3), ((200, 120), 1, 6), ((1300, 1101), 2, 1), ((1300, 1101), 2, 8), ((2403, 2101), 4, 6)],
)
def test_boxes_lie_on_what_they_mark_also_where_a_picture_is_decoded_smaller(
    tmp_path: Path, size: tuple[int, int], scale: int, turn: int
) -> None:
    """The annotation is of the upright picture; EXIF says how the stored one becomes it."""
    box = (size[0] // 5, size[1] // 4, size[0] // 2, size[1] - 9)
    undo = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[turn]
    upright = marked(size, box)
    exif = Image.Exif()
    exif[0x0112] = turn
    voc_folder(tmp_path, {"a": [("cup", box[0] + 1, box[1] + 1, box[2], box[3])]}, trainval=["a"])
    stored = upright if undo is None else upright.transpose(undo)
    (tmp_path / "JPEGImages/a.jpg").unlink()
    stored.save(tmp_path / "JPEGImages/a.png", exif=exif)
    flips = VocSet(read_list(tmp_path, "trainval"), ("cup",), flips=True)
    for scene in (flips[number] for number in range(4)):
        assert scene.image.shape == (-(-size[1] // scale), -(-size[0] // scale), 3)
        bright = np.argwhere(scene.image[..., 0] > 127)
        seen = [*bright.min(axis=0)[::-1], *(bright.max(axis=0)[::-1] + 1)]
        np.testing.assert_allclose(scene.boxes[0], seen, atol=0.51 if scale > 1 else 0)


def test_a_box_outside_its_picture_is_cut_or_left_out_with_its_label(tmp_path: Path) -> None:
    boxes = [("hat", 41, 5, 50, 9), ("cup", 31, 21, 99, 99), ("mug", 1, 1, 2, 2)]
    voc_folder(tmp_path, {"a": boxes}, size=(40, 30), trainval=["a"])
    scene = VocSet(read_list(tmp_path, "trainval"), ("cup", "hat", "mug"), flips=False)[0]
    assert scene.boxes.tolist() == [[30, 20, 40, 30], [0, 0, 2, 2]]
    assert scene.labels.tolist() == [0, 2]


def test_the_sets_hold_the_lists_and_only_training_is_flipped(tmp_path: Path) -> None:
    voc_folder(tmp_path, {"a": HAT, "b": CUP, "c": []}, trainval=["b", "a"], test=["c"])
    train, test = voc_sets(VocSource(kind="voc", folder=tmp_path))
    assert (len(train), len(test)) == (8, 1)
    assert train.classes == test.classes == ("cup", "hat")
    assert [train[n].name for n in range(8)] == ["b"] * 4 + ["a"] * 4
    assert [int(train[n].labels[0]) for n in (0, 4)] == [0, 1]
    assert test[0].boxes.shape == (0, 4)
    assert test[0].labels.shape == (0,)
    assert len(voc_sets(VocSource(kind="voc", folder=tmp_path, flips=False))[0]) == 2
    with pytest.raises(IndexError):
        test[1]


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        ({"trainval": ["a", "b"], "test": ["b"]}, r"1 pictures are in trainval and in test, first b\.jpg"),
        ({"trainval": ["a"], "test": ["h"]}, "test has classes that trainval has not: hat"),
        ({"trainval": ["a"]}, r"test\.txt: no such list"),
        ({"trainval": [], "test": ["a"]}, r"trainval\.txt: lists no picture"),
        ({"trainval": ["empty"], "test": ["a"]}, "no picture of trainval has a box"),
        ({"trainval": ["a", "", "../a"], "test": ["b"]}, r"trainval\.txt:3: '\.\./a' is not the name"),
        ({"trainval": [".."], "test": ["b"]}, r"trainval\.txt:1: '\.\.' is not the name"),
        ({"trainval": ["a"], "test": ["/etc/passwd"]}, r"test\.txt:1: '/etc/passwd' is not the name"),
        ({"trainval": ["a"], "test": ["gone"]}, "no picture gone"),
        ({"trainval": ["a"], "test": ["bare"]}, r"bare\.xml: cannot be read: No such file"),
    ],
)
def test_lists_that_cannot_be_used_are_refused(tmp_path: Path, lists: Any, says: str) -> None:
    voc_folder(tmp_path, {"a": CUP, "b": CUP, "h": HAT, "empty": [], "bare": []}, **lists)
    (tmp_path / "Annotations/bare.xml").unlink()
    with pytest.raises(DataError, match=says):
        voc_sets(VocSource(kind="voc", folder=tmp_path))


def test_a_list_may_begin_with_a_byte_order_mark_and_must_be_utf_8(tmp_path: Path) -> None:
    voc_folder(tmp_path, {"a": CUP}, trainval=["a"])
    path = tmp_path / "ImageSets/Main/trainval.txt"
    path.write_bytes(b"\xef\xbb\xbfa  1\r\n")
    assert [one.picture.name for one in read_list(tmp_path, "trainval")] == ["a.jpg"]
    path.write_bytes("a\n\xe9\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"trainval\.txt: cannot be read: .*UTF-8"):
        read_list(tmp_path, "trainval")


def test_a_source_without_a_folder_says_how_to_name_it() -> None:
    with pytest.raises(ConfigError, match=r"source\.folder: not given; .* --data FOLDER"):
        voc_sets(VocSource(kind="voc"))


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    voc_folder(tmp_path, {"a": CUP}, trainval=["a"])
    (tmp_path / "JPEGImages/a.jpg").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"a\.jpg: cannot be read: .*restore it or take it off the list"):
        VocSet(read_list(tmp_path, "trainval"), ("cup",), flips=False)[0]


def test_the_identity_changes_with_a_box_a_class_and_a_picture(tmp_path: Path) -> None:
    seen = []
    for boxes, colour in ((CUP, 0), ([("cup", 1, 1, 5, 6)], 0), (HAT, 0), (CUP, 9), (CUP, 9)):
        voc_folder(tmp_path, {"a": boxes}, colour=colour, trainval=["a"])
        names = tuple(sorted({name for name, *_ in boxes}))
        seen.append(VocSet(read_list(tmp_path, "trainval"), names, flips=False).identity())
    assert len(set(seen[:4])) == 4
    unchanged = VocSet(read_list(tmp_path, "trainval"), ("cup",), flips=False)
    assert unchanged.identity() == unchanged.identity()


@pytest.mark.data
def test_every_annotation_of_bccd_is_read_as_another_reader_reads_it(shared_data: Path) -> None:
    folder, counts, total = shared_data / "bccd", Counter[str](), 0
    for one in read_list(folder, "trainval") + read_list(folder, "test"):
        root = ElementTree.parse(folder / "Annotations" / f"{one.picture.stem}.xml").getroot()
        wanted = []
        for found in root.iter("object"):
            sides = [int(found.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")]
            wanted.append([max(0, sides[0] - 1), max(0, sides[1] - 1), *sides[2:]])
            counts[found.findtext("name") or ""] += 1
        assert one.boxes.tolist() == wanted
        assert list(one.names) == [found.findtext("name") for found in root.iter("object")]
        total += 1
    assert total == 364
    assert sum(counts.values()) == 4888
    train, test = voc_sets(VocSource(kind="voc", folder=folder))
    assert (len(train), len(test)) == (4 * 292, 72)
    assert train.classes == tuple(sorted(counts))
