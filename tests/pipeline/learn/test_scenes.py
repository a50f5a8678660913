"""Scenes: the same for ever, parts that share nothing, and boxes that hold exactly what was pasted."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.learn import scenes as scenes_module
from pipeline.learn.config import ScenesSource
from pipeline.learn.scenes import SCENE_SIDE, Scene, SceneSet, SceneSets, scene_sets
from pipeline.learn.sprites import Sprite, part_of
from pipeline.models.detections import Box

SOURCE = ScenesSource(kind="scenes", train=60, test=60, looks=("noto",))
EACH = 25
ITEM = Image.new("RGBA", (60, 40), (250, 90, 10, 255))


@pytest.fixture(scope="module")
def sets() -> SceneSets:
    return scene_sets(SOURCE, seed=7)


@pytest.fixture(scope="module")
def composed(sets: SceneSets) -> list[Scene]:
    return [part[number] for part in sets for number in range(EACH)]


def one_item(category: str | None, **changes: object) -> SceneSet:
    whole = SceneSet(1, 20, [Sprite("noto/item", category, ITEM)], (), ("fruit", "hats"), "train")
    return whole if not changes else SceneSet(**{**vars(whole), **changes})


def equal(one: Scene, other: Scene) -> bool:
    return one.name == other.name and all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in ("image", "boxes", "labels")
    )


def test_equal_seed_and_number_give_equal_bytes_in_any_order(sets: SceneSets, composed: list[Scene]) -> None:
    again = scene_sets(SOURCE, seed=7)
    for place, part in enumerate(again):
        for number in (EACH - 1, 0, 11):
            assert equal(part[number], composed[EACH * place + number])


def test_another_seed_number_or_part_gives_another_scene(sets: SceneSets) -> None:
    others = [sets.train[1], sets.tune[0], sets.test[0], scene_sets(SOURCE, seed=8).train[0]]
    seen = {scene.image.tobytes() for scene in (sets.train[0], *others)}
    assert len(seen) == 5
    assert not equal(one_item("fruit")[3], one_item("fruit", part="tune")[3])  # of the same items


def test_a_scene_does_not_depend_on_how_many_there_are(sets: SceneSets) -> None:
    more = scene_sets(SOURCE.model_copy(update={"train": 5000}), seed=7)
    assert equal(more.train[3], sets.train[3])
    for number in (-1, 60):
        with pytest.raises(IndexError):
            sets.train[number]


def test_parts_share_no_item_in_any_look(sets: SceneSets) -> None:
    items = [{sprite.name.partition("/")[2] for sprite in part.sprites} for part in sets]
    assert all(items)
    assert all(one.isdisjoint(other) for one, other in combinations(items, 2))
    assert all({part_of(name) for name in names} == {part.part} for part, names in zip(sets, items, strict=True))


@pytest.fixture
def grocery(tmp_path: Path) -> Path:
    iconic = tmp_path / "iconic-images-and-descriptions/Fruit/Apple"
    iconic.mkdir(parents=True)
    Image.new("RGB", (40, 40), (180, 40, 30)).save(iconic / "Apple_Iconic.jpg")
    for name, split in (("a", "train"), ("b", "train"), ("c", "val")):
        path = tmp_path / split / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(ord(name)).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
        with (tmp_path / f"{split}.txt").open("a", encoding="utf-8") as listed:
            listed.write(f"{split}/{name}.jpg, 0, 0\n")
    return tmp_path


def test_the_test_shares_no_photo_with_the_others_and_has_no_catalogue_picture(grocery: Path) -> None:
    found = scene_sets(SOURCE.model_copy(update={"photos": grocery}), seed=7)
    names = [{path.name for path in part.photos} for part in found]
    assert names == [{"a.jpg", "b.jpg"}, {"a.jpg", "b.jpg"}, {"c.jpg"}]
    iconic = [[sprite.name for sprite in part.sprites if sprite.name.startswith("iconic/")] for part in found]
    assert iconic == [["iconic/Apple_Iconic"], [], []]


def test_photos_become_backgrounds(grocery: Path) -> None:
    found = scene_sets(SOURCE.model_copy(update={"photos": grocery}), seed=7)
    without = scene_sets(SOURCE, seed=7)
    assert any(found.test[n].image.tobytes() != without.test[n].image.tobytes() for n in range(6))


def test_boxes_are_whole_pixels_in_the_picture_and_overlap_little(composed: list[Scene]) -> None:
    counts = [len(scene.boxes) for scene in composed]
    assert set(counts) >= {1, 2, 3, 4, 5}
    assert max(counts) == 5
    for scene in composed:
        assert scene.image.shape == (SCENE_SIDE, SCENE_SIDE, 3)
        assert scene.image.dtype == np.uint8
        assert scene.boxes.dtype == np.float32
        assert scene.boxes.shape == (len(scene.labels), 4)
        boxes = [Box(*(int(side) for side in box)) for box in scene.boxes]
        assert scene.boxes.tolist() == [list(box) for box in boxes]
        assert all(0 <= b.x0 < b.x1 <= SCENE_SIDE and 0 <= b.y0 < b.y1 <= SCENE_SIDE for b in boxes)
        assert all(one.iou(other) <= 0.15 for one, other in combinations(boxes, 2))


def test_no_item_is_covered_by_more_than_two_fifths_by_a_later_one(composed: list[Scene]) -> None:
    for scene in composed:
        for (x0, y0, x1, y1), (a, b, c, d) in combinations(scene.boxes.tolist(), 2):
            shared = max(0.0, min(x1, c) - max(x0, a)) * max(0.0, min(y1, d) - max(y0, b))
            assert shared <= 0.4 * (x1 - x0) * (y1 - y0) + 1e-6


def test_labels_are_places_in_the_classes_that_the_training_items_have(sets: SceneSets, composed: list[Scene]) -> None:
    assert sets.train.classes == sets.tune.classes == sets.test.classes == tuple(sorted(set(sets.train.classes)))
    labels = np.concatenate([scene.labels for scene in composed])
    assert labels.dtype == np.int64
    assert set(labels.tolist()) <= {-1, *range(len(sets.train.classes))}
    assert len(set(labels.tolist())) > 5


@pytest.mark.parametrize(("category", "label"), [("fruit", 0), ("hats", 1), ("chairs", -1), (None, -1)])
def test_an_item_has_the_label_of_its_category_or_none(category: str | None, label: int) -> None:
    found = [one_item(category)[number].labels for number in range(5)]
    assert {int(value) for labels in found for value in labels} == {label}


def test_without_classes_no_item_has_a_label(sets: SceneSets) -> None:
    plain = scene_sets(SOURCE.model_copy(update={"classes": False}), seed=7)
    assert plain.train.classes == ()
    scene = plain.train[5]
    assert set(scene.labels.tolist()) == {-1}
    assert equal(scene._replace(labels=sets.train[5].labels), sets.train[5])


@pytest.fixture
def on_plain(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Scenes on one flat grey, whose value the test chooses, without shadows and without a camera."""
    grey = [0]

    def flat(side: int, *_: object, **__: object) -> Image.Image:
        return Image.new("RGB", (side, side), (grey[0],) * 3)

    monkeypatch.setattr(scenes_module, "background", flat)
    monkeypatch.setattr(scenes_module, "light", flat)
    monkeypatch.setattr(scenes_module, "_cast_shadow", lambda *_: None)
    monkeypatch.setattr(scenes_module, "_photographed", lambda picture, _: picture)
    return grey


