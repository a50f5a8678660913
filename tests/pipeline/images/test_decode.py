from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.images.decode import DecodeLimits, PictureError, PictureInfo, decode_rgb, probe, scale_of

LIMITS = DecodeLimits()
REPOSITORY = Path(__file__).parents[3]
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def decode(data: bytes, min_side: int = 10_000) -> np.ndarray:
    return decode_rgb(data, min_side=min_side, limits=LIMITS)


def reason_of(data: bytes, limits: DecodeLimits = LIMITS) -> str:
    with pytest.raises(PictureError) as caught:
        decode_rgb(data, min_side=64, limits=limits)
    assert str(caught.value).startswith(caught.value.reason + ": ")
    return caught.value.reason


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\0\x08IDAT"


def jpeg_header(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"\x01\x11\0\x02\x11\0\x03\x11\0"
    scan = b"\xff\xda" + struct.pack(">H", 12) + b"\x03\x01\0\x02\0\x03\0\0\x3f\0"
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame + scan


def gif_header(width: int, height: int) -> bytes:
    """Logical screen 1x1, but a first frame that sticks out and asks to be disposed to the background."""
    control = b"!\xf9\x04\x08\0\0\0\0"
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
        + control
        + b","
        + struct.pack("<HHHHB", 0, 0, width, height, 0)
        + b"\x02\0;"
    )


def webp_header(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size + b"\0" * 32


def bmp_header(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )


def tiff_header(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 1)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"


BOMBS = {
    "PNG": png_header,
    "JPEG": jpeg_header,
    "GIF": gif_header,
    "WEBP": webp_header,
    "BMP": bmp_header,
    "TIFF": tiff_header,
}


@pytest.mark.parametrize("file_format", FORMATS)
def test_probe_reads_format_and_size_from_the_header(photo, encode, file_format):
    data = encode(photo(1, 120, 90), file_format)
    assert probe(data, LIMITS) == PictureInfo(file_format, 120, 90, 1)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_frames_are_counted_and_the_first_is_decoded(encode, file_format):
    red, blue, lime = (Image.new("RGB", (80, 70), c) for c in ("red", "blue", "lime"))
    data = encode(red, file_format, save_all=True, append_images=[blue, lime])
    assert probe(data, LIMITS).frames == 3
    assert np.abs(decode(data).astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_pixel_bomb_is_refused_from_its_header_within_64_mib_of_address_space(file_format):
    data = BOMBS[file_format](16_000, 16_000) if file_format == "WEBP" else BOMBS[file_format](32_768, 32_767)
    code = (
        "import resource, sys\n"
        "from pipeline.images.decode import DecodeLimits, PictureError, probe\n"
        "with open('/proc/self/statm') as f:\n    pages = int(f.read().split()[0])\n"
        "size = pages * resource.getpagesize() + (64 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "try:\n    probe(bytes.fromhex(sys.argv[1]), DecodeLimits())\n"
        "except PictureError as error:\n    print(error.reason)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, data.hex()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (done.stdout, done.stderr) == ("too_many_pixels\n", "")


def test_the_pixel_limit_is_inclusive(photo, encode):
    data = encode(photo(1, 100, 80), "PNG")
    assert probe(data, DecodeLimits(max_pixels=8000)).width == 100
    assert reason_of(data, DecodeLimits(max_pixels=7999)) == "too_many_pixels"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>404</html>",
        b"%PDF-1.7",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF0000WEBPVP8 ",
        b"BM",
        b"II*\0",
        b"\0\0\x01\0",
    ],
)
def test_other_bytes_and_cut_headers_are_no_image(data):
    assert reason_of(data) == "not_an_image"


def test_formats_that_pillow_could_open_but_we_do_not_allow_are_no_image(photo, encode):
    for other in ("PPM", "ICO", "TGA", "JPEG2000"):
        assert reason_of(encode(photo(2, 64, 64), other)) == "not_an_image"


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_file_cut_in_its_pixels_is_truncated(photo, encode, file_format, kept):
    data = encode(photo(3, 200, 150), file_format)
    assert reason_of(data[: int(len(data) * kept)]) == "truncated"


def test_a_progressive_jpeg_cut_in_its_last_scan_is_truncated(photo, encode):
    data = encode(photo(3, 200, 150), "JPEG", progressive=True)
    assert reason_of(data[:-200]) == "truncated"


def test_a_whole_file_with_broken_pixels_is_undecodable(photo, encode):
    data = bytearray(encode(photo(4, 200, 150), "PNG"))
    middle = data.index(b"IDAT") + 4
    data[middle : middle + 40] = b"\xff" * 40
    assert reason_of(bytes(data)) == "undecodable"


def test_floating_point_grey_is_undecodable(encode):
    assert reason_of(encode(Image.new("F", (64, 64), 0.5), "TIFF")) == "undecodable"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_as_pillow_applies_it(photo, encode, orientation, file_format):
    upright = photo(5, 96, 64)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(upright, file_format, exif=exif.tobytes())
    with Image.open(BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    assert np.array_equal(decode(data), expected)
    assert decode(data).shape == ((64, 96, 3) if orientation <= 4 else (96, 64, 3))


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0",
    ],
)
def test_damaged_exif_leaves_the_picture_as_it_is(photo, encode, exif):
    image = photo(6, 96, 64)
    assert np.array_equal(decode(encode(image, "JPEG", exif=exif)), decode(encode(image)))


