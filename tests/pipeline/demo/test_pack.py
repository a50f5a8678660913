"""The sample pack: complete, small, readable, attributed."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from samples import samples_dir
from samples.build import MAX_BYTES, PACKAGES, SIDE

LOOKS = ("noto", "twemoji", "fluent")


@pytest.fixture(scope="module")
def items() -> list[dict[str, str]]:
    with (samples_dir() / "items.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_pack_is_under_five_megabytes() -> None:
    size = sum(path.stat().st_size for path in samples_dir().rglob("*") if path.suffix != ".pyc" and path.is_file())
    assert 1_000_000 < size < MAX_BYTES


def test_every_item_has_exactly_one_picture_in_each_look_and_no_picture_lacks_an_item(items) -> None:
    listed = sorted(item["item"] for item in items)
    for look in LOOKS:
        assert sorted(path.stem for path in (samples_dir() / "pictures" / look).iterdir()) == listed
    assert len(listed) == len(set(listed)) >= 240


def test_categories_are_at_least_ten_items_each(items) -> None:
    sizes = Counter(item["category"] for item in items)
    assert 8 <= len(sizes) <= 12
    assert min(sizes.values()) >= 10


def test_every_picture_is_a_192_px_square_with_something_on_it_and_transparency_around(items) -> None:
    formats: Counter[tuple[str | None, str]] = Counter()
    for path in (samples_dir() / "pictures").rglob("*.*"):
        with Image.open(path) as picture:
            formats[picture.format, path.parent.name] += 1
            assert picture.size == (SIDE, SIDE), path
            opacity = np.asarray(picture.convert("RGBA"))[..., 3]
            assert opacity.min() == 0, path
            assert opacity.max() >= 250, path  # a palette of averages may miss 255 by a little
    assert formats["PNG", "noto"] == 3 * formats["WEBP", "noto"] == formats["PNG", "twemoji"]
    assert formats["WEBP", "fluent"] == len(items)


def test_attribution_names_every_source_with_version_and_licence() -> None:
    rows = (samples_dir() / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()
    licences = {"noto": "Apache-2.0", "twemoji": "CC-BY-4.0", "fluent": "MIT"}
    for package in PACKAGES:
        row = next(line for line in rows if line.startswith(f"| `{package.look}`"))
        assert f"`{package.name}` {package.version}" in row
        assert licences[package.look] in row
    assert {package.look for package in PACKAGES} == set(LOOKS)
