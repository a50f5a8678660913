"""The scan: one view of a day, whatever store it is read from and in whatever order its records were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date as Date
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.history import History, Need
from checks.scan import scan
from reporting.plans import Leaf, PlanKind
from reporting.record import TaskRecord
from reporting.stores import open_store
from reporting.stores.base import RecordQuery, RecordStore, Sums
from reporting.stores.memory import MemoryStore
from reporting.stores.sql import SqlStore
from reporting.stores.summing import sum_records
from reporting.tables import metadata
from reporting.testing import DAY, make_plan, make_record
from tests.checks.views import NEEDS, WEEK, by_key, facts
from tests.checks.world import TOPOLOGY, World, noon, planid_of

BROKEN = (
    World(seed=5)
    .ruin(Leaf("embed", WEEK[3], "shoes", "0002"))
    .fail("quality", {"subinstance": "0001"}, 0.3, WEEK[4])
    .shrink("crop", {"category": "bags"}, 0.1, DAY)
    .delay("index", {"category": "hats"}, timedelta(hours=5), DAY)
)


@pytest.fixture(scope="module")
def one_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    """One database for all tests: to build its tables takes longer than most of them."""
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('scan')}/store.db") as opened:
        yield opened


def emptied(store: SqlStore) -> SqlStore:
    with store.begin() as work:
        for table in reversed(metadata.sorted_tables):
            work.connection.execute(table.delete())
    return store


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, one_sqlite: SqlStore) -> RecordStore:
    return MemoryStore() if request.param == "memory" else emptied(one_sqlite)


@pytest.mark.parametrize("hours", [2, 12, 20])
def test_a_view_is_what_is_known_by_then(store, hours):
    BROKEN.put(store, WEEK, digests=False)
    as_of = noon(DAY) - timedelta(hours=12 - hours)
    view = scan(store, TOPOLOGY, DAY, as_of=as_of, needs=NEEDS)
    expected = BROKEN.view(DAY, as_of=as_of, history=NEEDS, digests=False)
    assert view.records == by_key(expected.records) != []
    if hours > 2:  # before, nobody has merged what lies in the window
        assert view.other_days == by_key(expected.other_days) != []
    assert view.expected == expected.expected
    assert {leaf.date for leaves in view.expected.values() for leaf in leaves} == {DAY}
    assert view.leaves == expected.leaves
    assert list(view.plans) == sorted(
        (plan for day in WEEK for plan in BROKEN.plans(day)), key=lambda plan: (plan.created_at, plan.planid)
    )
    assert_same_past(view.history, expected.history)


def assert_same_past(some: History, other: History) -> None:
    for need in NEEDS:
        found, wanted = (one.of(need.task, need.measure, need.by, need.days) for one in (some, other))
        assert (found.groups, found.days) == (wanted.groups, wanted.days), need
        np.testing.assert_allclose(found.values, wanted.values, rtol=1e-12, err_msg=str(need))
        np.testing.assert_allclose(found.means, wanted.means, rtol=1e-12, err_msg=str(need))


def test_a_repaired_leaf_is_left_out_of_the_past_and_the_rest_of_its_day_is_not(store):
    world = BROKEN.rerun("again", ("embed",), on=WEEK[3], categories=("shoes",), subinstances=("0002",))
    world.put(store, WEEK, digests=False)
    past = scan(store, TOPOLOGY, DAY, as_of=noon(DAY), needs=NEEDS).history
    assert_same_past(past, world.history(NEEDS, DAY, noon(DAY)))
    leaves, packages = (
        past.of("embed", "seconds", ("category", "subinstance"), 5),
        past.of("embed", "output", ("subinstance",), 7),
    )
    assert np.isnan(leaves.values[leaves.groups.index(("shoes", "0002")), leaves.days.index(WEEK[3])])
    assert np.isfinite(packages.values[:, packages.days.index(WEEK[3])]).all()


def test_the_records_as_they_are_give_the_view_of_now(store):
    world = BROKEN.rerun("again", ("embed",), on=WEEK[3], categories=("shoes",), subinstances=("0002",))
    world.put(store, WEEK)
    as_of = noon(DAY) + timedelta(days=1)
    replayed, read = (scan(store, TOPOLOGY, DAY, as_of=as_of, needs=NEEDS, with_as_of=how) for how in (True, False))
    assert facts(replayed) == facts(read)
    assert len(read.history.of("embed", "input", (), 7).groups) == 1


@settings(max_examples=12)
@given(data=st.data())
def test_order_duplication_and_earlier_attempts_never_change_a_view(one_sqlite, data):
    """An attempt that another followed is a split of the work: it is in the events, and in no view."""
    days = WEEK[-3:]
    final = [r for day in days for r in BROKEN.day(day, digests=False).records if r.key.task in ("index", "merge")]
    last = [record.model_copy(update={"attempt": 2, "version": record.version + 2**32}) for record in final]
    tried = data.draw(st.lists(st.sampled_from(final), unique_by=lambda record: record.key))
    puts = data.draw(st.permutations([*last, *tried, *data.draw(st.lists(st.sampled_from(last), max_size=5))]))
    views = []
    for one, records in ((MemoryStore(), last), (MemoryStore(), puts), (emptied(one_sqlite), puts)):
        with one.begin() as work:
            for day in days:
                work.put_plan(BROKEN.plans(day)[0])
            for record in records:
                work.put_record(record)
        for how in (True, False):
            as_of = noon(DAY) + timedelta(hours=9)
            views.append(facts(scan(one, TOPOLOGY, DAY, as_of=as_of, needs=NEEDS, with_as_of=how)))
    assert all(view == views[0] for view in views)
    assert views[0][2] == by_key([record for record in last if record.key.date == DAY])


def test_a_plan_that_was_made_later_is_not_there_yet_and_neither_is_its_manifest(store):
    world = World().rerun("repair", ("embed",), categories=("shoes",))
    world.put(store)
    leaf = Leaf("embed", DAY, "shoes", "0001")

    def seen(hour: int) -> tuple[list[str], set[str], str | None]:
        view = scan(store, TOPOLOGY, DAY, as_of=noon(DAY) - timedelta(hours=12 - hour))
        return [plan.planid for plan in view.plans], set(view.expected), view.planid(leaf)

    daily = planid_of(DAY)
    assert seen(9) == ([daily], {daily}, daily)
    assert seen(10) == ([daily, "repair"], {daily, "repair"}, daily)  # made, and not yet promoted
    assert seen(11) == ([daily, "repair"], {daily, "repair"}, "repair")


def test_the_judged_day_is_never_part_of_its_own_past(store):
    wild = make_record("collect", date=DAY, planid="wild", input=10**9)
    World().put(store, WEEK[-3:])
    with store.begin() as work:
        work.put_plan(make_plan("wild", PlanKind.RERUN, dates=WEEK[-3:], promoted_at=noon(WEEK[-3])))
        work.put_record(wild)
    found = scan(store, TOPOLOGY, DAY, as_of=noon(DAY), needs=[Need("collect", "input", (), 7)], skip_non_daily=False)
    past = found.history.of("collect", "input", (), 7)
    assert past.days == WEEK[:-1]
    assert np.nanmax(past.values, initial=0) < 10**6


class Counted(MemoryStore):
    """Counts the questions it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def records(self, query: RecordQuery) -> list[TaskRecord]:
        self.asked.append("records")
        return super().records(query)

    def sums(self, query: RecordQuery, by: Sequence[str], measures: Sequence[str]) -> list[Sums]:
        self.asked.append("sums")
        return sum_records(super().records(query), by, measures)


