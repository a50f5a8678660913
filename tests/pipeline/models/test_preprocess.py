"""Preprocessing against independent computations: Pillow on a hand-made crop or canvas, numpy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.models.preprocess import preprocess, resize
from pipeline.models.spec import InputSpec
from reporting.errors import DataError

BASE: dict[str, Any] = {
    "height": 32,
    "width": 32,
    "resize": "stretch",
    "interpolation": "bicubic",
    "color": "RGB",
    "mean": (127.0, 100.0, 50.0),
    "std": (128.0, 64.0, 32.0),
    "layout": "NCHW",
    "dtype": "float32",
}


def spec(**values: Any) -> InputSpec:
    return InputSpec.model_validate(BASE | values)


def picture(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_values_are_minus_mean_over_std_in_planes() -> None:
    image = picture(32, 32)  # already of the network's size: Pillow's resize is then the identity
    expected = (image.astype(np.float64) - BASE["mean"]) / BASE["std"]
    batch = preprocess([image], spec())
    assert batch.dtype == np.float32
    assert batch.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(batch[0], np.moveaxis(expected, 2, 0), rtol=1e-6, atol=1e-6)


def test_bgr_takes_the_planes_in_reverse_and_the_statistics_in_that_order() -> None:
    image = picture(32, 32)
    expected = (image[:, :, ::-1].astype(np.float64) - BASE["mean"]) / BASE["std"]
    np.testing.assert_allclose(
        preprocess([image], spec(color="BGR"))[0], np.moveaxis(expected, 2, 0), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_stretch_is_pillows_resize_of_the_whole_picture(name: str) -> None:
    image = picture(60, 25)
    method = getattr(Image.Resampling, name.upper())
    expected = np.asarray(Image.fromarray(image).resize((32, 24), method))
    np.testing.assert_array_equal(resize(image, spec(height=24, interpolation=name)), expected)


@pytest.mark.parametrize(
    ("height", "width", "ratio", "rows", "columns"),
    [
        (64, 100, 1.0, slice(0, 64), slice(18, 82)),
        (100, 64, 1.0, slice(18, 82), slice(0, 64)),
        (64, 64, 0.875, slice(4, 60), slice(4, 60)),
        (80, 128, 0.5, slice(20, 60), slice(44, 84)),
    ],
)
def test_shortest_crop_takes_the_centred_square(
    height: int, width: int, ratio: float, rows: slice, columns: slice
) -> None:
    image = picture(height, width)
    crop = np.ascontiguousarray(image[rows, columns])
    found = resize(image, spec(resize="shortest_crop", crop_ratio=ratio, interpolation="nearest"))
    expected = np.asarray(Image.fromarray(crop).resize((32, 32), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(found, expected)


def test_shortest_crop_keeps_the_targets_aspect_ratio() -> None:
    image = picture(90, 90)
    found = resize(image, spec(resize="shortest_crop", height=16, width=32, interpolation="bilinear"))
    # 2:1 out of 90 x 90 is 90 x 45, which starts at row 22.5: Pillow's own box, stated independently.
    expected = Image.fromarray(image).resize((32, 16), Image.Resampling.BILINEAR, box=(0, 22.5, 90, 67.5))
    np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.parametrize(("height", "width"), [(64, 16), (16, 64), (40, 40), (8, 20), (30, 64)])
def test_letterbox_is_pillows_own_pad(height: int, width: int) -> None:
    image = picture(height, width)
    found = resize(image, spec(resize="letterbox", fill=(1, 2, 3)))
    expected = ImageOps.pad(
        Image.fromarray(image), (32, 32), Image.Resampling.BICUBIC, color=(1, 2, 3), centering=(0.4999, 0.4999)
    )
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_letterbox_of_an_extreme_ratio_keeps_at_least_one_row() -> None:
    image = np.zeros((1, 500, 3), dtype=np.uint8)
    found = resize(image, spec(resize="letterbox"))
    assert (found == 0).all(axis=2).sum() == 32
    assert (found == 255).all(axis=2).sum() == 32 * 31


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(0, 255),
    st.sampled_from(["stretch", "shortest_crop", "letterbox"]),
    st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
    st.floats(0.05, 1.0),
)
def test_a_plain_picture_of_any_size_stays_plain(
    height: int, width: int, value: int, how: str, interpolation: str, ratio: float
) -> None:
    image = np.full((height, width, 3), value, dtype=np.uint8)
    plan = spec(resize=how, interpolation=interpolation, crop_ratio=ratio, fill=(value,) * 3)
    found = resize(image, plan)
    assert found.shape == (32, 32, 3)
    assert (found == value).all()


def test_pictures_are_not_changed_and_do_not_influence_each_other() -> None:
    images = [picture(20, 30, seed) for seed in range(4)]
    copies = [image.copy() for image in images]
    together = preprocess(images, spec())
    alone = np.concatenate([preprocess([image], spec()) for image in images])
    np.testing.assert_array_equal(together, alone)
    for image, copy in zip(images, copies, strict=True):
        np.testing.assert_array_equal(image, copy)


def test_views_with_odd_strides_are_read_as_what_they_show() -> None:
    image = picture(40, 60)
    view = image[::2, ::-3]
    np.testing.assert_array_equal(preprocess([view], spec()), preprocess([np.ascontiguousarray(view)], spec()))


def test_no_picture_gives_an_empty_batch() -> None:
    assert preprocess([], spec(height=24)).shape == (0, 3, 24, 32)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0, 3)])
def test_a_picture_without_pixels_is_refused_by_its_place(shape: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match=r"picture 1 of the batch.*no pixels.*drop empty crops"):
        preprocess([picture(4, 4), np.zeros(shape, dtype=np.uint8)], spec())


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((4, 4, 1), dtype=np.uint8),
        np.zeros((4, 4, 3), dtype=np.float32),
    ],
)
def test_another_shape_or_dtype_is_refused(wrong: Any) -> None:
    with pytest.raises(DataError, match=r"picture 0 of the batch: expected \(H, W, 3\) uint8 RGB"):
        preprocess([wrong], spec())
