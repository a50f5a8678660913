"""A view answers the same however often it is asked, and a changed copy of it answers for itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest

from reporting.effective import leaf_of
from reporting.plans import Leaf
from reporting.topology import DIMENSIONS
from tests.checks.world import DAY, World

BY = ((), ("category",), ("subinstance",), ("category", "subinstance"), ("subinstance", "category"))


@pytest.fixture(scope="module")
def view():
    return World().view(DAY, digests=False)


@pytest.mark.parametrize("by", BY)
def test_groups_are_the_leaves_of_the_day_sorted_by_their_values(view, by):
    def values(leaf):
        return tuple(getattr(leaf, name) for name in by)

    for task in view.topology.tasks:
        leaves = sorted({leaf_of(record.key) for record in view.records if record.key.task == task})
        expected = {group: list(some) for group, some in groupby(sorted(leaves, key=values), values)}
        for _ in range(2):
            found = view.grouped(task, by)
            assert found == expected
            assert list(found) == list(expected)


def test_asked_in_another_way_it_answers_anew(view):
    assert view.grouped("embed", ["category"]) == view.grouped("embed", ("category",))
    assert view.grouped("embed", DIMENSIONS) != view.grouped("embed", DIMENSIONS[::-1])
    assert view.grouped("nowhere", ()) == {}


def test_a_changed_copy_has_groups_of_its_own(view):
    lost = Leaf("embed", DAY, "shoes", "0002")
    assert lost in view.grouped("embed", ())[()]
    kept = [record for record in view.records if leaf_of(record.key) != lost]
    without = replace(view, records=kept, expected={})
    assert lost not in without.grouped("embed", ())[()]
    assert lost in view.grouped("embed", ())[()]
