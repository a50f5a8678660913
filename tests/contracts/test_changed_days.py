"""Which days have changed: nothing that a reader could have kept of a day changes without being told."""

from __future__ import annotations

from datetime import date as Date
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from reporting.plans import Leaf, PlanKind
from reporting.stores.sql import SqlStore
from reporting.testing import DAY, MOMENT, make_plan, make_record

NEXT = DAY + timedelta(days=1)


@pytest.fixture
def filled(sql_store: SqlStore) -> SqlStore:
    """Two days with a plan each; the first has a record of two attempts."""
    with sql_store.begin() as work:
        for day in (DAY, NEXT):
            work.put_plan(make_plan(f"daily {day}", dates=(day,)))
        work.put_record(record(DAY))
        work.put_record(record(DAY, attempt=2, input=11))
    return sql_store


def record(day: Date, **fields: Any) -> Any:
    return make_record(date=day, planid=f"daily {day}", **fields)


def put(store: SqlStore, *records: Any) -> None:
    with store.begin() as work:
        for one in records:
            work.put_record(one)


def expect(store: SqlStore, day: Date, *packages: str) -> None:
    with store.begin() as work:
        work.expect(f"daily {day}", [Leaf("quality", day, subinstance=package) for package in packages])


CHANGES: dict[str, Any] = {
    "a new record": lambda store: put(store, record(NEXT)),
    "a newer attempt": lambda store: put(store, record(NEXT, attempt=3)),
    "a new plan": lambda store: store_plan(store, make_plan("r", PlanKind.RERUN, dates=(NEXT,))),
    "a promotion": lambda store: store_plan(store, make_plan(f"daily {NEXT}", dates=(NEXT,), promoted_at=MOMENT)),
    "a manifest that grows": lambda store: expect(store, NEXT, "0001", "0002"),
}


def store_plan(store: SqlStore, plan: Any) -> None:
    with store.begin() as work:
        work.put_plan(plan)


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_told_of_its_day_once(filled, name):
    mark = filled.changed_days(None).mark
    CHANGES[name](filled)
    mark, days, _ = filled.changed_days(mark)
    assert days == {NEXT}
    mark, days, _ = filled.changed_days(mark)
    assert days == frozenset()


@pytest.mark.parametrize("name", CHANGES)
def test_plans_and_manifests_are_told_apart_from_records_alone(filled, name):
    mark = filled.changed_days(None).mark
    CHANGES[name](filled)
    planned = filled.changed_days(mark).planned
    assert planned == (frozenset() if name in ("a new record", "a newer attempt") else {NEXT})


def test_of_what_was_never_asked_everything_may_have_changed(filled):
    assert filled.changed_days(None).days is None


def test_a_repeat_is_no_change(filled):
    mark = filled.changed_days(None).mark
    put(filled, record(DAY, attempt=2, input=11))
    assert filled.changed_days(mark).days == frozenset()


def test_records_that_are_deleted_and_come_back_in_an_older_version_are_told(filled):
    """Their events are there already, so that neither step adds one."""
    mark = filled.changed_days(None).mark
    filled.delete_plan_records(f"daily {DAY}")
    mark, days, planned = filled.changed_days(mark)
    assert days == planned == {DAY}
    for attempt, taken in ((1, 10), (2, 11)):
        put(filled, record(DAY, attempt=attempt, input=taken))
        mark, days, _ = filled.changed_days(mark)
        assert days == {DAY}, attempt
    assert filled.changed_days(mark).days == frozenset()


def test_a_leaf_that_is_expected_already_is_told_at_most_of_its_day(filled):
    expect(filled, NEXT, "0001")
    mark = filled.changed_days(None).mark
    expect(filled, NEXT, "0001")
    assert filled.changed_days(mark).days <= {NEXT}


def test_what_is_rolled_back_is_no_change(filled):
    def fail() -> None:
        with filled.begin() as work:
            work.put_record(record(NEXT))
            work.expect(f"daily {NEXT}", [Leaf("quality", NEXT)])
            raise RuntimeError

    mark = filled.changed_days(None).mark
    with pytest.raises(RuntimeError):
        fail()
    assert filled.changed_days(mark).days == frozenset()


@pytest.mark.postgres
def test_what_is_committed_after_a_later_number_is_told(open_named):
    """PostgreSQL gives out the numbers of events when they are written: the first may be seen last."""
    store = open_named("postgres")
    with store.begin() as work:
        work.put_plan(make_plan(f"daily {DAY}"))
        work.put_plan(make_plan(f"daily {NEXT}", dates=(NEXT,)))
    mark = store.changed_days(None).mark
    with store.begin() as slow:
        slow.put_record(record(DAY))
        put(store, record(NEXT))
        mark, days, _ = store.changed_days(mark)
        assert days == {NEXT}
    mark, days, _ = store.changed_days(mark)
    assert DAY in days
    assert store.changed_days(mark).days == frozenset()


def test_asking_reads_no_record_and_costs_few_statements(filled):
    mark = filled.changed_days(None).mark
    put(filled, *(record(NEXT, subinstance=f"{number:04}") for number in range(50)))
    said: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    event.listen(filled.engine, "before_cursor_execute", hear)
    try:
        filled.changed_days(mark)
    finally:
        event.remove(filled.engine, "before_cursor_execute", hear)
    assert len(said) <= 8
    assert not [one for one in said if "FROM record" in one]
