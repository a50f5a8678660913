"""What the pictures of a made-up year look like to a search: drawn vectors, or those of the sample pack's pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.evict.world import NO_PRODUCT, World
from reporting.errors import UsageError

Vectors = NDArray[np.float32]
DIM = 48
_VIEW_NOISE = 0.75
"""Length of what a picture adds to its product's appearance, which has length 1: their cosine is about 0.8."""
_QUERY_NOISE = 0.9
"""Users' photos are worse than merchants' pictures: about 0.74."""
_KINSHIP = 0.8
"""Cosine of two products that upstream confuses, about."""
_EMBEDDED_AT_A_TIME = 64


class Looks(NamedTuple):
    """Vectors of length 1, float32.

    Attributes:
        pictures: (p, d), of each picture of the world.
        queries: (n, d), of a user's photo of each product.
        source: `drawn`, or `samples`.
    """

    pictures: Vectors
    queries: Vectors
    source: str


def draw_looks(world: World, dim: int = DIM) -> Looks:
    """Draw an appearance for each product, and scatter its pictures and a user's photo around it.

    A picture of two products lies between them. Products that upstream confuses look alike.

    Args:
        world: The year.
        dim: d, >= 2.
    """
    rng = np.random.default_rng([world.settings.seed, 1])
    products, pictures = world.products, world.pictures
    centres = _unit(rng.standard_normal((len(products.group), dim), np.float32))
    kin = np.flatnonzero(products.kin != NO_PRODUCT)
    apart = np.float32(np.sqrt(1 - _KINSHIP**2))
    centres[kin] = _unit(np.float32(_KINSHIP) * centres[products.kin[kin]] + apart * centres[kin])
    shown = centres[pictures.product]
    both = np.flatnonzero(pictures.second != NO_PRODUCT)
    shown[both] = _unit(shown[both] + centres[pictures.second[both]])
    return Looks(
        _unit(shown + _scatter(rng, len(pictures), dim, _VIEW_NOISE)),
        _unit(centres + _scatter(rng, len(centres), dim, _QUERY_NOISE)),
        "drawn",
    )


def _scatter(rng: np.random.Generator, rows: int, dim: int, length: float) -> Vectors:
    return rng.standard_normal((rows, dim), np.float32) * np.float32(length / np.sqrt(dim))


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def sample_looks(world: World, samples: Path, embedder: str, on_step: Callable[[str], None] = lambda _: None) -> Looks:
    """Embed pictures of the sample pack: merchants' pictures arrive in two looks, users photograph the third.

    Product i is the i-th item of the pack. Its views alternate between the two looks, each on its own background, at
    its own size and place. A user's photo has another background, another exposure and a tilt; the item is cut out of
    it by its true box, as the detector is not what is measured here.

    Args:
        world: With `views` set, without pictures of two products, and with no more products than the pack has items.
        samples: Folder of the pack.
        embedder: Name of the model.
        on_step: Told how far it is.

    Raises:
        UsageError: The world has more products than the pack has items, or pictures of two products.
        ConfigError: No such model.
        DataError: The pack is incomplete.
    """
    from pipeline.demo.rows import read_items
    from pipeline.models.catalog import open_embedder

    items = read_items(samples)
    if len(world.products.group) > len(items) or (world.pictures.second != NO_PRODUCT).any():
        raise UsageError(
            f"a year of {len(world.products.group)} products, or with pictures of two products; expected at most "
            f"{len(items)} as the sample pack has items, and one a picture; ask for fewer --groups"
        )
    groups = [item.group for item in items]
    shown = sorted({*zip(world.pictures.product.tolist(), world.pictures.view.tolist(), strict=True)})
    total, done = len(shown) + len(world.products.group), 0
    model = open_embedder(embedder)
    seed = world.settings.seed

    def embedded(draw: Callable[[int], NDArray[np.uint8]], count: int) -> Vectors:
        nonlocal done
        vectors = np.empty((count, model.dim), np.float32)
        for start in range(0, count, _EMBEDDED_AT_A_TIME):
            batch = [draw(number) for number in range(start, min(start + _EMBEDDED_AT_A_TIME, count))]
            vectors[start : start + len(batch)] = model.embed(batch)
            done += len(batch)
            on_step(f"embedding pictures, {done:,} of {total:,}")
        return vectors

    views = embedded(lambda at: _catalogue_picture(samples, groups[shown[at][0]], shown[at], seed), len(shown))
    queries = embedded(lambda product: _users_photo(samples, groups[product], product, seed), total - len(shown))
    place = {view: number for number, view in enumerate(shown)}
    pairs = zip(world.pictures.product.tolist(), world.pictures.view.tolist(), strict=True)
    return Looks(views[[place[pair] for pair in pairs]], queries, "samples")


def _catalogue_picture(samples: Path, item: str, view: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    from pipeline.demo.drawing import compose, flattened, load_look
    from pipeline.demo.rows import LOOKS

    rng = np.random.default_rng([seed, 2, *view])
    sold = LOOKS[:-1]
    look = load_look(samples, sold[view[1] % len(sold)], item)
    return np.asarray(flattened(compose(look, rng), rng))


def _users_photo(samples: Path, item: str, product: int, seed: int) -> NDArray[np.uint8]:
    from pipeline.demo.drawing import load_look
    from pipeline.demo.photos import photo
    from pipeline.demo.rows import LOOKS
    from pipeline.images.crop import crop_object
    from pipeline.images.decode import DecodeLimits

    rng = np.random.default_rng([seed, 3, product])
    taken = photo(load_look(samples, LOOKS[-1], item), rng)
    return crop_object(taken.data, taken.box, margin=0.05, side=224, limits=DecodeLimits())
