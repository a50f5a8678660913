"""Histories: whatever happens to a catalogue, engine, loops and SQL say the same each day, and G1 to G5 hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from pipeline.evict.policy import EvictPolicy
from tests.pipeline.evict.guarantees import broken
from tests.pipeline.evict.naive import Said
from tests.pipeline.evict.stored_rows import Picture
from tests.pipeline.evict.three_ways import CATEGORIES, DAY, agreed, by_engine, policies

PLACES = st.integers(0, 1000)
SKEW = st.sampled_from((0, 0, 0, -3, 2, 400))
"""Days that a clock is wrong by: mostly none; late, early, far in the future."""
GROUPS = st.lists(st.integers(0, 5), min_size=1, max_size=2).map(tuple)
VALUES = st.sampled_from((0.0, 0.25, 0.5, 1.0))


class Histories(RuleBasedStateMachine):
    """A catalogue that changes, and a day's eviction at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[Picture] = []
        self.day = DAY
        self.arrived = 0

    @initialize(policy=policies())
    def begin(self, policy: EvictPolicy) -> None:
        self.policy = policy

    @rule(many=st.integers(1, 6), groups=GROUPS, value=VALUES, category=st.sampled_from(CATEGORIES), skew=SKEW)
    def arrive(self, many: int, groups: tuple[int, ...], value: float, category: str, skew: int) -> None:
        for _ in range(many):
            self.arrived += 1
            identity = self.arrived * 7919 % 100_003  # later ones do not have the larger id
            self.stored.append(Picture(identity, self.day + skew, groups, value, category=category))

    @rule(groups=GROUPS)
    def arrive_in_no_index(self, groups: tuple[int, ...]) -> None:
        self.arrive(1, groups, 1.0, CATEGORIES[0], 0)
        self.stored[-1] = replace(self.stored[-1], indexed=False)

    def change(self, place: int, change: Callable[[Picture], Picture]) -> None:
        self.stored[place % len(self.stored)] = change(self.stored[place % len(self.stored)])

    def regroup(self, change: Callable[[int, int], int]) -> None:
        """Give each picture other groups: from its place and each of its groups."""
        self.stored = [
            replace(one, groups=tuple(change(place, group) for group in one.groups))
            for place, one in enumerate(self.stored)
        ]

    @precondition(lambda self: self.stored)
    @rule(place=PLACES, skew=SKEW)
    def see_again(self, place: int, skew: int) -> None:
        self.change(place, lambda one: replace(one, last_seen=max(one.last_seen, self.day + skew), gone_since=None))

    @rule(group=st.integers(0, 5), other=st.integers(0, 5))
    def merge(self, group: int, other: int) -> None:
        self.regroup(lambda _, old: other if old == group else old)

    @rule(group=st.integers(0, 5), other=st.integers(0, 9))
    def split(self, group: int, other: int) -> None:
        self.regroup(lambda place, old: other if old == group and place % 2 else old)

    @precondition(lambda self: self.stored)
    @rule(place=PLACES)
    def take_down(self, place: int) -> None:
        self.change(place, lambda one: replace(one, taken_down=True))

    @precondition(lambda self: self.stored)
    @rule(place=PLACES, skew=SKEW)
    def go(self, place: int, skew: int) -> None:
        self.change(place, lambda one: replace(one, gone_since=self.day + skew))

    @precondition(lambda self: self.stored)
    @rule(place=PLACES)
    def come_back_unseen(self, place: int) -> None:
        self.change(place, lambda one: replace(one, gone_since=None))

    @precondition(lambda self: self.stored)
    @rule(place=PLACES)
    def pin_or_unpin(self, place: int) -> None:
        self.change(place, lambda one: replace(one, pinned=not one.pinned))

    @precondition(lambda self: self.stored)
    @rule(place=PLACES)
    def index(self, place: int) -> None:
        self.change(place, lambda one: replace(one, indexed=True))

    @rule(days=st.integers(-2, 12))
    def another_day(self, days: int) -> None:
        """Also an earlier one: a late day is decided about after a later one."""
        self.day += days

    @rule()
    def evict(self) -> None:
        said = agreed(self.stored, self.policy, self.day)
        if said is None:  # the tail is full: nothing is evicted
            return
        kept = [replace(one, marked_on=said[one.id].marked_on) for one in self.stored if said[one.id].reason.keeps]
        assert set(said) == {one.id for one in self.stored}
        _, degraded = by_engine(self.stored, self.policy, self.day) or ({}, {})
        assert broken(self.stored, kept, self.policy, self.day, degraded) == []
        self.assert_same_again(said, kept)
        self.stored = kept

    def assert_same_again(self, said: dict[int, Said], kept: list[Picture]) -> None:
        """G4: in another order the same, and on the same day nothing further goes."""
        turned = by_engine(self.stored[::-1], self.policy, self.day)
        assert turned is not None
        assert turned[0] == said
        again = agreed(kept, self.policy, self.day, sql=False)
        assert again is not None
        assert all(one.reason.keeps for one in again.values())

    @rule(days=st.integers(1, 30))
    def evict_each_day(self, days: int) -> None:
        """Without which few histories come to what a second phase takes away."""
        for _ in range(2):
            self.day += days
            self.evict()


def histories(**how_many: Any) -> None:
    run_state_machine_as_test(Histories, settings=settings(deadline=None, **how_many))


def test_engine_loops_and_sql_agree_and_all_guarantees_hold_in_short_histories() -> None:
    histories(max_examples=5, stateful_step_count=15)


@pytest.mark.slow
def test_engine_loops_and_sql_agree_and_all_guarantees_hold_in_long_histories() -> None:
    histories(max_examples=15, stateful_step_count=40)
