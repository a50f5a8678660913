"""What a picture is worth: a weighted mean of what is known."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evict import value as module
from pipeline.evict.places import Places
from pipeline.evict.policy import ValueWeights
from pipeline.evict.value import uniqueness, value_of
from reporting.errors import DataError
from tests.pipeline.evict.stored_rows import Picture, stored_of

SHARES = st.floats(0, 1)
KNOWN = st.one_of(st.just(math.nan), SHARES)
WEIGHTS = st.builds(ValueWeights, freshness=st.floats(0.1, 3), clicks=SHARES, quality=SHARES, uniqueness=SHARES)


def test_the_value_is_a_mean_by_weight_computed_by_hand() -> None:
    weights = ValueWeights(freshness=2, clicks=1, quality=1, uniqueness=4, half_life_days=30)
    found = value_of(
        weights,
        100,
        np.array([100, 70, 130]),
        clicks=np.array([0, 3, 15]),
        quality=np.array([0.5, 1, 0]),
        uniqueness=np.array([0.25, 1.75, -0.25]),
    )
    # freshness 1, 1/2, 1; clicks log 1, log 4, log 16 over log 16; uniqueness is cut to 1/4, 1, 0
    assert found.tolist() == [(2 + 0 + 0.5 + 1) / 8, (1 + 0.5 + 1 + 4) / 8, (2 + 1 + 0 + 0) / 8]
    assert found.dtype == np.float32


@given(WEIGHTS, st.lists(st.tuples(st.integers(-50, 400), st.integers(0, 99), KNOWN, KNOWN), min_size=1, max_size=6))
@settings(max_examples=40)
def test_what_is_not_known_falls_out_of_the_mean(
    weights: ValueWeights, rows: list[tuple[int, int, float, float]]
) -> None:
    ages, clicks, quality, unique = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    found = value_of(weights, 1000, 1000 - ages, clicks=clicks, quality=quality, uniqueness=unique)
    most = math.log1p(max(clicks)) or 1.0
    for row, (age, count, score, rare) in enumerate(rows):
        known = [
            (weights.freshness, 0.5 ** (max(age, 0) / weights.half_life_days)),
            (weights.clicks, math.log1p(count) / most),
            (weights.quality, score),
            (weights.uniqueness, rare),
        ]
        known = [(weight, share) for weight, share in known if not math.isnan(share)]
        expected = sum(weight * share for weight, share in known) / sum(weight for weight, _ in known)
        assert found[row] == pytest.approx(expected, abs=1e-6)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_column_that_is_not_given_is_no_column_of_zeros() -> None:
    weights, seen = ValueWeights(), np.array([10, 10])
    assert value_of(weights, 10, seen).tolist() == [1, 1]
    assert value_of(weights, 10, seen, clicks=np.zeros(2)).tolist() == [0.5, 0.5]


def test_where_nothing_that_weighs_is_known_the_value_is_zero() -> None:
    weights = ValueWeights(freshness=0, clicks=0, quality=1, uniqueness=0)
    assert value_of(weights, 10, np.array([10, 10]), quality=np.array([np.nan, 0.5])).tolist() == [0, 0.5]
    assert value_of(weights, 10, np.array([], np.int32)).shape == (0,)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"clicks": [1, -1]}, "clicks of row 1 is -1.0; expected a finite number from 0"),
        ({"clicks": [math.inf, 1]}, "clicks of row 0 is inf"),
        ({"quality": [0.5, 1.5]}, "quality of row 1 is 1.5; expected 0 to 1"),
        ({"uniqueness": [0.5]}, r"uniqueness has shape \(1,\), expected \(2,\)"),
    ],
)
def test_a_column_that_cannot_be_is_refused_with_its_row(columns: dict[str, list[float]], said: str) -> None:
    given_columns = {name: np.array(values) for name, values in columns.items()}
    with pytest.raises(DataError, match=said):
        value_of(ValueWeights(), 10, np.array([1, 2]), **given_columns)


def groups_at_random(rows: int, seed: int) -> tuple[list[set[int]], np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    groups = [set(chance.integers(0, 40, chance.integers(1, 4)).tolist()) for _ in range(rows)]
    pairs = [(row, group * 1000) for row, some in enumerate(groups) for group in sorted(some)]
    return groups, np.array([row for row, _ in pairs]), np.array([group for _, group in pairs])


def test_uniqueness_is_that_of_a_loop_over_all_pairs_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 11)
    monkeypatch.setattr(module, "_CHUNK", 17)
    groups, member_rows, member_groups = groups_at_random(90, 1)
    vectors = np.random.default_rng(2).normal(size=(90, 5)).astype(np.float32) * 7
    vectors[[5, 50]] = 0
    vectors[70, 0] = np.nan
    found = uniqueness(vectors, member_rows, member_groups)
    blind = {5, 50, 70}
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True).clip(1e-9)
    for row in range(90):
        others = [other for other in range(90) if not groups[row] & groups[other] and other not in blind]
        nearest = max(float(unit[row] @ unit[other]) for other in others)
        if row in blind:
            assert np.isnan(found[row])
        else:
            assert found[row] == pytest.approx(min(max(1 - nearest, 0), 1), abs=1e-6)


def test_a_picture_with_no_other_group_beside_it_is_unique() -> None:
    same = np.ones((3, 2), np.float32)
    assert uniqueness(same, np.arange(3), np.zeros(3, np.int64)).tolist() == [1, 1, 1]
    assert uniqueness(same, np.arange(3), np.array([4, 4, 9])).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert uniqueness(-same[:1], np.arange(1), np.arange(1)).tolist() == [1]
    assert uniqueness(same[:0], np.arange(0), np.arange(0)).shape == (0,)


def test_uniqueness_takes_no_memory_of_all_pairs() -> None:
    vectors = np.random.default_rng(5).normal(size=(8000, 8)).astype(np.float32)
    tracemalloc.start()
    try:
        uniqueness(vectors, np.arange(8000), np.arange(8000) // 4)
        assert tracemalloc.get_traced_memory()[1] < 150e6, "all pairs would be 256 MB"
    finally:
        tracemalloc.stop()


def test_values_that_were_booked_stand_for_those_that_would_be_computed_now() -> None:
    stored = stored_of(Picture(number, value=number / 10) for number in range(3))
    places = Places(pa.array(["a", "b", "c"]))
    booked = pa.table({"picture": pa.array(["c", "x", "a"]), "value": pa.array([0.5, 0.75, 0.25], pa.float32())})
    assert module.valued_as(stored, places, booked).value.tolist() == pytest.approx([0.25, 0.1, 0.5])
    assert stored.value.tolist() == pytest.approx([0, 0.1, 0.2]), "what was there is not changed"
