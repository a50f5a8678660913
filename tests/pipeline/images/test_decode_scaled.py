"""A picture decoded at reduced scale says which pixels of the upright original each of its pixels stands for."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.images.decode import DecodeLimits, PictureError, Scaled, decode_rgb, decode_scaled

LIMITS = DecodeLimits()


def written(image: Image.Image, file_format: str, orientation: int, encode) -> tuple[bytes, np.ndarray]:
    """Return a file with that EXIF orientation, and the upright original as Pillow makes it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if file_format == "JPEG" else {}
    data = encode(image, file_format, exif=exif.tobytes(), **options)
    with Image.open(BytesIO(data)) as opened:
        return data, np.asarray(ImageOps.exif_transpose(opened).convert("RGB"), dtype=float)


def worst_difference(scaled: Scaled, original: np.ndarray) -> float:
    """Return the greatest distance of a pixel from the mean of the original pixels it is said to stand for."""
    worst = 0.0
    for y, row in enumerate(scaled.image.astype(float)):
        for x, pixel in enumerate(row):
            left, top = x * scaled.scale - scaled.left, y * scaled.scale - scaled.top
            area = original[max(0, top) : top + scaled.scale, max(0, left) : left + scaled.scale]
            assert area.size, "a pixel that lies outside altogether"
            worst = max(worst, np.abs(area.mean(axis=(0, 1)) - pixel).max())
    return worst


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("file_format", "allowed"), [("PNG", 1.0), ("TIFF", 1.0), ("JPEG", 8.0)])
@pytest.mark.parametrize("size", [(101, 74), (96, 99)])
def test_every_pixel_is_the_mean_of_the_original_pixels_it_stands_for(
    photo, encode, orientation, file_format, allowed, size
):
    data, original = written(photo(21, *size), file_format, orientation, encode)
    scaled = decode_scaled(data, min_side=10, limits=LIMITS)
    assert scaled.scale in (4, 8)
    assert (scaled.height, scaled.width) == original.shape[:2]
    assert worst_difference(scaled, original) <= allowed


def test_the_check_above_notices_a_picture_that_is_off_by_the_rest(photo, encode):
    data, original = written(photo(21, 101, 74), "PNG", 2, encode)
    scaled = decode_scaled(data, min_side=10, limits=LIMITS)
    assert scaled.left == 3  # 26 columns of 4 px, 101 px
    off = Scaled(scaled.image, scaled.width, scaled.height, scaled.scale, 0, scaled.top)
    assert worst_difference(off, original) > 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_pixels_are_those_of_the_plain_decode(photo, encode, orientation):
    data, original = written(photo(22, 90, 61), "WEBP", orientation, encode)
    scaled = decode_scaled(data, min_side=61, limits=LIMITS)
    assert (scaled.scale, scaled.left, scaled.top) == (1, 0, 0)
    assert np.array_equal(scaled.image, original)
    small = decode_scaled(data, min_side=20, limits=LIMITS)
    assert np.array_equal(small.image, decode_rgb(data, min_side=20, limits=LIMITS))
    assert (small.width, small.height) == (scaled.width, scaled.height)


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1)])
def test_a_line_of_pixels_keeps_its_size(encode, size):
    scaled = decode_scaled(encode(Image.new("RGB", size), "PNG"), min_side=1, limits=LIMITS)
    assert (scaled.width, scaled.height, scaled.scale) == (*size, 1)


def test_a_cut_picture_is_refused(photo, encode):
    with pytest.raises(PictureError, match="truncated"):
        decode_scaled(encode(photo(23))[:4000], min_side=64, limits=LIMITS)
