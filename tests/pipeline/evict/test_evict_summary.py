"""What a plan says in numbers, and how many rows there will be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from pipeline.evict.days import day_number
from pipeline.evict.decide import decide
from pipeline.evict.forecast import DayAhead, forecast
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.summary import PlanSummary, plan_summary
from pipeline.evict.tail import TailFull
from tests.pipeline.evict.drawn import PICTURES_DRAWN, POLICIES
from tests.pipeline.evict.live_rows import DAY, named
from tests.pipeline.evict.naive import naive
from tests.pipeline.evict.stored_rows import Picture

TODAY = day_number(DAY)
OLD = TODAY - 100
POLICY = EvictPolicy(window_days=10, min_per_group=2, delist_days=5, tail_budget={"shoes": 3})
PICTURES = [
    Picture(0, TODAY, (0,)),
    Picture(1, TODAY - 9, (0,)),
    Picture(2, OLD, (0,), marked_on=TODAY - 1),  # goes: superseded
    Picture(3, OLD, (1,)),
    Picture(4, OLD, (1,), value=-1, marked_on=TODAY - 1),  # goes: no room
    Picture(5, OLD, (2,)),
    Picture(6, OLD, (3,), pinned=True),
    Picture(7, OLD, (2,), taken_down=True),
    Picture(8, TODAY, (4,), indexed=False),
    Picture(9, OLD, (5,), category="hats"),
    Picture(10, OLD, (5,), category="hats"),
]


def summary_of(pictures: list[Picture], policy: EvictPolicy = POLICY, days: int = 0) -> PlanSummary:
    stored, names = named(pictures)
    sizes = np.array([1 << place for place in range(len(pictures))])
    decided = decide(stored, policy, TODAY)
    return plan_summary(stored, decided, names, policy, DAY, bytes_of=sizes, days=days)


def test_a_plan_counts_rows_groups_tails_and_bytes_as_one_does_by_hand() -> None:
    assert summary_of(PICTURES).model_dump(mode="json") == {
        "date": "2026-11-23",
        "rows": 11,
        "keep": 8,
        "drop": {"takedown": 1, "delisted": 0, "superseded": 1, "over_budget": 1, "not_indexed": 0},
        "keep_by": {"window": 3, "representative": 4, "pinned": 1, "gone_lately": 0, "marked": 0},
        "groups": 5,  # the one of picture 8 is in no index yet
        "groups_at_risk": 3,
        "at_risk": ["g001", "g002", "g003"],  # degraded by the budget; one live picture each
        "forecast_rows": [],
        "tail": {
            "hats": {"rows": 2, "budget": None, "degraded_to": None},
            "shoes": {"rows": 3, "budget": 3, "degraded_to": 1},
        },
        "bytes_now": 2047,
        "bytes_freed": (1 << 2) + (1 << 4) + (1 << 7),
        "signals": None,
    }


def test_a_group_that_is_only_marked_to_lose_its_second_picture_is_at_risk_today() -> None:
    pictures = [replace(one, marked_on=None) for one in PICTURES]
    found = summary_of(pictures)
    assert found.keep_by["marked"] == 2
    assert "g001" in found.at_risk


def test_of_many_groups_at_risk_the_first_twenty_are_named() -> None:
    found = summary_of([Picture(place, TODAY, (place,)) for place in range(50)])
    assert found.groups_at_risk == found.groups == 50
    assert found.at_risk == tuple(f"g{place:03d}" for place in range(20))


def test_nothing_stored_is_a_plan_of_nothing() -> None:
    found = summary_of([], days=2)
    assert (found.rows, found.groups, found.at_risk, found.tail) == (0, 0, (), {})
    assert [row.rows for row in found.forecast_rows] == [0, 0]


def ahead_by_hand(pictures: list[Picture], policy: EvictPolicy, days: int) -> Iterator[tuple[int, bool, int]]:
    """Yield (rows, refused, bytes) of each day by the loops of the oracle, over all pictures; one has 1 + its id."""
    for number in range(days + 1):
        try:
            said, _ = naive(pictures, policy, TODAY + number)
            pictures = [replace(one, marked_on=said[one.id].marked_on) for one in pictures if said[one.id].reason.keeps]
            refused = False
        except TailFull:
            refused = True
        if number:
            yield len(pictures), refused, sum(1 + one.id for one in pictures)
        pictures = [replace(one, indexed=one.indexed or one.last_seen >= TODAY) for one in pictures]


@given(PICTURES_DRAWN, POLICIES)
@settings(max_examples=40)
def test_the_forecast_is_what_the_rule_says_day_by_day(pictures: list[Picture], policy: EvictPolicy) -> None:
    stored, _ = named(pictures)
    try:
        decided = decide(stored, policy, TODAY)
    except TailFull:
        return
    ahead = forecast(stored, decided, policy, DAY, days=9, sizes=1 + stored.ids)
    found = [(one.rows, one.refused is not None, one.bytes) for one in ahead]
    assert found == list(ahead_by_hand(pictures, policy, 9))
    assert {one.bytes for one in forecast(stored, decided, policy, DAY, days=2)} == {None}
    assert [one.date for one in ahead] == [DAY + timedelta(days=number) for number in range(1, 10)]


YOUNG = TODAY - 1
"""In the window of 10 days for 5 days ahead."""


@pytest.mark.parametrize(
    ("rows", "pictures"),
    [
        # Two that stay young take both places of their group.
        ([2, 2, 2], [Picture(0, YOUNG), Picture(1, YOUNG), Picture(2, OLD)]),
        # What is in no index takes none.
        ([4, 4, 4], [*(Picture(one, YOUNG, indexed=one > 1) for one in range(4)), Picture(4, OLD)]),
        # It leaves the window on the last day, at once.
        ([2, 2, 1], [Picture(0, TODAY - 7, indexed=False), Picture(1, OLD)]),
        # Its group has enough young ones, and it is soon gone.
        ([3, 3, 2], [Picture(0, YOUNG), Picture(1, YOUNG), Picture(2, YOUNG, gone_since=TODAY + 2)]),
    ],
)
def test_what_stays_young_is_left_out_of_a_forecast_without_changing_it(
    rows: list[int], pictures: list[Picture]
) -> None:
    policy = EvictPolicy(window_days=10, min_per_group=2, delist_days=0)
    stored, _ = named(pictures)
    ahead = forecast(stored, decide(stored, policy, TODAY), policy, DAY, days=3)
    assert [one.rows for one in ahead] == rows == [count for count, *_ in ahead_by_hand(pictures, policy, 3)]


def test_a_day_ahead_on_which_the_tail_will_be_full_is_told_today() -> None:
    policy = EvictPolicy(window_days=10, min_per_group=1, tail_budget={"shoes": 1})
    stored, _ = named([Picture(0, TODAY - 9, (0,)), Picture(1, TODAY - 8, (1,))])
    ahead = forecast(stored, decide(stored, policy, TODAY), policy, DAY, days=2)
    assert ahead[0] == DayAhead(DAY + timedelta(days=1), 2)
    assert ahead[1].rows == 2
    assert "shoes: 2 rows that must stay" in (ahead[1].refused or "")


def test_the_forecast_asks_for_distances_between_the_rows_that_it_was_given() -> None:
    """One picture of two looks is to stay: without distances the two best by value, with them the two that differ."""
    looks = np.array([9, 0, 0, 1, 5])
    pictures = [Picture(0, TODAY, (1,)), *(Picture(place, OLD, (0,), value=1 - place / 10) for place in range(1, 5))]
    stored, names = named(pictures)
    policy = EvictPolicy(window_days=10, min_per_group=2)
    asked: list[tuple[list[int], list[int]]] = []

    def distance(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
        asked.append((stored.ids[a].tolist(), stored.ids[b].tolist()))
        apart: NDArray[np.float32] = np.abs(looks[a][:, None] - looks[b]).astype(np.float32)
        return apart

    decided = decide(stored, policy, TODAY, distance=distance)
    assert decided.keep.all(), "two are only marked"
    asked.clear()
    found = plan_summary(stored, decided, names, policy, DAY, days=2, distance=distance)
    assert [row.rows for row in found.forecast_rows] == [3, 3]
    assert {one for a, b in asked for one in a + b} == {1, 2, 3, 4}


def test_a_forecast_of_no_days_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stored, _ = named(PICTURES)
    decided = decide(stored, POLICY, TODAY)
    monkeypatch.setattr("pipeline.evict.forecast.decide", lambda *_, **__: pytest.fail("decided"))
    assert forecast(stored, decided, POLICY, DAY, days=0) == []
