"""Sums of measures in every store: those of a plain loop over the records, now and as of any moment."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import date as Date
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.errors import ConfigError
from reporting.key import KEY_PARTS
from reporting.stores.base import RecordQuery, Sums
from reporting.stores.elastic import ElasticStore
from reporting.testing import DAY, MOMENT, make_record
from tests.contracts.conftest import STORES

# One store serves all examples of a test: each example books under a plan of its own.
PLANIDS = (f"p{number}" for number in itertools.count())
ODD = "we\"ird\\ $.class = '1' 类"
MEASURES = (
    *("input", "output", "produced", "dropped", "failed", "records", "seconds"),
    *("dropped.blurred", "dropped.too.small", "dropped.nobody", "failed.OSError", f"failed.{ODD}"),
    *("metrics.seconds_per_item", "metrics.not.in.the.mapping", "metrics.nobody"),
)
HOUR = timedelta(hours=1)
VERSION = ("task", "date", "category", "subinstance", "attempt")

SERVERS = [
    pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow]),
    pytest.param("elastic", marks=[pytest.mark.elasticsearch, pytest.mark.slow]),
]


@pytest.fixture(params=["memory", "sqlite", *SERVERS])
def store(request, open_named):
    """An empty store of each kind; with servers this file takes half a minute."""
    return open_named(request.param)


@pytest.fixture(params=STORES)
def every_store(request, open_named):
    """The same in the default suite too: for the one test that touches all of it."""
    return open_named(request.param)


BOOKED = st.fixed_dictionaries(
    {
        "task": st.sampled_from(["quality", "hash"]),
        "date": st.sampled_from([DAY, Date(2026, 12, 1)]),
        "category": st.sampled_from(["shoes", "all"]),
        "subinstance": st.sampled_from(["0001", "0002"]),
        "attempt": st.integers(1, 3),
        "input": st.integers(100, 2**40),
        "dropped": st.dictionaries(st.sampled_from(["blurred", "too.small"]), st.integers(0, 30)),
        "failed": st.dictionaries(st.sampled_from(["OSError", ODD]), st.integers(0, 20)),
        "produced": st.integers(0, 2**40),
        "metrics": st.dictionaries(
            st.sampled_from(["seconds_per_item", "not.in.the.mapping"]),
            st.floats(-1e15, 1e15).filter(lambda value: abs(value) > 1e-9 or value == 0),
        ),
        "late": st.integers(0, 3),
        "micros": st.integers(0, 10**11),
    }
)


def booked(planid, *, late, micros, **fields):
    at = MOMENT + late * HOUR
    times = {"started_at": at - timedelta(microseconds=micros), "finished_at": at, "reported_at": at}
    return make_record(fields.pop("task"), planid=planid, **fields, **{**times})


def loop(records, by, measures=MEASURES):
    """Add records up one by one, exactly."""
    groups = defaultdict(list)
    for record in records:
        groups[tuple(str(getattr(record.key, part)) for part in by)].append(record)
    found = []
    for group, members in sorted(groups.items()):
        columns = [[plain(record, name) for record in members] for name in measures]
        held = [[value for value in column if value is not None] for column in columns]
        values = [float(sum(map(Fraction, column))) for column in held]
        found.append(Sums(group, len(members), tuple(values), tuple(map(len, held))))
    return found


def plain(record, measure):
    head, _, name = measure.partition(".")
    if head == "seconds":
        return Fraction((record.finished_at - record.started_at) // timedelta(microseconds=1), 10**6)
    if head == "metrics":
        return record.metrics.get(name)
    if name:
        return getattr(record, head).get(name, 0)
    totals = {"dropped": record.dropped_total, "failed": record.failed_total, "records": 1}
    return totals.get(head, getattr(record, head, None))


def latest(records):
    found = {}
    for record in sorted(records, key=lambda record: record.version):
        found[record.key] = record
    return list(found.values())


def put(store, records):
    with store.begin() as work:
        for record in records:
            work.put_record(record)


def test_sums_are_those_of_a_loop_over_the_records_now_and_as_of_any_moment(store):
    @settings(max_examples=4 if isinstance(store, ElasticStore) else 25, deadline=None)
    @given(
        rows=st.lists(BOOKED, max_size=8, unique_by=lambda row: tuple(row[name] for name in VERSION)),
        by=st.lists(st.sampled_from(KEY_PARTS), unique=True),
    )
    def hold(rows, by):
        planid = next(PLANIDS)
        made = [booked(planid, **row) for row in rows]
        put(store, made)
        assert store.sums(RecordQuery(planids=(planid,)), by, MEASURES) == loop(latest(made), by)
        for late in (-1, 0, 1, 3):
            moment = MOMENT + late * HOUR
            query = RecordQuery(planids=(planid,), date_from=DAY, date_to=DAY, as_of=moment)
            known = [record for record in made if record.reported_at <= moment and record.key.date == DAY]
            assert store.sums(query, by, MEASURES) == loop(latest(known), by)

    hold()


def test_only_the_records_of_the_query_are_added(store):
    made = [
        make_record(task, date=day, category=category, planid=plan, input=number)
        for number, (task, day, category, plan) in enumerate(
            itertools.product(("hash", "quality"), (DAY, Date(2026, 11, 2)), ("all", "shoes"), ("daily", "rerun"))
        )
    ]
    put(store, made)
    for query in (
        RecordQuery(tasks=("hash",)),
        RecordQuery(tasks=()),
        RecordQuery(date_from=Date(2026, 11, 2)),
        RecordQuery(date_to=DAY, planids=("daily", "nobody")),
        RecordQuery(categories=("shoes",), as_of=MOMENT),
        RecordQuery(date_from=Date(2026, 12, 24), date_to=DAY),
    ):
        mine = [record for record in made if query.selects(record.key)]
        assert store.sums(query, ["task"], ["input", "records"]) == loop(mine, ["task"], ["input", "records"])
        assert store.sums(query, [], ["input"]) == loop(mine, [], ["input"])


def test_the_order_of_measures_is_kept_and_one_may_come_twice_or_none_at_all(every_store):
    store = every_store
    metrics = {"seconds_per_item": 0.1, "not.in.the.mapping": 0.2}
    put(store, [make_record(input=10, dropped={"blurred": 3}, metrics=metrics), make_record("hash", failed={ODD: 1})])
    asked = ["output", "dropped.blurred", "metrics.not.in.the.mapping", f"failed.{ODD}", "seconds", "output"]
    for query in (RecordQuery(), RecordQuery(as_of=MOMENT)):
        assert store.sums(query, ["planid", "task"], asked) == [
            Sums(("daily", "hash"), 1, (9.0, 0.0, 0.0, 1.0, 60.0, 9.0), (1, 1, 0, 1, 1, 1)),
            Sums(("daily", "quality"), 1, (7.0, 3.0, 0.2, 0.0, 60.0, 7.0), (1, 1, 1, 1, 1, 1)),
        ]
    assert store.sums(RecordQuery(), [], []) == [Sums((), 2, (), ())]


def test_counts_too_large_for_a_float_are_rounded_once(store):
    big = 2**61
    put(store, [make_record(input=big + n, category=f"c{n}", dropped={"blurred": n}) for n in range(1, 4)])
    found = store.sums(RecordQuery(), ["task"], ["input", "dropped.blurred", "seconds", "metrics.nobody"])
    assert found == [Sums(("quality",), 3, (float(3 * big + 6), 6.0, 180.0, 0.0), (3, 3, 3, 0))]


def test_what_was_deleted_and_booked_again_as_an_older_version_counts_now_and_the_newer_counts_then(store):
    newer = make_record(attempt=2, input=20)
    older = make_record(attempt=1, input=10, reported_at=MOMENT - HOUR)
    other = make_record("hash", input=5)
    put(store, [newer, other])
    assert store.delete_plan_records("daily") == 2
    assert store.sums(RecordQuery(), [], ["input"]) == []
    assert store.sums(RecordQuery(as_of=MOMENT), [], ["input"]) == [Sums((), 2, (25.0,), (2,))]
    put(store, [older])
    assert store.sums(RecordQuery(), [], ["input"]) == [Sums((), 1, (10.0,), (1,))]
    assert store.sums(RecordQuery(as_of=MOMENT), [], ["input"]) == [Sums((), 2, (25.0,), (2,))]


def test_what_is_no_measure_or_no_part_of_the_key_is_refused(store):
    put(store, [make_record()])
    for query in (RecordQuery(), RecordQuery(as_of=MOMENT), RecordQuery(tasks=())):
        with pytest.raises(ConfigError, match="unknown measure 'inputs'; did you mean input"):
            store.sums(query, ["task"], ["inputs"])
        with pytest.raises(ValueError, match="grouped by state: expected parts of the key, task, date"):
            store.sums(query, ["task", "state"], ["input"])


def test_a_snapshot_sees_one_state_whatever_is_written_meanwhile(sql_store):
    put(sql_store, [make_record("hash")])
    count = "SELECT count(*) FROM record"
    with sql_store.snapshot() as connection:
        before = connection.exec_driver_sql(count).scalar_one()
        put(sql_store, [make_record("quality")])
        assert connection.exec_driver_sql(count).scalar_one() == before == 1
    with sql_store.snapshot() as connection:
        assert connection.exec_driver_sql(count).scalar_one() == 2
