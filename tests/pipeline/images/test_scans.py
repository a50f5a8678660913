"""A picture that would hold a thread for minutes is refused by its header: scans of a JPEG, and sides."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.images.decode import DecodeLimits, PictureError, decode_rgb, probe
from pipeline.images.header import jpeg_scans

LIMITS = DecodeLimits()
SOS = b"\xff\xda"


def jpeg(side: int = 64, **options: Any) -> bytes:
    pixels = np.random.default_rng(side).integers(0, 255, (side, side, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def repeated(data: bytes, times: int) -> bytes:
    """Return a JPEG whose last scan is there so many times more."""
    return data[:-2] + data[data.rindex(SOS) : -2] * times + data[-2:]


def refused(data: bytes, limits: DecodeLimits = LIMITS) -> str:
    with pytest.raises(PictureError) as caught:
        probe(data, limits)
    with pytest.raises(PictureError) as decoding:
        decode_rgb(data, min_side=8, limits=limits)
    assert caught.value.reason == decoding.value.reason
    return caught.value.reason


def test_a_progressive_picture_that_repeats_its_last_scan_is_refused_before_it_is_decoded():
    data = jpeg(progressive=True)
    assert jpeg_scans(data, 100) == 10  # libjpeg's default script
    assert refused(repeated(data, 3000)) == "too_many_scans"
    assert refused(repeated(data, 91)) == "too_many_scans"
    assert decode_rgb(repeated(data, 90), min_side=64, limits=LIMITS).shape == (64, 64, 3)


def test_the_larger_the_picture_the_fewer_scans_may_go_over_it():
    data, small = jpeg(progressive=True), DecodeLimits(max_pixels=64 * 64)
    assert refused(repeated(data, 11), small) == "too_many_scans"
    assert decode_rgb(repeated(data, 10), min_side=64, limits=small).shape == (64, 64, 3)


def test_bytes_that_look_like_scans_are_none():
    hidden = SOS * 1000
    comment = b"\xff\xfe" + struct.pack(">H", len(hidden) + 2) + hidden
    for data in (jpeg(progressive=True), jpeg()):
        scans = jpeg_scans(data, 100)
        assert jpeg_scans(data[:2] + comment + data[2:], 100) == scans
        assert jpeg_scans(data + hidden, 100) == scans  # behind its end
        assert decode_rgb(data[:2] + comment + data[2:] + hidden, min_side=64, limits=LIMITS).shape == (64, 64, 3)


@given(st.integers(1, 30), st.sampled_from([{}, {"progressive": True}, {"restart_marker_blocks": 2}]))
def test_a_scan_is_counted_however_often_it_is_there(times: int, options: dict[str, Any]):
    data = jpeg(**options)
    assert jpeg_scans(repeated(data, times), 1000) == jpeg_scans(data, 1000) + times


@given(st.binary(max_size=300))
def test_any_bytes_have_a_bounded_count_of_scans(data: bytes):
    assert 0 <= jpeg_scans(b"\xff\xd8" + data.replace(b"x", SOS), 5) <= 6


def test_millions_of_segments_are_refused_before_they_are_walked():
    data = jpeg()
    assert refused(data[:2] + b"\xff\xfe\x00\x02" * 20_000 + data[2:]) == "not_an_image"


def test_a_picture_one_pixel_wide_and_millions_high_is_refused_by_its_header():
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def tall(height: int) -> bytes:
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, height, 8, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(4 * height))) + chunk(b"IEND", b"")

    assert refused(tall(65_536)) == "too_many_pixels"
    assert decode_rgb(tall(65_535), min_side=1, limits=LIMITS).shape == (65_535, 1, 3)
