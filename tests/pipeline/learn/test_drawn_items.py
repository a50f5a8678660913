"""Items drawn at random, and pack items altered: of the same draws the same, never of a class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.learn.drawn_items import drawn_item
from pipeline.learn.scenes import SceneSet
from pipeline.learn.sprites import Sprite

RED = Image.new("RGBA", (60, 40), (220, 30, 30, 255))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_drawn_item_fills_its_picture_and_depends_on_the_draws_alone(seed: int) -> None:
    item = drawn_item(np.random.default_rng(seed))
    alpha = np.asarray(item)[..., 3]
    assert item.mode == "RGBA"
    assert all((edge >= 40).any() for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))  # trimmed to it
    assert item.tobytes() == drawn_item(np.random.default_rng(seed)).tobytes()


def test_most_drawn_items_have_several_colours_and_a_long_side() -> None:
    items = [np.asarray(drawn_item(np.random.default_rng(seed))) for seed in range(60)]
    spreads = [float(np.ptp(item[item[..., 3] > 200][:, :3].astype(int), axis=0).max()) for item in items]
    assert np.mean([spread > 60 for spread in spreads]) > 0.5
    assert np.mean([max(item.shape[:2]) > 1.5 * min(item.shape[:2]) for item in items]) > 0.4


def scenes(**changes: object) -> SceneSet:
    return replace(SceneSet(1, 40, [Sprite("noto/item", "fruit", RED)], (), ("fruit",), "train"), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"drawn": 1.0}, {"altered": 1.0}])
def test_drawn_and_altered_items_teach_boxes_and_no_class(changes: dict[str, float]) -> None:
    labels = np.concatenate([scenes(**changes)[number].labels for number in range(10)])
    assert set(labels.tolist()) == {-1}
    assert set(np.concatenate([scenes()[number].labels for number in range(10)]).tolist()) == {0}


def test_about_the_asked_share_of_items_is_drawn() -> None:
    labels = np.concatenate([scenes(drawn=0.3)[number].labels for number in range(40)])
    assert 0.15 < float((labels == -1).mean()) < 0.45  # 3.5 standard deviations around .3 of some 85 items


def test_an_altered_item_has_another_hue() -> None:
    # On a shop's white the item's own colour is the darkest thing in the scene; the usual ones are all red.
    usual, altered = ({_hue(one[number].image) for number in range(30)} for one in (scenes(), scenes(altered=1.0)))
    assert len(altered) > len(usual)


def _hue(image: np.ndarray) -> int:
    """Return the sixth of the colour wheel that the most saturated pixels lie in."""
    pixels = np.asarray(Image.fromarray(image).convert("HSV")).reshape(-1, 3).astype(int)
    strong = pixels[pixels[:, 1] >= np.percentile(pixels[:, 1], 98)]
    return int(np.bincount((strong[:, 0] // 43) % 6, minlength=6).argmax())
