"""Scenes: one to five items on a background, with exact boxes. Scene `number` is a pure function of (seed, number)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from pipeline.learn.backgrounds import background, light, photo_paths
from pipeline.learn.config import ScenesSource
from pipeline.learn.drawn_items import drawn_item
from pipeline.learn.sprites import PARTS, Part, Sprite, iconic_sprites, sample_sprites, visible_box
from samples import samples_dir

SCENE_SIDE = 256
"""Pixels; the detector's input is the same size, or scaled from it."""
_ITEM_COUNTS: Final[dict[Part, tuple[float, ...]]] = {
    "train": (0.42, 0.26, 0.16, 0.10, 0.06),  # a large thing alone is where boxes of a part go before that of the whole
    "tune": (0.32, 0.26, 0.20, 0.13, 0.09),
    "test": (0.32, 0.26, 0.20, 0.13, 0.09),
}
"""Shares of scenes with one to five items."""
_MAX_OVERLAP = 0.15
"""Of two boxes, as IoU: more, and what is left of the lower item is no longer its picture."""
_MIN_VISIBLE = 0.6
"""Share of an item's pixels that later items may leave uncovered at least."""


class Scene(NamedTuple):
    """A picture with its boxes."""

    name: str
    image: NDArray[np.uint8]
    """(height, width, 3) RGB."""
    boxes: NDArray[np.float32]
    """(n, 4) x0, y0, x1, y1 in pixels, x1 and y1 exclusive."""
    labels: NDArray[np.int64]
    """(n,) place in the classes; -1: an object of no known class."""


@dataclass(frozen=True)
class SceneSet:
    """Scenes by number, composed when asked for."""

    seed: int
    count: int
    sprites: Sequence[Sprite]
    photos: Sequence[Path]
    classes: tuple[str, ...]
    part: Part
    drawn: float = 0.0
    """Share of items that are drawn at random."""
    altered: float = 0.0
    """Share of the others that have another colour and other proportions, and teach boxes only."""

    def __len__(self) -> int:
        """Return the number of scenes."""
        return self.count

    def identity(self) -> str:
        """Return a digest of the items' pictures and categories, and of each photo's size and time of change."""
        digest = hashlib.sha256(
            repr((self.seed, self.count, self.classes, self.part, self.drawn, self.altered)).encode()
        )
        for sprite in self.sprites:
            digest.update(repr((sprite.name, sprite.category, sprite.image.size)).encode() + sprite.image.tobytes())
        for photo in self.photos:
            facts = photo.stat()
            digest.update(repr((photo.name, facts.st_size, facts.st_mtime_ns)).encode())
        return digest.hexdigest()

    def __getitem__(self, number: int) -> Scene:
        """Compose scene `number`, in [0, len)."""
        if not 0 <= number < self.count:
            raise IndexError(number)
        rng = np.random.default_rng([self.seed, PARTS.index(self.part), number])
        return _compose(f"scene-{number}", self, rng)


class SceneSets(NamedTuple):
    """Scenes to train on, to fit thresholds on, and to measure on; no item is in two of them."""

    train: SceneSet
    tune: SceneSet
    test: SceneSet


TUNE_SCENES = 400
"""At most; no more than there are to train on."""


def scene_sets(source: ScenesSource, seed: int) -> SceneSets:
    """Return the three sets; the test shares no photo with the others either.

    Raises:
        DataError: pictures are missing.
    """
    sprites = {part: sample_sprites(samples_dir(), source.looks, part) for part in PARTS}
    classes = tuple(sorted({sprite.category for sprite in sprites["train"] if sprite.category}))
    photos: list[Path] = []
    test_photos: list[Path] = []
    if source.photos is not None:
        sprites["train"] += iconic_sprites(source.photos)
        photos, test_photos = photo_paths(source.photos, "train"), photo_paths(source.photos, "val")
    labels, tune = classes if source.classes else (), min(TUNE_SCENES, source.train)
    return SceneSets(
        SceneSet(seed, source.train, sprites["train"], photos, labels, "train", source.drawn, source.altered),
        SceneSet(seed, tune, sprites["tune"], photos, labels, "tune"),
        SceneSet(seed, source.test, sprites["test"], test_photos, labels, "test"),
    )


class _Placed(NamedTuple):
    sprite: Sprite
    image: Image.Image
    left: int
    top: int
    box: tuple[int, int, int, int]


def _compose(name: str, scenes: SceneSet, rng: np.random.Generator) -> Scene:
    side = SCENE_SIDE
    counts = _ITEM_COUNTS[scenes.part]
    count = 1 + int(rng.choice(len(counts), p=counts))
    as_in_a_shop = rng.random() < 0.25
    ground = (
        light(side, rng) if as_in_a_shop else background(side, rng, list(scenes.photos), test=scenes.part == "test")
    )
    placed = _place(scenes, count, side, rng)
    canvas = ground.convert("RGBA")
    for one in placed:
        if not as_in_a_shop and rng.random() < 0.6:
            _cast_shadow(canvas, one, rng)
        canvas.alpha_composite(one.image, (one.left, one.top))
    picture = _photographed(canvas.convert("RGB"), rng)
    places = {category: place for place, category in enumerate(scenes.classes)}
    return Scene(
        name,
        np.asarray(picture),
        np.array([one.box for one in placed], np.float32).reshape(-1, 4),
        np.array([places.get(one.sprite.category or "", -1) for one in placed], np.int64),
    )


