"""The true boxes of the demo's pictures, held against the pixels."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.demo.drawing import compose, encode, flattened, load_look, visible_box
from pipeline.demo.photos import photo
from pipeline.demo.rows import LOOKS, Encoding, read_items
from pipeline.demo.sets import compose_set
from pipeline.images.decode import DecodeLimits, decode_rgb
from pipeline.models.detections import Box
from samples import samples_dir

ITEMS = read_items(samples_dir())
some = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32)


def extent(mask: NDArray[np.bool_]) -> Box:
    """Return the box around the true pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def differs_from_corner(picture: Image.Image, by: int) -> NDArray[np.bool_]:
    """Return which pixels are not of the background's colour."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.int16)
    mask: NDArray[np.bool_] = np.abs(pixels - pixels[0, 0]).max(axis=2) > by
    return mask


@given(
    chosen=st.lists(st.sampled_from(ITEMS), min_size=2, max_size=4, unique=True),
    look=st.sampled_from(LOOKS[:2]),
    seed=seeds,
)
@some
def test_the_boxes_of_a_set_hold_all_that_is_drawn_and_hardly_overlap(chosen, look, seed) -> None:
    rng = np.random.default_rng(seed)
    canvas, boxes = compose_set([load_look(samples_dir(), look, item.group) for item in chosen], rng)
    assert len(boxes) == len(chosen)
    assert 1 / 3 < canvas.width / canvas.height < 3
    drawn = np.asarray(canvas.getchannel("A")) >= 40
    inside = np.zeros_like(drawn)
    for at, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= canvas.width
        assert 0 <= box.y0 < box.y1 <= canvas.height
        assert 96 <= max(box.width, box.height) <= 176
        inside[box.y0 : box.y1, box.x0 : box.x1] = True
        assert all(box.iou(other) < 0.1 for other in boxes[:at])
        # Tight: what no neighbour covers reaches to all four sides, give or take a soft edge.
        found = extent(drawn[box.y0 : box.y1, box.x0 : box.x1])
        assert found.x0 <= 2
        assert found.y0 <= 2
        assert found.x1 >= box.width - 2
        assert found.y1 >= box.height - 2
    assert not (drawn & ~inside).any()


@pytest.mark.parametrize("item", ITEMS[::9], ids=lambda item: item.name)
def test_the_box_of_a_single_item_is_where_the_picture_differs_from_its_background(item) -> None:
    rng = np.random.default_rng([5, ITEMS.index(item)])
    canvas = compose(load_look(samples_dir(), LOOKS[0], item.group), rng)
    found = extent(differs_from_corner(flattened(canvas, rng), by=24))
    assert visible_box(canvas).iou(found) > 0.85  # a pale edge on white is all that they may disagree on


def test_the_box_of_a_turned_file_is_that_of_the_upright_picture() -> None:
    rng = np.random.default_rng(3)
    looks = [load_look(samples_dir(), LOOKS[1], item.group) for item in (ITEMS[0], ITEMS[40])]
    canvas, boxes = compose_set(looks, rng)
    data = encode(canvas, Encoding.TURNED_JPEG, rng)
    with Image.open(BytesIO(data)) as stored:
        assert stored.size == (canvas.height, canvas.width)
    upright = Image.fromarray(decode_rgb(data, min_side=4096, limits=DecodeLimits()))
    mask = differs_from_corner(upright, by=40)
    whole = Box(*(pick(box[at] for box in boxes) for at, pick in enumerate((min, min, max, max))))
    assert extent(mask).iou(whole) > 0.93


def square(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGBA", (192, 128), (*colour, 255))


@given(seed=seeds)
@some
def test_two_photos_that_differ_in_the_item_s_colour_alone_differ_within_its_box(seed) -> None:
    taken = [photo(square(colour), np.random.default_rng(seed)) for colour in ((10, 10, 10), (250, 250, 250))]
    assert taken[0].box == taken[1].box
    box = taken[0].box
    one, other = (
        np.asarray(decode_rgb(one.data, min_side=4096, limits=DecodeLimits()), dtype=np.int16) for one in taken
    )
    # JPEG smears a contrast of 200 grey levels over its blocks, but not by half of it.
    found = extent(np.abs(one - other).max(axis=2) > 100)
    assert box.iou(found) > 0.9
    share = max(box.width, box.height) / len(one)
    assert 0.29 <= share <= 0.61
    assert 0 <= box.x0 < box.x1 <= one.shape[1]
    assert 0 <= box.y0 < box.y1 <= one.shape[0]


def test_the_box_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="transparent all over"):
        visible_box(Image.new("RGBA", (4, 4), (255, 255, 255, 39)))


def test_items_of_photos_lie_in_every_quarter() -> None:
    quarters = set()
    for seed in range(24):
        taken = photo(square((200, 0, 0)), np.random.default_rng(seed))
        with Image.open(BytesIO(taken.data)) as opened:
            quarters.add((sum(taken.box[0::2]) > opened.width, sum(taken.box[1::2]) > opened.height))
    assert len(quarters) == 4
