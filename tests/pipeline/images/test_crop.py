"""The canonical crop: the right pixels whatever the orientation, alone or among others, never enlarged."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.images.crop import crop_object, crop_objects, decode_crop, encode_crop, upright_size
from pipeline.images.decode import DecodeLimits, PictureError, Rgb, decode_rgb
from pipeline.models.detections import Box
from reporting.errors import DataError

LIMITS = DecodeLimits()
FULL = 1 << 20
# EXIF orientation to what undoes it: by hand from EXIF 2.32, not from our table.
UNDO = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def noise(width: int, height: int, seed: int = 0) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(width: int, height: int) -> Rgb:
    """Return a picture that no sensible scaling changes much: each pixel says where it is."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, 255 - x], axis=2).astype(np.uint8)


def file_of(pixels: Rgb, kind: str = "PNG", orientation: int = 1, **options: Any) -> bytes:
    """Return a file that shows the pixels once it is turned as its EXIF says."""
    undo = UNDO[orientation]
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = BytesIO()
    stored = image if undo is None else image.transpose(undo)
    stored.save(out, kind, **({"exif": exif.tobytes()} if orientation > 1 else {}), **options)
    return out.getvalue()


def crop(data: bytes, box: Box | None, *, margin: float = 0.0, side: int = FULL) -> Rgb:
    return crop_object(data, box, margin=margin, side=side, limits=LIMITS)


@pytest.mark.parametrize("orientation", UNDO)
def test_a_box_in_upright_pixels_gives_exactly_those_pixels_for_every_orientation(orientation: int) -> None:
    pixels = noise(61, 43)
    found = crop(file_of(pixels, orientation=orientation), Box(5, 7, 50, 20))
    assert (found == pixels[7:20, 5:50]).all()
    assert found.flags["C_CONTIGUOUS"]
    assert (crop(file_of(pixels, orientation=orientation), None) == pixels).all()


@pytest.mark.parametrize(
    ("kind", "orientation"),
    [("BMP", 1), ("GIF", 1), *((kind, turn) for kind in ("JPEG", "WEBP", "PNG", "TIFF") for turn in UNDO)],
)
def test_the_upright_size_is_that_of_the_decoded_picture(kind: str, orientation: int) -> None:
    data = file_of(noise(61, 43), kind, orientation)
    assert upright_size(data, LIMITS) == (61, 43) == decode_rgb(data, min_side=FULL, limits=LIMITS).shape[1::-1]


def test_the_upright_size_of_a_png_whose_exif_stands_behind_its_pixels() -> None:
    data = file_of(noise(61, 43), orientation=6)
    place = data.index(b"eXIf") - 4
    length = 12 + int.from_bytes(data[place : place + 4])
    exif, end = data[place : place + length], data.index(b"IEND") - 4
    moved = data[:place] + data[place + length : end] + exif + data[end:]
    assert decode_rgb(moved, min_side=FULL, limits=LIMITS).shape == (43, 61, 3)
    assert upright_size(moved, LIMITS) == (61, 43)


def test_the_margin_is_a_share_of_the_longer_side_and_ends_where_the_picture_ends() -> None:
    pixels = noise(100, 80)
    data = file_of(pixels)
    assert (crop(data, Box(40, 30, 60, 35), margin=0.25) == pixels[25:40, 35:65]).all()
    assert (crop(data, Box(0, 0, 20, 10), margin=0.5) == pixels[0:20, 0:30]).all()
    assert (crop(data, Box(90, 70, 100, 80), margin=0.5) == pixels[65:80, 85:100]).all()
    assert (crop(data, Box(0, 0, 100, 80), margin=1.0) == pixels).all()


@pytest.mark.parametrize(
    "box",
    [Box(5, 5, 5, 9), Box(9, 5, 5, 9), Box(-1, 0, 5, 5), Box(0, 0, 101, 5), Box(0, 0, 5, 81), Box(200, 0, 300, 9)],
)
def test_a_box_that_is_no_part_of_the_picture_is_refused_and_said_so(box: Box) -> None:
    with pytest.raises(DataError, match=r"is not a part of the picture of 100x80 pixels; give x0, y0, x1, y1"):
        crop(file_of(noise(100, 80)), box)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", UNDO)
