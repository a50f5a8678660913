"""Which rows arrive when: laws of the plan that hold for every seed and number of days."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, timedelta
from pathlib import PurePosixPath

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.demo.rows import DROPPED_BY, SOUND, Fault, Row, read_items
from pipeline.demo.schedule import EVERGREENS, REACH_DAYS, SETS_A_DAY, schedule
from pipeline.demo.truth import TASKS, day_truth
from samples import samples_dir

ITEMS = read_items(samples_dir())
FIRST = date(2026, 2, 26)  # a month ends within the seven days
REPETITIONS = {Fault.RECRAWLED, Fault.MOVED, Fault.COPIED, Fault.RECOMPRESSED, Fault.RESIZED}
OWN_FILE = set(Fault) - {Fault.DUPLICATE_ROW, Fault.RECRAWLED, Fault.DEAD_LINK, Fault.IN_SET}

plans = st.builds(
    lambda days, seed: schedule(ITEMS, first_day=FIRST, days=days, seed=seed),
    days=st.integers(7, 12),
    seed=st.integers(0, 2**32),
)
some_plans = settings(max_examples=12, deadline=None)


def all_rows(plan: dict[date, tuple[Row, ...]]) -> list[Row]:
    return [row for rows in plan.values() for row in rows]


@given(plan=plans)
@some_plans
def test_every_item_arrives_exactly_once_in_both_catalogue_looks(plan) -> None:
    sound = Counter((row.item.group, row.look) for row in all_rows(plan) if row.fault is Fault.NONE)
    assert sound == {(item.group, look): 1 for item in ITEMS for look in ("noto", "twemoji")}


@given(plan=plans)
@some_plans
def test_a_repetition_follows_its_original_within_reach_except_evergreens(plan) -> None:
    late: Counter[PurePosixPath] = Counter()
    for row in all_rows(plan):
        if row.fault in REPETITIONS:
            assert row.base is not None
            assert row.base.fault is Fault.NONE
            age = (row.day - row.base.day).days
            assert age >= 0
            if age > REACH_DAYS:
                assert row.fault is Fault.RECRAWLED
                late[row.path] += 1
    # Evergreens are seen on every day after the first, so that a gap never ends their life in the window.
    assert set(late.values()) == {len(plan) - 1 - REACH_DAYS}
    assert len(late) == EVERGREENS


@given(plan=plans)
@some_plans
def test_no_two_rows_write_one_file_and_only_duplicate_rows_repeat_an_offer_s_address(plan) -> None:
    written = [row.path for row in all_rows(plan) if row.fault in OWN_FILE]
    assert len(set(written)) == len(written)
    for rows in plan.values():
        offers = [(r.merchant, r.sku, r.path) for r in rows if r.fault is not Fault.DUPLICATE_ROW]
        assert len(set(offers)) == len(offers)


@given(plan=plans)
@some_plans
def test_no_picture_is_nearly_copied_twice_nor_repeated_after_a_near_copy_of_its_own_day(plan) -> None:
    near = [r for r in all_rows(plan) if r.fault in (Fault.RECOMPRESSED, Fault.RESIZED)]
    bases = [r.base for r in near]
    assert len(set(bases)) == len(bases)
    contested = {r.base for r in near if r.base is not None and r.base.day == r.day}
    exact = [r.base for r in all_rows(plan) if r.fault in (Fault.RECRAWLED, Fault.MOVED, Fault.COPIED)]
    assert not contested.intersection(exact)


@given(plan=plans)
@some_plans
def test_a_set_is_one_file_of_two_to_four_offers_of_one_merchant_and_each_further_row_repeats_the_first(plan) -> None:
    for rows in plan.values():
        sets: dict[PurePosixPath, list[Row]] = defaultdict(list)
        for row in rows:
            if row.in_set:
                sets[row.path].append(row)
        assert SETS_A_DAY[0] <= len(sets) <= SETS_A_DAY[1]
        for together in sets.values():
            assert len({row.sku for row in together}) == len(together)
            assert len({(row.merchant, row.look, row.encoding, row.listed, row.in_set) for row in together}) == 1
            assert {row.item for row in together} == set(together[0].shown)
            assert 2 <= len(together) == len(together[0].shown) <= 4
            [first] = [row for row in together if row.fault is Fault.SET]
            rest = [row for row in together if row is not first]
            assert {(row.fault, row.base) for row in rest} == {(Fault.IN_SET, first)}


@given(plan=plans)
@some_plans
def test_truth_conserves_rows_and_books_every_drop_once(plan) -> None:
    for rows in plan.values():
        truth = day_truth(rows)
        left = len(rows)
        for task in TASKS:
            booked = truth["tasks"][task]
            assert booked["input"] == left
            assert booked["output"] == left - sum(booked["dropped"].values())
            left = booked["output"]
        assert left == sum(row.fault in SOUND for row in rows) == truth["tasks"]["detect"]["input"]
        # Every item of a set is a row of its own, whichever of them is kept.
        items = [row.item for row in rows if row.fault in (*SOUND, Fault.IN_SET)]
        assert truth["objects"] == len(items)
        assert truth["by_category"] == Counter(item.category for item in items)
        assert sum(truth["faults"].values()) == sum(truth["strategies"].values()) == truth["rows"] == len(rows)


def test_a_shorter_demo_is_the_beginning_of_the_longer_one() -> None:
    week = schedule(ITEMS, first_day=FIRST, days=7, seed=3)
    assert list(schedule(ITEMS, first_day=FIRST, days=2, seed=3).items()) == list(week.items())[:2]


def test_every_fault_occurs_on_most_days_and_a_day_brings_125_to_170_rows() -> None:
    week = schedule(ITEMS, first_day=FIRST, days=7, seed=7)
    days_with = Counter(fault for rows in week.values() for fault in {row.fault for row in rows})
    assert set(days_with) == set(Fault)
    assert min(days_with.values()) >= 6
    assert all(125 <= len(rows) <= 170 for rows in week.values())
    assert list(week) == [FIRST + timedelta(days=n) for n in range(7)]


def test_every_fault_but_the_sound_ones_names_the_task_that_drops_it() -> None:
    assert set(DROPPED_BY) == set(Fault) - SOUND
