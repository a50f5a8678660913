"""Whose libraries count when a day decides what old days need."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date as Date
from datetime import timedelta
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.partitions import Partition, Partitions
from pipeline.project import default_topology
from pipeline.storage.needed import libraries
from reporting.plans import Leaf
from reporting.topology import Topology

START = Date(2026, 9, 1)
TOPOLOGY = Topology.model_validate(yaml.safe_load(default_topology()))


def day(number: int) -> Date:
    return START + timedelta(number)


class View:
    """As much of `Partitions` as is asked: some days have a plan, of these some have a library."""

    def __init__(self, planned: Collection[int], done: Collection[int], planid: str = "daily"):
        self.planned, self.done, self.planid = planned, done, planid

    def days_before(self, task: str, before: Date, count: int) -> list[Date]:
        assert task == "evict"
        return sorted((day(one) for one in self.planned if day(one) < before), reverse=True)[:count]

    def of_task(self, task: str, asked: Date) -> list[Partition]:
        assert task == "evict"
        number = (asked - START).days
        return [Partition(Leaf(task, asked), self.planid, 1, f"{self.planid}/{number:02}")] * (number in self.done)


def held(views: list[View], today: int, grace: int) -> list[str]:
    found = libraries(cast("list[Partitions]", cast(Any, views)), TOPOLOGY, day(today), grace)
    return [part.folder for part in found]


@given(
    planned=st.sets(st.integers(0, 12), min_size=1),
    missing=st.sets(st.integers(0, 12)),
    today=st.integers(0, 12),
    grace=st.integers(0, 5),
)
def test_today_the_newest_and_the_one_that_all_later_ones_came_from(
    planned: set[int], missing: set[int], today: int, grace: int
) -> None:
    done = sorted(planned - missing)
    before = [one for one in done if one <= today - grace]
    graced = before[-1:] or done[:1]
    expected = {*graced, *done[-1:], *([today] if today in done else [])}
    assert held([View(planned, done)], today, grace) == [f"daily/{one:02}" for one in sorted(expected)]


@pytest.mark.parametrize("grace", [0, 2])
def test_what_a_plan_sees_counts_beside_what_counts_so_that_a_rebuild_takes_nothing_that_others_hold(
    grace: int,
) -> None:
    effective, rerun = View(range(9), range(9)), View(range(9), [4], planid="rerun")
    expected = sorted({"rerun/04", "daily/04", "daily/08", f"daily/{4 - grace:02}"})
    assert held([rerun, effective], 4, grace) == expected
