"""Changes by day: against sets of rows counted one by one."""

from __future__ import annotations

import datetime as dt

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.index.changes import Changes, changed_days
from pipeline.index.merge import merge_digest
from pipeline.index.stream import DayPart
from tests.pipeline.shard_parts import CATEGORY, DAY, SPACE, part, quantizer, unit

SIDE = st.dictionaries(st.integers(0, 3), st.dictionaries(st.integers(0, 6), st.sampled_from("ab"), max_size=6))


@settings(max_examples=60)
@given(SIDE, SIDE)
def test_with_ids_added_and_removed_are_the_differences_of_the_sets(before, after):
    def noted(side):
        return {
            DAY + dt.timedelta(day): DayPart(len(rows), str(sorted(rows.items()))) for day, rows in side.items()
        }  # fmt: skip

    def ids(side):
        return lambda day: np.array(sorted(side.get((day - DAY).days, {})), np.int64)

    found = changed_days(noted(before), noted(after), first_ids=ids(before), second_ids=ids(after))
    days = sorted(day for day in {*before, *after} if before.get(day, {}) != after.get(day, {}))
    assert found.days_changed == tuple(DAY + dt.timedelta(day) for day in days)
    assert found.rows_added == sum(len(after.get(day, {}).keys() - before.get(day, {}).keys()) for day in days)
    assert found.rows_removed == sum(len(before.get(day, {}).keys() - after.get(day, {}).keys()) for day in days)


def test_without_ids_a_day_that_differs_is_replaced_as_a_whole():
    before, after = {DAY: DayPart(5, "a")}, {DAY: DayPart(7, "b")}
    assert changed_days(before, after) == Changes((DAY,), 7, 5)
    assert changed_days(before, before) == Changes((), 0, 0)


def test_a_rebuilt_day_is_the_only_one_that_changed():
    def days(seed: int):
        parts = [part(range(9), unit(9)), part(range(9, 20), unit(11, seed=seed), day=1), part([99], unit(1), day=2)]
        return merge_digest(quantizer(), parts, category=CATEGORY, space_id=SPACE).days

    bad = DAY + dt.timedelta(1)
    assert changed_days(days(4), days(5)) == Changes((bad,), 11, 11)
    same_ids = {"first_ids": lambda _: np.arange(9, 20), "second_ids": lambda _: np.arange(9, 20)}
    assert changed_days(days(4), days(5), **same_ids) == Changes((bad,), 0, 0)
