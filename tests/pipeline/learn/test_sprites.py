"""Items to paste: what is cut away is the ground around them and nothing else."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage  # type: ignore[import-untyped]

from pipeline.learn.sprites import (
    PARTS,
    iconic_sprites,
    part_of,
    sample_sprites,
    trimmed,
    visible_box,
    without_white,
)
from reporting.errors import ConfigError, DataError
from samples import held_out, samples_dir

RED = (200, 30, 40)


def ring(size: int = 60) -> Image.Image:
    """A red ring on white: the white in the ring is the item's, that around it is not."""
    picture = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((10, 10, 49, 49), fill=RED)
    draw.ellipse((20, 20, 39, 39), fill="white")
    return picture


def test_white_around_an_item_goes_and_white_within_it_stays() -> None:
    cut = np.asarray(without_white(ring()))
    assert cut[30, 30].tolist() == [255, 255, 255, 255]
    assert cut[30, 14].tolist() == [*RED, 255]
    assert cut[[0, 0, 59, 59, 5], [0, 59, 0, 59, 30], 3].tolist() == [0] * 5


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 0.8))
def test_the_flood_takes_what_another_library_calls_connected_to_the_border(seed: int, share: float) -> None:
    white = np.random.default_rng(seed).random((14, 17)) < share
    cut = np.asarray(without_white(Image.fromarray(np.where(white[..., None], 250, 90).repeat(3, 2).astype(np.uint8))))
    parts, _ = ndimage.label(np.pad(white, 1, constant_values=True))
    outside = (parts == parts[0, 0])[1:-1, 1:-1]
    # The edge is softened by one pixel: further inside and outside it is decided.
    near = np.ones((3, 3), np.bool_)
    assert (cut[..., 3][ndimage.binary_erosion(outside, near, border_value=1)] == 0).all()
    assert (cut[..., 3][ndimage.binary_erosion(~outside, near, border_value=1)] == 255).all()


def test_almost_white_is_white_from_244() -> None:
    picture = ring()
    picture.putpixel((0, 0), (244, 255, 255))
    picture.putpixel((59, 59), (243, 255, 255))
    alpha = np.asarray(without_white(picture))[..., 3]
    assert alpha[0, 0] == 0
    assert alpha[59, 59] > 0


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 20), st.integers(0, 20), st.integers(40, 255))
def test_an_item_is_trimmed_to_its_visible_pixels(width: int, height: int, left: int, top: int, alpha: int) -> None:
    image = Image.new("RGBA", (60, 60), (0, 0, 0, 39))  # a shadow, which is no part of it
    image.paste((9, 8, 7, alpha), (left, top, left + width, top + height))
    assert visible_box(image) == (left, top, left + width, top + height)
    cut = trimmed(image)
    assert cut.size == (width, height)
    assert (np.asarray(cut) == (9, 8, 7, alpha)).all()


def test_an_item_that_cannot_be_seen_is_refused() -> None:
    assert visible_box(Image.new("RGBA", (5, 5), (0, 0, 0, 39))) is None
    with pytest.raises(DataError, match="no visible pixel"):
        trimmed(Image.new("RGBA", (5, 5), (0, 0, 0, 39)))


def test_the_parts_divide_the_sample_pack_and_test_has_what_is_held_out() -> None:
    with (samples_dir() / "items.csv").open(newline="", encoding="utf-8") as lines:
        items = {row["item"]: row["category"] for row in csv.DictReader(lines)}
    by_part = {part: sample_sprites(samples_dir(), ["noto"], part) for part in PARTS}
    named = {part: [sprite.name.removeprefix("noto/") for sprite in found] for part, found in by_part.items()}
    assert sorted(name for names in named.values() for name in names) == sorted(items)  # each in one of them, once
    assert set(named["test"]) == {item for item in items if held_out(item)}
    assert all(part_of(item) == part for part, names in named.items() for item in names)
    for sprite in by_part["tune"]:
        assert sprite.category == items[sprite.name.removeprefix("noto/")]
        assert visible_box(sprite.image) == (0, 0, *sprite.image.size)


@pytest.mark.parametrize(
    ("looks", "says"),
    [(["notto"], r"unknown look 'notto'; did you mean noto\?"), ([], r"source\.looks: no pictures .* noto")],
)
def test_an_unknown_look_is_refused_with_the_nearest(looks: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        sample_sprites(samples_dir(), looks, "tune")


def test_catalogue_pictures_are_cut_out_and_named_by_their_category(tmp_path: Path) -> None:
    root = tmp_path / "iconic-images-and-descriptions"
    for path in ("Fruit/Apple/Apple_Iconic.jpg", "Packages/Milk/Milk_Iconic.jpg", "Fruit/Apple/Apple_Information.jpg"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        ring().save(root / path, quality=95)
    found = iconic_sprites(tmp_path)
    assert [(one.name, one.category) for one in found] == [
        ("iconic/Apple_Iconic", "food-fruit"),
        ("iconic/Milk_Iconic", None),
    ]
    assert all(abs(side - 40) <= 4 for one in found for side in one.image.size)
    with pytest.raises(DataError, match="no catalogue pictures"):
        iconic_sprites(tmp_path / "elsewhere")
