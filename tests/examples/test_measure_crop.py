"""The grocery measurement: its vote and its ranking, counted again by plain loops."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.grocery.measure_crop import Labelled, Looks, Options, answers, compare, look, ranked, read_pictures, voted
from pipeline.images.decode import DecodeLimits
from pipeline.models.catalog import open_embedder
from pipeline.models.detections import Box, Detection, Found
from pipeline.models.detector import WholePicture

# Exact in float32, with many ties.
unit = st.sampled_from([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)])
labelled = st.lists(st.tuples(unit, st.sampled_from("abc")), min_size=1, max_size=30)


def dot(first, second):
    return sum(one * other for one, other in zip(first, second, strict=True))


def as_arrays(rows):
    return np.array([vector for vector, _ in rows], dtype=np.float32), [name for _, name in rows]


@given(st.lists(unit, min_size=1, max_size=4), labelled)
def test_the_vote_equals_a_plain_loop(queries, rows):
    vectors, names = as_arrays(rows)
    for query, winner in zip(queries, voted(np.array(queries, dtype=np.float32), vectors, names), strict=True):
        nearest = sorted(rows, key=lambda row: -dot(query, row[0]))[:20]
        shares = {
            name: sum(math.exp((dot(query, vector) - 1) / 0.05) for vector, one in nearest if one == name)
            for name in sorted(set(names))
        }
        assert shares[winner] == pytest.approx(max(shares.values()))


@given(st.lists(st.tuples(unit, st.sampled_from("abc")), min_size=1, max_size=4), labelled)
def test_products_rank_by_their_nearest_picture(asked, rows):
    vectors, names = as_arrays(rows)
    queries, wanted = as_arrays(asked)
    for (query, product), line in zip(asked, ranked(queries, vectors, names, wanted), strict=True):
        best = {name: max(dot(query, vector) for vector, one in rows if one == name) for name in set(names)}
        order = sorted(best, key=lambda name: (-best[name], name))
        assert line.tolist() == [name == product for name in order]


def test_a_line_says_what_cropping_won_and_lost():
    line = compare("train", "category", np.array([True, True, False, False]), np.array([True, False, True, True]))
    assert (line["n"], line["won"], line["lost"], line["gain"]) == (4, 2, 1, 0.25)
    assert line["whole"] == {
        "value": 0.5,
        "ci_low": pytest.approx(0.15, abs=0.01),
        "ci_high": pytest.approx(0.85, abs=0.01),
    }


def test_questions_are_answered_for_category_and_product():
    asked = [Labelled(Path("a"), "gala", "apple"), Labelled(Path("b"), "conference", "pear")]
    library = [Labelled(Path("c"), "fuji", "apple"), Labelled(Path("d"), "conference", "pear")]
    vectors = np.eye(2, dtype=np.float32)
    right = answers(asked, vectors, library, vectors)
    assert {question: values.tolist() for question, values in right.items()} == {
        "category": [True, True],
        "product hit@1": [False, True],
        "product hit@10": [False, True],
    }


class Half(WholePicture):
    """Finds the left half of every other picture."""

    def detect(self, pictures, limits):
        found = Found((Detection(Box(0, 0, 48, 96), 0.9, "", ()),), 0.0)
        return [found if at % 2 == 0 else Found((), 0.0) for at, _ in enumerate(pictures)]


def test_a_picture_without_an_object_is_taken_whole(encode_picture):
    path = encode_picture
    pictures = [Labelled(path, "gala", "apple")] * 3
    options = Options(0.08, 256, DecodeLimits())
    seen: Looks = look(pictures, "val", Half(), open_embedder("efficientnet-lite0"), options)
    assert seen.areas == [0.5, 0.5]
    same = [np.array_equal(whole, crop) for whole, crop in zip(seen.whole, seen.crop, strict=True)]
    assert same == [False, True, False]


@pytest.fixture
def encode_picture(tmp_path: Path) -> Path:
    """A picture of 96 x 96 whose halves differ."""
    from PIL import Image

    pixels = np.zeros((96, 96, 3), dtype=np.uint8)
    pixels[:, :48] = np.random.default_rng(1).integers(0, 255, (96, 48, 3))
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.data
def test_the_lists_hold_what_the_data_set_says(shared_data: Path):
    lists = {name: read_pictures(shared_data / "grocery", name) for name in ("train", "val", "iconic")}
    assert {name: len(pictures) for name, pictures in lists.items()} == {"train": 2640, "val": 296, "iconic": 81}
    for pictures in lists.values():
        assert pictures[0].path.is_file()
    assert len({picture.product for picture in lists["iconic"]}) == 81
    assert len({picture.category for picture in lists["iconic"]}) == 43


@pytest.mark.slow
@pytest.mark.data
def test_the_script_gains_nothing_where_every_picture_is_taken_whole(shared_data: Path, repository: Path):
    command = [sys.executable, "-m", "examples.grocery.measure_crop", str(shared_data / "grocery")]
    command += ["--detector", "whole", "--every", "20", "--json"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["pictures"] == {"val": 15, "iconic": 81, "train": 132}
    assert [line["question"] for line in result["lines"]] == ["category", "product hit@1", "product hit@10"] * 2
    assert all((line["gain"], line["p_value"]) == (0.0, 1.0) for line in result["lines"])
    assert "val (15 pictures)" in done.stderr
