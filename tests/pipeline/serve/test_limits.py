"""What a request may be, and what it is told when it is not."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from pipeline.images.decode import DecodeLimits
from pipeline.models.detections import Box
from pipeline.serve.limits import VectorQuery, body_kind, box_of, check_picture, parse_json, read_body
from pipeline.serve.refusal import Refusal
from pipeline.serve.serve_settings import ServeSettings, api_keys
from reporting.errors import ConfigError


async def _chunks(parts: list[bytes], taken: list[int]) -> AsyncIterator[bytes]:
    for part in parts:
        taken.append(len(part))
        yield part


def read(parts: list[bytes], declared: str | None, limit: int, taken: list[int] | None = None) -> bytes:
    return asyncio.run(read_body(_chunks(parts, [] if taken is None else taken), declared, limit))


def test_a_limit_of_pixels_that_no_query_is_decoded_up_to_cannot_be_set():
    assert ServeSettings(max_pixels=50_000_000).max_pixels == DecodeLimits().max_pixels
    with pytest.raises(ValidationError):
        ServeSettings(max_pixels=50_000_001)


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=20), max_size=6), st.integers(1, 60))
def test_a_body_is_read_whole_or_refused_by_its_length(parts, limit):
    whole = b"".join(parts)
    if not whole or len(whole) > limit:
        with pytest.raises(Refusal) as refused:
            read(parts, None, limit)
        assert refused.value.status == (413 if whole else 400)
    else:
        assert read(parts, str(len(whole)), limit) == whole


def test_a_body_that_says_it_is_too_long_is_not_read():
    taken: list[int] = []
    with pytest.raises(Refusal) as refused:
        read([b"x" * 10], "11", 10, taken)
    assert (refused.value.status, taken) == (413, [])


def test_a_body_that_lies_about_its_length_is_read_no_further_than_the_limit():
    taken: list[int] = []
    with pytest.raises(Refusal):
        read([b"x" * 6] * 100, "5", 10, taken)
    assert taken == [6, 6]


@pytest.mark.parametrize(
    ("header", "kind"),
    [("image/jpeg", "picture"), ("IMAGE/PNG; q=1", "picture"), ("application/json; charset=utf-8", "json")],
)
def test_a_body_is_known_by_its_content_type(header, kind):
    assert body_kind(header) == kind


@pytest.mark.parametrize("header", [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_content_type_is_refused_with_what_to_send(header):
    with pytest.raises(Refusal) as refused:
        body_kind(header)
    assert refused.value.status == 415
    assert "curl" in refused.value.do


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that says it has that size, with one row of pixels at most behind it."""
    parts = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b"\0"), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts
    )


def test_too_many_pixels_are_refused_by_the_header_alone():
    with pytest.raises(Refusal) as refused:
        check_picture(png_header(40_000, 40_000), 50_000_000)
    assert (refused.value.status, refused.value.error) == (413, "too_many_pixels")


def test_a_picture_of_the_very_limit_passes():
    out = io.BytesIO()
    Image.new("RGB", (20, 10)).save(out, "PNG")
    check_picture(out.getvalue(), 200)
    with pytest.raises(Refusal):
        check_picture(out.getvalue(), 199)


def test_what_is_no_picture_is_refused_as_a_type():
    with pytest.raises(Refusal) as refused:
        check_picture(b"<svg/>", 100)
    assert (refused.value.status, refused.value.error) == (415, "not_an_image")


@settings(max_examples=40)
@given(st.lists(st.floats(-1e300, 1e300, allow_subnormal=False), min_size=1, max_size=8))
def test_a_vector_comes_out_with_length_one_in_its_direction(values):
    query = VectorQuery(vector=values, space_id="s")
    if not any(values):
        with pytest.raises(Refusal):
            query.array()
        return
    found = query.array()
    assert found.dtype == np.float32
    scaled = np.array(values) / max(map(abs, values))
    np.testing.assert_allclose(found[0], scaled / np.linalg.norm(scaled), atol=1e-6)


@pytest.mark.parametrize("values", ["NaN, 1", "Infinity", "0.0, 0", "1.7e308, 1.7e308"])
def test_a_vector_without_a_direction_is_refused(values):
    body = f'{{"vector": [{values}], "space_id": "s"}}'.encode()
    with pytest.raises(Refusal) as refused:
        parse_json(body, VectorQuery).array()
    assert refused.value.status in (400, 422)


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        (b"{", 400, "EOF"),
        (b"\xff\xfe", 400, "JSON"),
        (b"[1]", 422, "body"),
        (b'{"vector": [1]}', 422, "space_id"),
        (b'{"vector": ["x"], "space_id": "s"}', 422, "vector.0"),
        (b'{"vector": [], "space_id": "s"}', 422, "vector"),
        (b'{"vector": [1], "space_id": "s", "catgory": "c"}', 422, "catgory"),
    ],
)
def test_a_wrong_body_is_refused_with_the_field(body, status, named):
    with pytest.raises(Refusal) as refused:
        parse_json(body, VectorQuery)
    assert refused.value.status == status
    assert named.lower() in (refused.value.found + str(refused.value)).lower()


def test_a_box_is_four_whole_numbers():
    assert box_of(None) is None
    assert box_of("1, 2,30,40") == Box(1, 2, 30, 40)
    for text in ("", "1,2,3", "1,2,3,4,5", "1,2,3,x", "1,2,3,-4", "1,2,3,99999999999", "1,2,3,٤"):
        with pytest.raises(Refusal) as refused:
            box_of(text)
        assert refused.value.status == 422


def test_keys_come_from_the_environment_and_a_file(tmp_path):
    path = tmp_path / "keys"
    path.write_text("a" * 16 + "\n\n" + "b" * 16 + "\n")
    settings = ServeSettings(api_key_file=path)
    assert api_keys(settings, {"FUNNELGATE_SERVE__API_KEY": "c" * 16}) == {"a" * 16, "b" * 16, "c" * 16}
    assert api_keys(ServeSettings(), {}) == frozenset()


@pytest.mark.parametrize("content", ["", "\n", "short\n", "ü" * 20])
def test_a_file_without_a_good_key_is_refused_and_no_key_is_printed(tmp_path, content):
    path = tmp_path / "keys"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        api_keys(ServeSettings(api_key_file=path), {})
    assert "short" not in str(refused.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        api_keys(ServeSettings(api_key_file=tmp_path / "none"), {})
