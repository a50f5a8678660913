"""Representatives that differ: farthest first, asked only where it decides something, the same as in plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from pipeline.evict.decide import decide
from pipeline.evict.decisions import Reason
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.stored import Stored
from reporting.errors import DataError
from tests.pipeline.evict.guarantees import broken
from tests.pipeline.evict.stored_rows import Picture, after, kept_ids, stored_of
from tests.pipeline.evict.three_ways import DAY, agreed, by_engine, distances, pictures, policies

OLD = DAY - 60
TWO = EvictPolicy(min_per_group=2)


def on_a_line(one: int, other: int) -> float:
    """Take ids for places on a line, of hundred."""
    return float(abs(one % 100 - other % 100))


def why(rows: list[Picture], policy: EvictPolicy) -> dict[int, Reason]:
    found = agreed(rows, policy, DAY, on_a_line)
    assert found is not None
    return {key: one.why for key, one in found.items()}


def test_the_second_representative_is_the_one_farthest_from_the_best() -> None:
    rows = [Picture(place, OLD, value=value) for place, value in ((10, 0.9), (11, 0.8), (60, 0.1), (40, 0.2))]
    stays = [key for key, reason in why(rows, TWO).items() if reason == Reason.REPRESENTATIVE]
    assert stays == [10, 60]
    by_value = decide(stored_of(rows), TWO, DAY)
    assert (by_value.why == Reason.REPRESENTATIVE).tolist() == [True, True, False, False]


def test_what_is_in_the_window_or_pinned_counts_as_chosen_already() -> None:
    rows = [Picture(50, DAY), Picture(30, OLD, pinned=True), Picture(20, OLD, value=1.0), Picture(75, OLD)]
    found = why(rows, EvictPolicy(min_per_group=3))
    assert (found[20], found[75]) == (Reason.SUPERSEDED, Reason.REPRESENTATIVE)


def test_of_equally_far_ones_the_better_stays() -> None:
    rows = [Picture(50, OLD, value=1.0), Picture(70, OLD, value=0.1), Picture(30, OLD, value=0.2)]
    assert [key for key, reason in why(rows, TWO).items() if reason == Reason.SUPERSEDED] == [70]


def test_only_the_best_sixteen_are_looked_at() -> None:
    rows = [Picture(number, OLD, value=1 - number / 100) for number in range(20)]
    assert [key for key, reason in why(rows, TWO).items() if reason == Reason.REPRESENTATIVE] == [0, 15]


def test_distances_are_asked_only_where_candidates_are_more_than_places() -> None:
    asked: list[tuple[list[int], list[int]]] = []

    def noted(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float32]:
        asked.append((some.tolist(), others.tolist()))
        return np.ones((len(some), len(others)), np.float32)

    rows = [
        *(Picture(number, OLD, (1,)) for number in range(2)),  # both have a place
        *(Picture(number, DAY, (2,)) for number in range(2, 5)),  # no place is free
        Picture(5, OLD, (2,)),
        Picture(6, DAY, (3,)),
        *(Picture(number, OLD, (3,)) for number in range(7, 9)),  # two for one place
        *(Picture(number, OLD, (4,), gone_since=DAY) for number in range(9, 13)),  # none is ranked
    ]
    decide(stored_of(rows), TWO, DAY, distance=noted)
    assert asked == [([7, 8], [6, 7, 8])]


@pytest.mark.parametrize("wrong", [np.zeros((3, 2)), np.full((3, 3), np.nan)])
def test_distances_of_another_shape_or_none_are_refused(wrong: np.ndarray) -> None:
    stored = stored_of([Picture(number, OLD) for number in range(3)])
    with pytest.raises(DataError, match="expected \\(3, 3\\) finite distances"):
        decide(stored, TWO, DAY, distance=lambda some, others: wrong.astype(np.float32))


@settings(max_examples=20)
@given(rows=pictures(40), policy=policies())
def test_engine_and_loops_choose_the_same_and_the_guarantees_hold(rows: list[Picture], policy: EvictPolicy) -> None:
    found = agreed(rows, policy, DAY, on_a_line)
    assert by_engine(rows[::-1], policy, DAY, on_a_line) == by_engine(rows, policy, DAY, on_a_line)
    if found is not None:
        stored = stored_of(rows)
        decided = decide(stored, policy, DAY, distance=distances(stored, on_a_line))
        kept = after(stored, decided)
        assert broken(rows, kept, policy, DAY, decided.degraded) == []
        assert evicted_again(kept, policy) == kept_ids(stored, decided)


def evicted_again(rows: list[Picture], policy: EvictPolicy) -> set[int]:
    """Return what stays when the same day is decided about once more."""
    stored: Stored = stored_of(rows)
    return kept_ids(stored, decide(stored, policy, DAY, distance=distances(stored, on_a_line)))