def test_a_large_object_comes_scaled_down_from_the_right_place(kind: str, orientation: int) -> None:
    """Odd sizes, decoded at 1/8, 1/4 and 1/2: where a pixel says its place, a shift by one shows."""
    pixels = smooth(999, 747)
    data = file_of(pixels, kind, orientation, **({"quality": 100, "subsampling": 0} if kind == "JPEG" else {}))
    for box in (Box(3, 5, 990, 740), Box(301, 203, 607, 553), Box(801, 553, 997, 701)):
        found = crop(data, box, side=32)
        assert min(found.shape[:2]) == 32
        # An independent way: full size, cut, then box means (a linear ramp's mean is its middle).
        whole = Image.fromarray(pixels[box.y0 : box.y1, box.x0 : box.x1])
        expected = np.asarray(whole.resize(found.shape[1::-1], Image.Resampling.BOX))
        inner = (found.astype(int) - expected)[1:-1, 1:-1]
        assert np.abs(inner).max() <= 4
        assert np.abs(inner.mean(axis=(0, 1))).max() < 0.5  # to be a pixel of the crop aside is to be 1.1 or more off


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    corners=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    margin=st.sampled_from([0.0, 0.08, 0.5]),
    side=st.integers(1, 64),
)
def test_a_crop_is_never_enlarged_and_keeps_its_shape(
    size: tuple[int, int], corners: tuple[float, ...], margin: float, side: int
) -> None:
    (width, height), (a, b, c, d) = size, corners
    x0, x1 = sorted((int(a * (width - 1)), int(b * (width - 1))))
    y0, y1 = sorted((int(c * (height - 1)), int(d * (height - 1))))
    box = Box(x0, y0, x1 + 1, y1 + 1)
    more = round(margin * max(box.width, box.height))
    wide = min(width, box.x1 + more) - max(0, box.x0 - more)
    high = min(height, box.y1 + more) - max(0, box.y0 - more)
    found = crop(file_of(noise(width, height)), box, margin=margin, side=side)
    factor = min(1.0, side / min(wide, high))
    assert found.shape == (max(1, round(high * factor)), max(1, round(wide * factor)), 3)
    assert min(found.shape[:2]) == min(side, wide, high)


def test_objects_cut_together_have_the_pixels_they_have_alone() -> None:
    data = file_of(noise(700, 500), "JPEG", 6, quality=90)
    boxes = [Box(0, 0, 700, 500), Box(10, 20, 30, 60), Box(100, 100, 500, 450), None, Box(699, 499, 700, 500)]
    together = crop_objects(data, boxes, margin=0.08, side=64, limits=LIMITS)
    for box, found in zip(boxes, together, strict=True):
        assert (found == crop(data, box, margin=0.08, side=64)).all()


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1), (1, 1)])
def test_extreme_shapes_are_cut_without_an_error(size: tuple[int, int]) -> None:
    width, height = size
    pixels = noise(width, height)
    assert (crop(file_of(pixels), Box(0, 0, width, height), margin=0.08, side=256) == pixels).all()
    assert crop(file_of(pixels), None, margin=0.08, side=1).shape == (height, width, 3)


def test_a_crop_is_read_back_as_it_was_cut() -> None:
    found = crop(file_of(noise(300, 200), "JPEG"), Box(10, 10, 290, 190), side=64)
    assert (decode_crop(encode_crop(found), LIMITS) == found).all()
    large = noise(900, 700)
    assert (decode_crop(encode_crop(large), LIMITS) == large).all()  # not scaled on the way


def test_a_damaged_picture_says_why_it_cannot_be_cut() -> None:
    data = file_of(noise(300, 200), "JPEG")
    with pytest.raises(PictureError) as raised:
        crop(data[: len(data) // 2], Box(0, 0, 10, 10))
    assert raised.value.reason == "truncated"
    with pytest.raises(PictureError, match="not_an_image"):
        crop(b"<html>", None)
