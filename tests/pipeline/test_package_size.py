"""Packages are as large as the slowest task does in the given time."""

from __future__ import annotations

from datetime import date as Date
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.package_size import MAX_PACKAGE, package_size
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from reporting.testing import DAY, MOMENT, make_record


@pytest.fixture
def store(tmp_path: Path):
    with open_store(f"sqlite:///{tmp_path}/state.db") as opened:
        yield opened


def book(store: SqlStore, task: str, items: int, seconds: float, *, day: Date = DAY, **key: Any) -> None:
    """Book one leaf that took so many items in so many seconds."""
    record = make_record(task, date=day, input=items, dropped={}, reported_at=MOMENT, **key)
    started = record.finished_at - timedelta(seconds=seconds)
    with store.begin() as work:
        work.put_record(record.model_copy(update={"started_at": started}))


def test_nothing_measured_gives_the_first_size(store):
    assert package_size(store, DAY, 900.0, 10_000) == 10_000


def test_the_slowest_task_decides(store):
    book(store, "download", 3000, 10.0, subinstance="0001")  # 300 a second
    book(store, "embed", 3000, 30.0, subinstance="0001")  # 100 a second
    assert package_size(store, DAY + timedelta(days=1), 600.0, 1) == 60_000


def test_a_fan_out_counts_its_time_once_for_all_its_categories(store):
    for category in ("hats", "shoes", "other"):
        book(store, "categorise", 1000, 30.0, subinstance="0001", category=category)
    assert package_size(store, DAY + timedelta(days=1), 600.0, 1) == 60_000


def test_a_task_that_counts_objects_is_measured_by_the_pictures_of_its_package(store):
    book(store, "download", 1000, 200.0, subinstance="0001")
    for category, seconds in (("hats", 110.0), ("shoes", 130.0)):  # three objects in each picture
        book(store, "embed", 1500, seconds, subinstance="0001", category=category)
    assert package_size(store, DAY + timedelta(days=1), 600.0, 1) == 2500  # embed: 1000 pictures in 240 seconds
    book(store, "embed", 3000, 60.0, subinstance="0001", category="hats", planid="again")
    assert package_size(store, DAY + timedelta(days=1), 600.0, 1) == 3000  # now download is the slowest


@pytest.mark.parametrize(("items", "seconds", "size"), [(1_000_000, 10.0, MAX_PACKAGE), (10, 1000.0, 100)])
def test_the_size_keeps_its_bounds(store, items, seconds, size):
    book(store, "embed", items, seconds, subinstance="0001")
    assert package_size(store, DAY + timedelta(days=1), 900.0, 1) == size


def test_only_the_last_seven_days_and_real_work_are_measured(store):
    book(store, "embed", 10, 100.0, subinstance="0001", day=DAY - timedelta(days=8))
    book(store, "listing", 10, 0.5, subinstance="0001")
    book(store, "dedup", 10, 100.0)  # joins all packages: says nothing of a package
    assert package_size(store, DAY + timedelta(days=1), 900.0, 777) == 777
