from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter
from pydantic import ValidationError

from pipeline.images import quality
from pipeline.images.decode import DecodeLimits, PictureInfo, decode_rgb, probe
from pipeline.images.quality import WORK_SIDE, QualityLimits, QualityMeasures, judge, measure

LIMITS = QualityLimits()
KERNEL = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


def laplacian_variance(luma: np.ndarray) -> float:
    """By correlation with the kernel, window by window."""
    windows = np.lib.stride_tricks.sliding_window_view(luma.astype(np.float64), (3, 3))
    return float(np.einsum("hwij,ij->hw", windows, KERNEL).var())


def look(data: bytes) -> QualityMeasures:
    return measure(probe(data, DecodeLimits()), decode_rgb(data, min_side=WORK_SIDE, limits=DecodeLimits()))


def icon(draw_shape: str, size: int = 192) -> Image.Image:
    """A flat, small catalogue icon on white."""
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    box = (size // 4, size // 4, 3 * size // 4, 3 * size // 4)
    {"disc": draw.ellipse, "box": draw.rectangle}[draw_shape](box, fill=(255, 190, 60))
    draw.line((size // 3, size // 2, 2 * size // 3, size // 2), fill=(120, 60, 20), width=size // 24)
    return image


def blurred(image: Image.Image, sigma: float = 6.0, side: int = 200) -> Image.Image:
    scale = side / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(sigma))


def test_photos_and_icons_pass_and_the_same_blurred_at_sigma_6_do_not(photo, encode):
    pictures = [photo(seed, 300, 240) for seed in range(5)] + [icon("disc"), icon("box")]
    for picture in pictures:
        assert judge(look(encode(picture)), LIMITS) is None
        assert judge(look(encode(blurred(picture))), LIMITS) == "blurred"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_flat_grey_is_low_contrast_and_not_blurred(encode, file_format):
    measures = look(encode(Image.new("RGB", (200, 200), (128, 128, 128)), file_format))
    assert judge(measures, LIMITS) == "low_contrast"
    assert measures.contrast == 0.0


def test_sizes_are_judged_on_the_original_not_on_the_scaled_decode(photo, encode):
    assert judge(look(encode(photo(1, 64, 256))), LIMITS) is None  # both limits met exactly
    assert judge(look(encode(photo(1, 63, 200))), LIMITS) == "too_small"
    assert judge(look(encode(photo(1, 64, 257))), LIMITS) == "bad_aspect"


@given(
    st.integers(1, 200),
    st.floats(1, 10),
    st.floats(0, 20),
    st.floats(0, 100),
)
def test_the_first_failing_rule_in_the_documented_order_is_the_reason(side, aspect, contrast, sharpness):
    got = judge(QualityMeasures(side, aspect, contrast, sharpness), LIMITS)
    failing = [
        name
        for name, fails in (
            ("too_small", side < 64),
            ("bad_aspect", aspect > 4.0),
            ("low_contrast", contrast < 6.0),
            ("blurred", sharpness < 40.0),
        )
        if fails
    ]
    assert got == (failing[0] if failing else None)


def test_sharpness_is_the_kernels_variance_over_the_luma_at_the_working_size(photo):
    image = photo(2, WORK_SIDE, WORK_SIDE)  # already at the working size: no resampling in between
    luma = np.asarray(image.convert("L"), dtype=np.float64)
    expected = laplacian_variance(luma)
    got = measure(PictureInfo("PNG", WORK_SIDE, WORK_SIDE, 1), np.asarray(image))
    assert got.sharpness == pytest.approx(expected, rel=1e-12)
    assert got.contrast == pytest.approx(luma.std(), rel=1e-12)


def test_sharpness_hardly_depends_on_the_size_of_the_original(photo, encode):
    for seed in range(3):
        large = photo(seed, 800, 600)
        small = large.resize((260, 195), Image.Resampling.LANCZOS)
        ratio = look(encode(large, "PNG")).sharpness / look(encode(small, "PNG")).sharpness
        assert 0.8 < ratio < 1.25
        raw = [laplacian_variance(np.asarray(image.convert("L"))) for image in (large, small)]
        assert raw[0] / raw[1] < 0.7  # what the fixed working size removes


def test_extreme_shapes_are_measured_in_bounded_memory():
    strip = np.zeros((1, 20_000, 3), dtype=np.uint8)
    strip[:, ::2] = 255
    measures = measure(PictureInfo("PNG", 20_000, 1, 1), strip)
    assert measures.aspect == 20_000.0
    assert np.isfinite(measures.sharpness)
    assert judge(measures, LIMITS) == "too_small"


def test_wrong_arrays_and_limits_are_refused():
    info = PictureInfo("PNG", 4, 4, 1)
    wrong: list[np.ndarray] = [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
    for bad in wrong:
        with pytest.raises(ValueError, match="wanted is uint8"):
            measure(info, bad)
    with pytest.raises(ValidationError):
        QualityLimits(max_aspect=0.5)
    with pytest.raises(ValidationError):
        QualityLimits(min_sharpnes=1.0)  # type: ignore[call-arg]


@pytest.mark.data
def test_grocery_photos_and_catalogue_pictures_pass_and_their_blurred_copies_do_not(shared_data: Path, encode):
    root = shared_data / "grocery"
    with (root / "classes.csv").open() as file:
        iconic = [root / row["Iconic Image Path (str)"].lstrip("/") for row in csv.DictReader(file)]
    train = [root / line.split(",")[0] for line in (root / "train.txt").read_text().splitlines()]
    kept = [judge(look(path.read_bytes()), quality.QualityLimits()) for path in train[::24] + iconic[::2]]
    assert kept == [None] * len(kept)
    soft = [judge(look(encode(blurred(Image.open(path).convert("RGB")))), LIMITS) for path in train[::90] + iconic[::6]]
    assert soft == ["blurred"] * len(soft)
