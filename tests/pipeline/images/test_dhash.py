from __future__ import annotations

from io import BytesIO
from pathlib import Path

import imagehash
import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from pipeline.images.decode import DecodeLimits, PictureError
from pipeline.images.dhash import HASH_VERSION, MIN_SIDE, PictureHash, dhash64


def oracle(image: Image.Image) -> int:
    return int(str(imagehash.dhash(image)), 16)


def bits(a: PictureHash, b: PictureHash) -> int:
    assert a.value is not None
    assert b.value is not None
    return (a.value ^ b.value).bit_count()


def test_where_nothing_is_scaled_the_hash_is_imagehashs_bit_for_bit(photo, encode):
    for seed in range(30):
        # Grey and shorter than 2 x MIN_SIDE: no scaled decode, no colour conversion, the same definition remains.
        image = photo(seed, 160, 2 * MIN_SIDE - 2).convert("L")
        for name in ("PNG", "JPEG", "TIFF"):
            data = encode(image, name)
            assert dhash64(data).value == oracle(Image.open(BytesIO(data)))


def test_a_scaled_decode_changes_under_one_bit_on_average(photo, encode):
    files = [encode(photo(seed, 523, 389)) for seed in range(40)]
    differing = [((dhash64(f).value or 0) ^ oracle(Image.open(BytesIO(f)))).bit_count() for f in files]
    assert np.mean(differing) < 1.0
    assert max(differing) <= 4


def test_bits_are_rows_from_the_top_left_brighter_to_the_right(encode):
    ramp = np.tile(np.linspace(0, 255, 90).round().astype(np.uint8), (80, 1))
    assert dhash64(encode(Image.fromarray(ramp), "PNG")).value == 2**64 - 1
    assert dhash64(encode(Image.fromarray(ramp[:, ::-1]), "PNG")).value == 0
    half = np.concatenate([ramp[:40], ramp[:40, ::-1]])
    assert dhash64(encode(Image.fromarray(half), "PNG")).value == (2**32 - 1) << 32


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
def test_orientation_in_exif_and_turned_pixels_hash_alike(photo, encode, orientation, file_format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    tagged = encode(photo(3, 640, 450), file_format, exif=exif.tobytes())
    turned = encode(ImageOps.exif_transpose(Image.open(BytesIO(tagged))).convert("RGB"), "PNG")
    assert bits(dhash64(tagged), dhash64(turned)) <= 2
    gap = dhash64(tagged).thumbnail.astype(int) - dhash64(turned).thumbnail
    assert np.abs(gap).max() <= 4


def test_transparent_pixels_hash_as_white_whatever_colour_they_hide(photo, encode):
    image = photo(4, 200, 200)
    mask = Image.new("L", image.size, 0)
    mask.paste(255, (50, 50, 150, 150))
    on_white = Image.new("RGB", image.size, "white")
    on_white.paste(image, mask=mask)
    hidden = image.copy()
    hidden.putalpha(mask)
    a, b = dhash64(encode(hidden, "PNG")), dhash64(encode(on_white, "PNG"))
    assert a.value == b.value
    assert np.array_equal(a.thumbnail, b.thumbnail)


def test_the_first_frame_of_an_animation_is_hashed(photo, encode):
    first, second = photo(5, 120, 120).quantize(64), photo(6, 120, 120).quantize(64)
    moving = dhash64(encode(first, "GIF", save_all=True, append_images=[second]))
    assert moving.value == dhash64(encode(first, "GIF")).value


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_pictures_without_detail_get_no_hash_but_a_thumbnail(photo, encode, file_format):
    flat = dhash64(encode(Image.new("RGB", (100, 100), (200, 30, 30)), file_format))
    assert (flat.value, flat.detail) == (None, 0.0)
    assert np.abs(flat.thumbnail.astype(int) - [200, 30, 30]).max() <= 2
    # Rows of stripes: high variance, but none of it between horizontal neighbours, so every bit would be noise.
    stripes = np.repeat(np.arange(0, 240, 20, dtype=np.uint8), 10)[:, None].repeat(120, axis=1)
    assert dhash64(encode(Image.fromarray(stripes), file_format)).value is None
    faded = ImageEnhance.Contrast(photo(7)).enhance(0.02)
    assert dhash64(encode(faded, file_format)).value is None
    assert dhash64(encode(faded, file_format), min_detail=0.0).value is not None


def test_the_thumbnail_is_the_picture_at_8_by_8(photo, encode):
    image = photo(8, 640, 480)
    expected = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR)).astype(int)
    for name in ("PNG", "JPEG", "BMP"):
        thumbnail = dhash64(encode(image, name)).thumbnail
        assert (thumbnail.dtype, thumbnail.shape) == (np.dtype(np.uint8), (8, 8, 3))
        assert np.abs(thumbnail - expected).max() <= 4


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.75, 1.0), st.integers(0, 30))
def test_a_rising_linear_change_of_brightness_turns_only_bits_of_flat_steps(photo, encode, seed, gain, offset):
    grey = photo(seed, 160, 2 * MIN_SIDE - 2).convert("L").point([round(40 + v * 0.6) for v in range(256)])
    changed = grey.point([round(v * gain + offset) for v in range(256)])
    before, after = dhash64(encode(grey, "PNG")), dhash64(encode(changed, "PNG"))
    assert before.value is not None
    assert after.value is not None
    turned = np.array([(before.value ^ after.value) >> bit & 1 for bit in range(63, -1, -1)], dtype=bool).reshape(8, 8)
    cells = np.asarray(grey.resize((9, 8), Image.Resampling.LANCZOS)).astype(int)
    # Rounding to whole grey levels moves each cell by at most one level, so larger steps keep their sign.
    assert np.abs(np.diff(cells, axis=1))[turned].max(initial=0) <= 2


def test_errors_are_those_of_the_decoder(photo, encode):
    data = encode(photo(9))
    for broken, reason in ((b"no picture", "not_an_image"), (data[: len(data) // 2], "truncated")):
        with pytest.raises(PictureError) as caught:
            dhash64(broken)
        assert caught.value.reason == reason
    with pytest.raises(PictureError) as caught:
        dhash64(data, limits=DecodeLimits(max_pixels=1000))
    assert caught.value.reason == "too_many_pixels"


def test_the_version_names_what_a_hash_depends_on():
    for part in ("dhash64", "dct-64", "lanczos", "pillow-" + PIL.__version__.split(".")[0]):
        assert part in HASH_VERSION


@pytest.mark.slow
@pytest.mark.data
def test_recall_on_edited_grocery_photos(shared_data: Path, encode):
    root = shared_data / "grocery"
    paths = [root / line.split(",")[0] for line in (root / "val.txt").read_text().splitlines()][::8]
    edits = {
        "q50": (lambda im: encode(im, quality=50), 0.98),
        "half": (lambda im: encode(im.resize((im.width // 2, im.height // 2))), 0.98),
        "darker": (lambda im: encode(ImageEnhance.Brightness(im).enhance(0.7)), 0.95),
        "brighter": (lambda im: encode(ImageEnhance.Brightness(im).enhance(1.3)), 0.90),
        "png": (lambda im: encode(im, "PNG"), 0.98),
    }
    originals = [(dhash64(path.read_bytes()), Image.open(path).convert("RGB")) for path in paths]
    for name, (edit, least) in edits.items():
        found = np.mean([bits(known, dhash64(edit(image))) <= 4 for known, image in originals])
        assert found >= least, f"{name}: {found:.3f}"