def opacity(part: SceneSet, number: int, grey: list[int]) -> tuple[NDArray[np.float64], Scene]:
    """Return how opaque each pixel of a scene is, 0..255: what black and white behind it do to it tells."""
    grey[0] = 0
    black = part[number]
    grey[0] = 255
    white = part[number]
    assert black.boxes.tolist() == white.boxes.tolist()
    through = white.image.astype(np.float64) - black.image
    return 255 - through.mean(axis=2), black


def around(mask: NDArray[np.bool_]) -> list[int]:
    """Return the box around a mask's pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def test_a_box_holds_exactly_the_visible_pixels_of_its_item(
    sets: SceneSets, on_plain: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    varied: list[Image.Image] = []
    real = scenes_module._varied

    def recorded(image: Image.Image, longest: float, rng: np.random.Generator) -> Image.Image:
        varied.append(real(image, longest, rng))
        return varied[-1]

    monkeypatch.setattr(scenes_module, "_varied", recorded)
    alone = 0
    for number in range(40):
        varied.clear()
        seen, scene = opacity(sets.train, number, on_plain)
        inside = np.zeros(seen.shape, np.bool_)
        for x0, y0, x1, y1 in scene.boxes.astype(int):
            inside[y0:y1, x0:x1] = True
        assert (seen[~inside] == 0).all()  # nothing outside the boxes, not even a soft edge
        if len(scene.boxes) != 1 or len(varied) != 2:  # one item, composed twice
            continue
        x0, y0, x1, y1 = scene.boxes[0].astype(int).tolist()
        # Visible is an alpha of 40; of a composition on black and white 2 may be lost to rounding.
        assert around(seen >= 38) == [x0, y0, x1, y1]
        left, top, right, bottom = around(np.asarray(varied[0].getchannel("A")) >= 40)
        if max(right - left, bottom - top) > SCENE_SIDE - 2:  # made smaller, of the same shape
            assert SCENE_SIDE - 6 <= max(x1 - x0, y1 - y0) <= SCENE_SIDE - 2
            assert (x1 - x0) / (y1 - y0) == pytest.approx((right - left) / (bottom - top), rel=0.05)
            continue
        assert (x1 - x0, y1 - y0) == (right - left, bottom - top)
        assert np.abs(seen[y0:y1, x0:x1] - np.asarray(varied[0])[top:bottom, left:right, 3]).max() <= 2
        alone += 1
    assert alone >= 8


def test_an_item_too_large_for_the_scene_is_made_smaller_and_trimmed_anew() -> None:
    """Its faint left edge is visible at full size, and no more when it is shrunk."""
    image = Image.new("RGBA", (500, 300))
    image.paste((255, 0, 0, 255), (20, 0, 500, 300))
    image.paste((255, 0, 0, 41), (0, 0, 1, 300))
    placed = scenes_module._at(Sprite("noto/item", None, image), image, SCENE_SIDE, np.random.default_rng(1))
    assert placed is not None
    assert np.asarray(placed.image.getchannel("A"))[:, 0].min() >= 40
    assert placed.box == (placed.left, placed.top, placed.left + placed.image.width, placed.top + placed.image.height)
    assert placed.image.width == pytest.approx(254 * 480 / 500, abs=2)
    assert placed.image.height == pytest.approx(254 * 300 / 500, abs=2)


def test_an_opaque_rectangle_fills_its_box(on_plain: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes_module, "_varied", lambda image, *_: image)
    on_plain[0] = 10
    whole = one_item("fruit", count=20)
    for scene in (whole[number] for number in range(20)):
        is_item = (scene.image == np.array(ITEM.getpixel((0, 0))[:3])).all(axis=2)  # type: ignore[index]
        expected = np.zeros_like(is_item)
        for x0, y0, x1, y1 in scene.boxes.astype(int).tolist():
            assert (x1 - x0, y1 - y0) == ITEM.size
            expected[y0:y1, x0:x1] = True
        assert (is_item == expected).all()


def test_the_identity_changes_with_the_pictures_and_with_nothing_else(grocery: Path) -> None:
    source = SOURCE.model_copy(update={"photos": grocery})
    first = scene_sets(source, 7).train.identity()
    assert scene_sets(source, 7).train.identity() == first
    assert scene_sets(source.model_copy(update={"test": 30}), 7).train.identity() == first
    Image.new("RGB", (80, 80), (0, 0, 200)).save(grocery / "train/a.jpg")
    second = scene_sets(source, 7).train.identity()
    Image.new("RGB", (40, 40), (0, 0, 200)).save(next(grocery.rglob("*_Iconic.jpg")))
    third = scene_sets(source, 7).train.identity()
    assert len({first, second, third, scene_sets(source, 8).train.identity()}) == 4
