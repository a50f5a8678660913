"""The rule, line by line, on pictures written out by hand; a window of ten days that ends on day 100."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings

from pipeline.evict.decide import decide
from pipeline.evict.decisions import Reason
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.tail import TailFull
from reporting.errors import EXIT_FAILED
from tests.pipeline.evict.guarantees import broken, live
from tests.pipeline.evict.naive import Said
from tests.pipeline.evict.stored_rows import POLICY, Picture, after, stored_of
from tests.pipeline.evict.three_ways import DAY, agreed, by_engine, pictures, policies

OLD = DAY - 10
"""The youngest last_seen that is not in the window any more."""


def said(*rows: Picture, policy: EvictPolicy = POLICY) -> dict[int, Said]:
    found = agreed(list(rows), policy, DAY)
    assert found is not None
    return found


def reasons(*rows: Picture, policy: EvictPolicy = POLICY) -> list[Reason]:
    return [one.reason for one in said(*rows, policy=policy).values()]


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (Picture(1, OLD + 1), Reason.WINDOW),
        (Picture(1, DAY + 500), Reason.WINDOW),  # a clock that is ahead
        (Picture(1, OLD + 1, pinned=True, indexed=False), Reason.WINDOW),
        (Picture(1, OLD), Reason.REPRESENTATIVE),
        (Picture(1, OLD, pinned=True), Reason.PINNED),
        (Picture(1, OLD, pinned=True, indexed=False), Reason.PINNED),
        (Picture(1, OLD, indexed=False), Reason.NOT_INDEXED),
        (Picture(1, DAY, gone_since=DAY), Reason.GONE_LATELY),
        (Picture(1, OLD, gone_since=DAY - 5, indexed=False), Reason.GONE_LATELY),
        (Picture(1, DAY, gone_since=DAY - 6), Reason.DELISTED),
        (Picture(1, OLD, gone_since=DAY - 6, pinned=True), Reason.PINNED),
        (Picture(1, DAY, gone_since=DAY + 1), Reason.WINDOW),
        (Picture(1, DAY, taken_down=True, pinned=True), Reason.TAKEDOWN),
        (Picture(1, OLD, taken_down=True, gone_since=0, indexed=False), Reason.TAKEDOWN),
    ],
)
def test_one_picture_alone_has_the_reason_of_its_standing(picture: Picture, reason: Reason) -> None:
    found = said(picture)[1]
    assert (found.reason, found.why, found.better, found.marked_on) == (reason, reason, -1, None)
    assert (found.rank, found.group) == ((1, 0) if live(picture, DAY) else (0, -1))


def test_window_then_pins_then_value_then_age_then_id_decide_the_rank() -> None:
    rows = [
        Picture(1, DAY),
        Picture(9, OLD, pinned=True),
        Picture(8, OLD - 9, value=0.7),
        Picture(7, OLD, value=0.5),
        Picture(3, OLD - 1, value=0.5),
        Picture(4, OLD - 1, value=0.5),
    ]
    found = said(*rows[::-1], policy=EvictPolicy(window_days=10, min_per_group=3))
    assert [found[row.id].rank for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [found[row.id].why for row in rows] == [*map(Reason, (0, 2, 1)), *[Reason.SUPERSEDED] * 3]
    assert {found[key].better for key in (7, 3, 4)} == {1}


def test_what_is_gone_taken_down_or_in_no_index_represents_nobody() -> None:
    better = [Picture(1, DAY, gone_since=DAY), Picture(2, DAY, taken_down=True), Picture(3, DAY, indexed=False)]
    assert said(*better, Picture(4, OLD))[4] == Said(Reason.REPRESENTATIVE, Reason.REPRESENTATIVE, 1, 0)


def test_a_picture_of_several_groups_stays_for_the_one_where_it_is_best() -> None:
    rows = [Picture(1, DAY, (5,)), Picture(2, OLD, (5, 3, 8)), Picture(3, OLD, (5, 5))]
    found = said(*rows)
    assert found[2] == Said(Reason.REPRESENTATIVE, Reason.REPRESENTATIVE, 1, 3)
    assert found[3] == Said(Reason.MARKED, Reason.SUPERSEDED, 3, 5, 1, DAY)


def test_what_is_to_go_is_marked_first_and_goes_on_a_later_day() -> None:
    best = Picture(1, OLD, value=1.0)
    marks = [None, DAY, DAY + 3, DAY - 1]
    found = said(best, *(Picture(2 + at, OLD, marked_on=mark) for at, mark in enumerate(marks)))
    assert [(found[key].reason, found[key].marked_on) for key in (2, 3, 4, 5)] == [
        (Reason.MARKED, DAY),
        (Reason.MARKED, DAY),
        (Reason.MARKED, DAY),
        (Reason.SUPERSEDED, DAY - 1),
    ]


def test_a_mark_is_taken_away_from_what_is_needed_again() -> None:
    assert said(Picture(1, OLD, marked_on=DAY - 1))[1].marked_on is None


def test_a_budget_takes_the_second_pictures_first_and_the_least_valuable_of_them() -> None:
    rows = [Picture(10 * group + at, OLD, (group,), value=group / 10 - at) for group in (1, 2, 3) for at in (0, 1)]
    policy = EvictPolicy(window_days=10, tail_budget={"shoes": 4})
    found = said(*rows, policy=policy)
    over = {key for key, one in found.items() if one.why == Reason.OVER_BUDGET}
    assert over == {11, 21}
    assert [found[key].better for key in (11, 21)] == [10, 20]
    assert decide(stored_of(rows), policy, DAY).degraded == {"shoes": 1}
    assert decide(stored_of(rows), EvictPolicy(window_days=10), DAY).degraded == {}
    beyond = EvictPolicy(window_days=10, min_per_group=1, max_per_group=2, tail_budget={"shoes": 4})
    assert decide(stored_of(rows), beyond, DAY).degraded == {}  # what the budget cuts is above m


def test_only_the_category_without_room_is_degraded_where_a_group_has_pictures_of_two() -> None:
    rows = [Picture(1, OLD, value=1.0, category="hats"), Picture(2, OLD), Picture(3, OLD, (1,)), Picture(4, OLD, (1,))]
    policy = EvictPolicy(window_days=10, tail_budget={"shoes": 1, "*": 9})
    found = by_engine(rows, policy, DAY)
    assert found is not None
    assert found[1] == {"shoes": 1}
    assert agreed(rows, policy, DAY) == found[0]


def test_a_full_tail_is_refused_with_all_that_must_stay_and_changes_nothing() -> None:
    rows = [Picture(1, OLD, pinned=True), Picture(2, OLD, (1,)), Picture(3, OLD, (2,), category="hats")]
    stored = stored_of(rows)
    columns = {name: np.copy(column) for name, column in vars(stored).items()}
    with pytest.raises(TailFull, match=r"shoes: 2 rows .*tail_budget 1\. Nothing was evicted\. Raise") as error:
        decide(stored, EvictPolicy(window_days=10, tail_budget={"*": 1}), DAY)
    assert "hats" not in str(error.value)
    assert error.value.exit_code == EXIT_FAILED
    for name, column in columns.items():
        np.testing.assert_array_equal(vars(stored)[name], column)


def test_nothing_stored_is_nothing_decided() -> None:
    decided = decide(stored_of([]), POLICY, DAY)
    assert (len(decided.reason), len(decided.better), decided.degraded) == (0, 0, {})


def test_days_and_ids_at_the_ends_of_their_types_are_ordered_too() -> None:
    ends = [2**31 - 1, -(2**31), OLD - 3, OLD]
    rows = [Picture(2**63 - 1 - at, day, (2**63 - 1, 2**62), value=0.5) for at, day in enumerate(ends)]
    found = by_engine(rows, POLICY, DAY)
    assert found is not None
    assert [found[0][row.id].rank for row in rows] == [1, 4, 3, 2]
    assert {one.group for one in found[0].values()} == {2**62}


def assert_agreed_and_kept(rows: list[Picture], policy: EvictPolicy) -> None:
    agreed(rows, policy, DAY)
    stored = stored_of(rows)
    try:
        decided = decide(stored, policy, DAY)
    except TailFull:
        return
    assert broken(rows, after(stored, decided), policy, DAY, decided.degraded) == []


@settings(max_examples=12)
@given(rows=pictures(), policy=policies())
def test_engine_loops_and_sql_agree_and_all_guarantees_hold(rows: list[Picture], policy: EvictPolicy) -> None:
    assert_agreed_and_kept(rows, policy)


@pytest.mark.slow
@settings(max_examples=100)
@given(rows=pictures(60), policy=policies())
def test_engine_loops_and_sql_agree_on_many_pictures(rows: list[Picture], policy: EvictPolicy) -> None:
    assert_agreed_and_kept(rows, policy)


@settings(max_examples=20)
@given(rows=pictures(), more=pictures(6), policy=policies())
def test_pictures_of_one_group_never_take_the_last_of_another(
    rows: list[Picture], more: list[Picture], policy: EvictPolicy
) -> None:
    """G4, whatever arrives; and where it stands among the rows makes no difference."""
    known = {one.id for one in rows}
    arriving = [Picture(one.id, one.last_seen, (0,), one.value) for one in more if one.id not in known]
    assume(arriving)
    found, turned = by_engine(rows + arriving, policy, DAY), by_engine(arriving[::-1] + rows, policy, DAY)
    assert found == turned
    if found is not None:
        kept = {key for key, one in found[0].items() if one.reason.keeps}
        for group in {group for one in rows for group in one.groups} - {0}:
            members = {one.id for one in rows if group in one.groups and live(one, DAY)}
            assert not members or members & kept, group
