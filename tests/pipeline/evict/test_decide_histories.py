"""Histories that would cost a product its last picture, by name; each with what saves it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from pipeline.evict.decide import decide
from pipeline.evict.decisions import Reason
from pipeline.evict.policy import EvictPolicy
from pipeline.evict.tail import TailFull
from tests.pipeline.evict.guarantees import broken
from tests.pipeline.evict.stored_rows import POLICY, Picture, after, stored_of


def evicted(rows: Iterable[Picture], day: int, policy: EvictPolicy = POLICY) -> list[Picture]:
    """Return what stays after a day, with all guarantees looked at."""
    before = list(rows)
    stored = stored_of(before)
    decided = decide(stored, policy, day)
    kept = after(stored, decided)
    assert broken(before, kept, policy, day, decided.degraded) == []
    return kept


def ids(rows: list[Picture]) -> list[int]:
    return [row.id for row in rows]


def changed(rows: list[Picture], id_: int, **fields: object) -> list[Picture]:
    return [replace(row, **fields) if row.id == id_ else row for row in rows]  # type: ignore[arg-type]


def first_in_first_out(rows: Iterable[Picture], day: int, policy: EvictPolicy = POLICY) -> list[Picture]:
    """Evict as a plain window does: by age alone."""
    return [row for row in rows if day - row.last_seen < policy.window_days and not row.taken_down]


def test_a_plain_window_loses_a_product_that_nobody_sees_any_more_and_ours_does_not() -> None:
    rows = [Picture(1, 0, (1,)), Picture(2, 20, (2,))]
    assert broken(rows, first_in_first_out(rows, 20), POLICY, 20) == ["G1: group 1 keeps 0 of 1"]
    assert ids(evicted(evicted(rows, 20), 21)) == [1, 2]


def test_a_product_that_reappears_after_delisting_is_kept_again_and_delisted_from_anew() -> None:
    rows = [Picture(1, 0, gone_since=10)]
    assert ids(evicted(rows, 15)) == [1]
    assert evicted(rows, 16) == []
    again = evicted([Picture(2, 30)], 90)
    assert ids(again) == [2]
    assert ids(evicted(changed(again, 2, gone_since=91), 96)) == [2]
    assert evicted(changed(again, 2, gone_since=91), 97) == []


def test_a_picture_that_comes_back_while_it_is_gone_lately_represents_its_product_again() -> None:
    rows = evicted([Picture(1, 0, value=1.0, gone_since=18), Picture(2, 0)], 20)
    assert ids(rows) == [1, 2]
    rows = evicted(changed(rows, 1, gone_since=None), 21)
    assert ids(evicted(rows, 22)) == [1]


def test_a_takedown_of_the_last_representative_promotes_the_next_best_that_is_only_marked() -> None:
    rows = evicted([Picture(1, 0, value=1.0), Picture(2, 0, value=0.5), Picture(3, 0)], 20)
    assert [row.marked_on for row in rows] == [None, 20, 20]
    rows = evicted(changed(rows, 1, taken_down=True), 21)
    assert ids(rows) == [2]
    assert rows[0].marked_on is None


def test_a_product_split_between_mark_and_deletion_keeps_a_picture_of_both() -> None:
    rows = evicted([Picture(1, 0, (1,), value=1.0), Picture(2, 0, (1,)), Picture(3, 0, (1,))], 20)
    rows = evicted([replace(row, groups=(5,)) if row.id > 1 else row for row in rows], 21)
    assert ids(rows) == [1, 2]
    # In one phase, the day before, both of the new product were gone.
    assert broken([replace(row, groups=(5,)) for row in rows[1:]], [], POLICY, 21) == ["G1: group 5 keeps 0 of 1"]


def test_products_merged_between_mark_and_deletion_lose_only_what_was_marked_before() -> None:
    rows = [Picture(1, 0, (1,), value=1.0), Picture(2, 0, (1,)), Picture(3, 0, (2,), value=0.9)]
    rows = [replace(row, groups=(1,)) for row in evicted(rows, 20)]
    rows = evicted(rows, 21)
    assert ids(rows) == [1, 3]
    assert ids(evicted(rows, 22)) == [1]


def test_a_merge_that_is_taken_back_the_next_day_costs_nothing() -> None:
    rows = [Picture(1, 0, (1,), value=1.0), Picture(2, 0, (2,))]
    merged = evicted([replace(row, groups=(1,)) for row in rows], 20)
    apart = evicted(changed(merged, 2, groups=(2,)), 21)
    assert [(row.id, row.marked_on) for row in apart] == [(1, None), (2, None)]


def test_a_new_picture_in_no_index_does_not_push_out_the_last_that_is_in_one() -> None:
    rows = [Picture(1, 0), Picture(2, 20, indexed=False)]
    assert ids(evicted(evicted(rows, 20), 21)) == [1, 2]
    rows = evicted(changed(rows, 2, indexed=True), 21)
    assert ids(evicted(rows, 22)) == [2]


def test_a_clock_that_was_ahead_keeps_a_picture_longer_but_takes_none() -> None:
    rows = [Picture(1, 500), Picture(2, 0), Picture(3, 0, (1,))]
    rows = evicted(evicted(rows, 20), 21)
    assert ids(rows) == [1, 3]
    assert ids(evicted(evicted(rows, 510), 511)) == [1, 3]


def test_a_late_day_evicted_after_a_later_one_deletes_nothing_that_was_marked_later() -> None:
    rows = evicted([Picture(1, 0, value=1.0), Picture(2, 0)], 20)
    late = evicted(rows, 15)
    assert [(row.id, row.marked_on) for row in late] == [(1, None), (2, 15)]
    assert ids(evicted(late, 20)) == [1]


def test_the_same_day_twice_deletes_nothing_more() -> None:
    rows = evicted([Picture(1, 0, value=1.0), Picture(2, 0)], 20)
    assert evicted(rows, 20) == rows


def test_a_budget_that_shrinks_degrades_to_one_of_each_product_and_then_refuses() -> None:
    rows = [Picture(10 * group + at, 0, (group,)) for group in range(4) for at in range(3)]
    generous = EvictPolicy(window_days=10, min_per_group=3, tail_budget={"shoes": 12})
    assert len(evicted(rows, 20, generous)) == 12
    for room, least in ((11, 2), (8, 2), (7, 1), (4, 1)):
        tight = EvictPolicy(window_days=10, min_per_group=3, tail_budget={"shoes": room})
        assert decide(stored_of(rows), tight, 20).degraded == {"shoes": least}
        kept = evicted(evicted(rows, 20, tight), 21, tight)
        assert len(kept) == room
        assert {row.groups for row in kept} == {(0,), (1,), (2,), (3,)}
    with pytest.raises(TailFull):
        evicted(rows, 20, EvictPolicy(window_days=10, min_per_group=3, tail_budget={"shoes": 3}))


def test_a_pin_takes_room_from_second_pictures_and_never_the_last_of_a_product() -> None:
    rows = [Picture(1, 0, (1,), value=1.0), Picture(2, 0, (1,)), Picture(3, 0, (2,)), Picture(4, 0, (2,), pinned=True)]
    for room, second in ((4, Reason.REPRESENTATIVE), (3, Reason.REPRESENTATIVE), (2, Reason.OVER_BUDGET)):
        policy = EvictPolicy(window_days=10, min_per_group=2, tail_budget={"shoes": room})
        third = Reason.REPRESENTATIVE if room == 4 else Reason.OVER_BUDGET
        found = decide(stored_of(rows), policy, 20).why.tolist()
        assert found == [Reason.REPRESENTATIVE, second, third, Reason.PINNED]