def _place(scenes: SceneSet, count: int, side: int, rng: np.random.Generator) -> list[_Placed]:
    """Put items where they cover each other little; one that finds no place in twelve tries stays out."""
    placed: list[_Placed] = []
    covered = np.zeros((side, side), np.bool_)
    for _ in range(count):
        sprite = _any_of(scenes, rng)
        image = _varied(sprite.image, side * _share(count, rng), rng)
        for _ in range(12):
            one = _at(sprite, image, side, rng)
            if one is not None and _fits(one, placed, covered):
                placed.append(one)
                x0, y0, x1, y1 = one.box
                covered[y0:y1, x0:x1] = True
                break
    return placed


def _any_of(scenes: SceneSet, rng: np.random.Generator) -> Sprite:
    if scenes.drawn and rng.random() < scenes.drawn:
        return Sprite("drawn", None, drawn_item(rng))
    sprite = scenes.sprites[int(rng.integers(len(scenes.sprites)))]
    if scenes.altered and rng.random() < scenes.altered:
        return Sprite(sprite.name, None, _altered(sprite.image, rng))
    return sprite


def _altered(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the item with its colours turned around the wheel and its sides stretched: a thing nobody has drawn."""
    hue, saturation, value = image.convert("RGB").convert("HSV").split()
    turn = int(rng.integers(24, 232))
    turned = Image.merge("HSV", (hue.point(lambda shade: (shade + turn) % 256), saturation, value)).convert("RGBA")
    turned.putalpha(image.getchannel("A"))
    stretch = float(np.exp(rng.uniform(-0.45, 0.45)))
    return turned.resize((max(6, round(image.width * stretch)), max(6, round(image.height / stretch))))


def _share(count: int, rng: np.random.Generator) -> float:
    """Return an item's longer side as a share of the scene's: alone it is often large, as on a shop's picture."""
    if count == 1:
        return float(rng.uniform(0.2, 0.97))
    largest = {2: 0.62, 3: 0.5}.get(count, 0.42)
    return float(np.exp(rng.uniform(np.log(0.13), np.log(largest))))


def _varied(image: Image.Image, longest: float, rng: np.random.Generator) -> Image.Image:
    """Return the item scaled to its longer side in pixels, mirrored, stretched a little, turned, in another light."""
    scale = longest / max(image.size)
    stretch = rng.uniform(0.85, 1.18)
    size = (max(6, round(image.width * scale * stretch)), max(6, round(image.height * scale / stretch)))
    varied = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    if rng.random() < 0.5:
        varied = varied.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.7:
        varied = varied.rotate(float(rng.normal(0, 18)), Image.Resampling.BILINEAR, expand=True)
    if rng.random() < 0.7:
        alpha = varied.getchannel("A")
        varied = ImageEnhance.Brightness(varied).enhance(float(rng.uniform(0.65, 1.25)))
        varied = ImageEnhance.Color(varied).enhance(float(rng.uniform(0.3, 1.3)))
        varied.putalpha(alpha)
    return varied


def _at(sprite: Sprite, image: Image.Image, side: int, rng: np.random.Generator) -> _Placed | None:
    """Return the item somewhere within the scene, made smaller where turning it has made it too large."""
    box = visible_box(image)
    if box is None:
        return None
    trimmed = image.crop(box)
    trimmed.thumbnail((side - 2, side - 2))
    box = visible_box(trimmed)
    if box is None:
        return None
    trimmed = trimmed.crop(box)
    left, top = int(rng.integers(0, side - trimmed.width + 1)), int(rng.integers(0, side - trimmed.height + 1))
    return _Placed(sprite, trimmed, left, top, (left, top, left + trimmed.width, top + trimmed.height))


def _fits(one: _Placed, placed: Sequence[_Placed], covered: NDArray[np.bool_]) -> bool:
    x0, y0, x1, y1 = one.box
    if not covered[y0:y1, x0:x1].any():
        return True
    for other in placed:
        a, b, c, d = other.box
        shared = max(0, min(x1, c) - max(x0, a)) * max(0, min(y1, d) - max(y0, b))
        size, below = (x1 - x0) * (y1 - y0), (c - a) * (d - b)
        if shared / (size + below - shared) > _MAX_OVERLAP or shared / below > 1 - _MIN_VISIBLE:
            return False
    return True


def _cast_shadow(canvas: Image.Image, one: _Placed, rng: np.random.Generator) -> None:
    """Darken the background softly below and beside an item."""
    reach = max(2, round(max(one.image.size) * rng.uniform(0.02, 0.1)))
    strength = rng.uniform(0.15, 0.5)
    size = (one.image.width + 4 * reach, one.image.height + 4 * reach)
    shape = Image.new("L", size, 0)
    shape.paste(one.image.getchannel("A").point(lambda value: int(value * strength)), (2 * reach, 2 * reach))
    layer = Image.new("RGBA", size, (0, 0, 0, 0))
    layer.putalpha(shape.filter(ImageFilter.BoxBlur(reach)))
    left, top = one.left - 2 * reach + int(rng.integers(-reach, reach + 1)), one.top - reach
    cut = (max(0, -left), max(0, -top))
    if cut[0] < size[0] and cut[1] < size[1] and left < canvas.width and top < canvas.height:
        canvas.alpha_composite(layer, (max(0, left), max(0, top)), cut)


def _photographed(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the scene through a camera: exposure, blur, grain, JPEG; each on its own share of the scenes."""
    if rng.random() < 0.25:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.6))))
    if rng.random() < 0.6:
        pixels = np.asarray(picture, np.float32) * rng.uniform(0.75, 1.15, 3).astype(np.float32)
        pixels += rng.normal(0, 1, (*pixels.shape[:2], 1)).astype(np.float32) * np.float32(rng.uniform(0, 8))
        picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(40, 92)))
        picture = Image.open(buffer).convert("RGB")
    return picture
