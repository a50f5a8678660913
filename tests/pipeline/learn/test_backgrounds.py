"""Backgrounds: photos only from the folder that was named, and kinds of the test that training never draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.learn import backgrounds
from pipeline.learn.backgrounds import background, light, photo_paths
from reporting.errors import DataError


def listed(folder: Path, text: bytes, *photos: str) -> Path:
    (folder / "train.txt").write_bytes(text)
    for name in photos:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"a photo")
    return folder


def test_photos_come_in_the_order_of_the_list(tmp_path: Path) -> None:
    folder = listed(tmp_path, b"b.jpg, 3, 4\n \na/1.jpg,0,0\n", "a/1.jpg", "b.jpg")
    assert photo_paths(folder, "train") == [folder / "b.jpg", folder / "a/1.jpg"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"../secret.jpg, 1\n", r"outside its folder, first .*\.\./secret\.jpg"),
        (b"/etc/hostname, 1\n", "outside its folder, first /etc/hostname"),
        (b"gone.jpg\nb.jpg\n", r"1 of 2 photos are missing, first .*gone\.jpg"),
        (b"", "0 of 0 photos"),
        (b"\xff\xfe\n", r"train\.txt: cannot be read"),
    ],
)
def test_a_list_that_names_no_photo_of_the_folder_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"no photo")
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=says):
        photo_paths(listed(tmp_path / "data", text, "b.jpg"), "train")


def test_a_folder_without_the_list_is_refused_and_the_list_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"val\.txt: no such file"):
        photo_paths(tmp_path, "val")


def test_planks_and_tiles_are_drawn_for_the_test_alone() -> None:
    new = {backgrounds._planks, backgrounds._tiles}
    assert new <= set(backgrounds._TEST)
    assert new.isdisjoint(backgrounds._TRAIN)


@pytest.mark.parametrize("test", [False, True])
def test_every_background_is_drawn_in_full_and_again_the_same(test: bool) -> None:
    for draw in backgrounds._TEST if test else backgrounds._TRAIN:
        one, other = (draw(64, np.random.default_rng(3)) for _ in range(2))
        assert one.shape == (64, 64, 3)
        assert np.isfinite(one).all()
        assert (one == other).all()
        assert (one != draw(64, np.random.default_rng(4))).any()
    assert background(64, np.random.default_rng(0), [], test=test).size == (64, 64)


def test_a_shop_is_white_or_almost() -> None:
    seen = {light(8, np.random.default_rng(seed)).getpixel((3, 3)) for seed in range(40)}
    assert (255, 255, 255) in seen
    assert len(seen) > 5
    assert min(min(colour) for colour in seen if isinstance(colour, tuple)) >= 240


def test_half_of_the_backgrounds_are_patches_of_photos(tmp_path: Path) -> None:
    """A patch holds nothing but the photo's colours, which nothing drawn has."""
    Image.new("RGB", (300, 200), (7, 250, 3)).save(tmp_path / "green.png")
    drawn = [background(32, np.random.default_rng(seed), [tmp_path / "green.png"], test=False) for seed in range(200)]
    green = sum(bool((np.asarray(one) == (7, 250, 3)).all()) for one in drawn)
    assert 70 <= green <= 130