def test_transparency_of_every_kind_becomes_white(encode):
    rgba = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    rgba.paste((0, 0, 255, 255), (0, 0, 32, 64))
    rgba.paste((0, 0, 0, 128), (0, 0, 64, 8))
    palette = Image.new("P", (64, 64), 1)
    palette.putpalette([0, 0, 255, 255, 0, 0])
    palette.paste(0, (0, 0, 32, 64))
    grey = Image.new("LA", (64, 64), (0, 0))
    keyed = Image.new("RGB", (64, 64), (9, 9, 9))
    for name in ("PNG", "WEBP", "TIFF"):
        got = decode(encode(rgba, name, **({"lossless": True} if name == "WEBP" else {}))).astype(int)
        assert (got[40, 60] == 255).all()
        assert got[40, 4].tolist() == [0, 0, 255]
        assert abs(got[2, 60] - 127).max() <= 1  # half-transparent black on white
    for data in (encode(palette, "PNG", transparency=1), encode(palette, "GIF", transparency=1)):
        got = decode(data)
        assert got[40, 60].tolist() == [255, 255, 255]
        assert got[40, 4].tolist() == [0, 0, 255]
    assert (decode(encode(palette, "PNG", transparency=b"\xff\x00"))[40, 60] == 255).all()
    assert (decode(encode(grey, "PNG")) == 255).all()
    assert (decode(encode(keyed, "PNG", transparency=(9, 9, 9))) == 255).all()


def test_grey_palette_and_bilevel_become_rgb(encode):
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (64, 1)))
    for name in ("PNG", "BMP", "TIFF", "GIF"):
        assert np.array_equal(decode(encode(ramp, name))[0], np.repeat(np.arange(256)[:, None], 3, axis=1))
    assert np.array_equal(
        decode(encode(ramp.point(lambda v: 255 * (v > 99), "1"), "PNG"))[0, 98:102, 1], [0, 0, 255, 255]
    )


def test_sixteen_bit_grey_keeps_its_high_byte(encode):
    values = np.tile(np.arange(0, 65536, 256, dtype=np.uint16) + 7, (64, 1))
    for name in ("PNG", "TIFF"):
        assert np.array_equal(decode(encode(Image.fromarray(values), name))[0, :, 0], np.arange(256))


def test_cmyk_jpeg_as_adobe_writes_it_inverted_has_the_right_colours(encode):
    inks = {
        (255, 0, 0, 0): (0, 255, 255),
        (0, 255, 0, 0): (255, 0, 255),
        (0, 0, 0, 255): (0, 0, 0),
        (0, 0, 0, 0): (255, 255, 255),
    }
    for cmyk, rgb in inks.items():
        data = encode(Image.new("CMYK", (64, 64), cmyk), "JPEG", quality=98)
        assert b"Adobe" in data  # Pillow writes the marker and the inversion
        assert np.abs(decode(data).astype(int) - rgb).max() <= 3


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 600))
def test_scale_is_the_largest_that_keeps_the_short_side(width, height, min_side):
    scale = scale_of(width, height, min_side)
    short = min(width, height)
    assert scale in (1, 2, 4, 8)
    assert scale == 1 or -(-short // scale) >= min_side
    assert scale == 8 or short < 2 * scale or -(-short // (2 * scale)) < min_side


@pytest.mark.parametrize("size", [(401, 299), (520, 390), (63, 511), (9, 7), (1, 40)])
@pytest.mark.parametrize("min_side", [1, 64, 96])
def test_every_format_is_scaled_to_the_same_size(photo, encode, size, min_side):
    image = photo(7, *size)
    scale = scale_of(size[0], size[1], min_side)
    expected = (-(-size[1] // scale), -(-size[0] // scale), 3)
    for name in FORMATS:
        assert decode(encode(image, name), min_side).shape == expected


def test_a_scaled_jpeg_shows_the_same_as_the_reduced_original(photo, encode):
    image = photo(8, 800, 640)
    got = decode(encode(image, "JPEG", quality=95), 80).astype(float)
    assert np.abs(got - np.asarray(image.reduce(8))).mean() < 2.0


def test_the_answer_is_fresh_memory_and_input_is_unchanged(photo, encode):
    data = encode(photo(9), "PNG")
    first = decode(data)
    first[:] = 0
    assert decode(data).any()


def test_threads_agree_with_one_thread(photo, encode):
    files = [encode(photo(seed, 160, 120), name) for seed in range(4) for name in FORMATS]
    alone = [decode(f, 60) for f in files]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda f: decode(f, 60), files))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_bytes_end_in_pixels_or_a_picture_error(photo, encode, file_format, data):
    raw = bytearray(encode(photo(10, 48, 40), file_format))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(1, len(raw)))]
    try:
        pixels = decode_rgb(bytes(raw), min_side=32, limits=DecodeLimits(max_pixels=1_000_000))
    except PictureError as error:
        outcome: object = error.reason
    else:
        outcome = (pixels.dtype, pixels.shape[2])
    assert outcome in {"not_an_image", "too_many_pixels", "truncated", "undecodable", (np.dtype(np.uint8), 3)}