def test_the_number_of_questions_does_not_grow_with_the_number_of_checks():
    store = Counted()
    World().put(store, WEEK, digests=False)
    many = [need._replace(days=days) for need in NEEDS[:-2] for days in range(1, 8)]
    scan(store, TOPOLOGY, DAY, as_of=noon(DAY), needs=many)
    # The day, and what its merge consumed; the past in each set of dimensions that a task is compared by.
    assert store.asked == ["records", "records", "sums", "sums", "sums", "sums"]


def test_a_day_without_anything_is_an_empty_view(store: RecordStore):
    view = scan(store, TOPOLOGY, Date(2030, 1, 1), as_of=noon(DAY), needs=NEEDS)
    assert (view.records, view.other_days, view.plans, view.expected, view.leaves) == ([], [], [], {}, {})
    past = view.history.of("embed", "seconds", ("category", "subinstance"), 5)
    assert (past.groups, len(past.days), past.values.shape) == ((), 5, (0, 5))


def test_a_time_without_a_zone_and_a_past_of_no_days_are_refused():
    with pytest.raises(ValueError, match="has no time zone"):
        scan(MemoryStore(), TOPOLOGY, DAY, as_of=datetime(2026, 11, 2))  # noqa: DTZ001 - what is refused
    with pytest.raises(ValueError, match="expected at least one day back"):
        scan(MemoryStore(), TOPOLOGY, DAY, as_of=noon(DAY), needs=[Need("embed", "input", (), 0)])
