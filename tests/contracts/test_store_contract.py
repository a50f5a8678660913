"""Records in every store: what was put is read, the greater version stays, and totals are plain sums."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import date as Date
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reporting.digest import Digest
from reporting.errors import VersionConflict
from reporting.key import KEY_PARTS
from reporting.record import Consumed, State, TaskFailure
from reporting.stores.base import PutOutcome, RecordQuery
from reporting.testing import DAY, MOMENT, make_record

# One store serves all examples of a test: each example books under a plan of its own.
EXAMPLES = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PLANIDS = (f"p{number}" for number in itertools.count())


def put(store, *records):
    """Put each record in a transaction of its own; return the outcomes."""
    outcomes = []
    for record in records:
        with store.begin() as work:
            outcomes.append(work.put_record(record))
    return outcomes


def test_a_record_is_read_back_exactly_as_it_was_put(store):
    ids = ["a", "货号-42"]
    full = make_record(
        "embed",
        category="schöne Schuhe & 鞋",
        subinstance="0003",
        input=9,
        dropped={"undecodable": 3},
        failed={"OSError": 4},
        produced=2,
        state=State.FAILED,
        error=TaskFailure(error_class="OSError", message="disk 'full'\nline 2 % :x \\ 🚨"),
        consumed=(Consumed(task="categorise", date=DAY, planid="daily", count=9),),
        digest_out=str(Digest.of(ids)),
        versions={"model": "m1"},
        metrics={"seconds_per_item": 0.1 + 0.2, "huge": 1e300},
    )
    put(store, full)
    assert store.get_record(full.key) == full
    assert store.records(RecordQuery()) == [full]


def test_an_unknown_key_has_no_record_and_an_empty_history(store):
    missing = make_record().key
    assert store.get_record(missing) is None
    assert store.history(missing) == []
    assert store.records(RecordQuery()) == []


def test_zero_is_written_and_differs_from_missing(store):
    put(store, make_record("quality", input=0))
    assert [total.input for total in store.totals(RecordQuery(), ["task"])] == [0]
    assert store.totals(RecordQuery(tasks=("hash",)), ["task"]) == []


def test_the_same_record_again_is_a_repeat_even_when_reported_later(store):
    record = make_record()
    later = record.model_copy(update={"reported_at": MOMENT + timedelta(hours=1)})
    assert put(store, record, record, later) == [PutOutcome.STORED, PutOutcome.REPEAT, PutOutcome.REPEAT]
    assert store.history(record.key) == [record]
    assert store.get_record(record.key) == record


def test_an_older_version_is_kept_as_an_event_only(store):
    second, first = make_record(attempt=2), make_record(attempt=1, input=7)
    assert put(store, second, first) == [PutOutcome.STORED, PutOutcome.OLDER]
    assert store.get_record(first.key) == second
    assert store.history(first.key) == [second, first]


def test_an_older_version_that_comes_twice_is_one_event(store):
    second, first = make_record(attempt=2), make_record(attempt=1, input=7)
    assert put(store, second, first, first)[-1] is PutOutcome.REPEAT
    assert store.history(first.key) == [second, first]


def test_an_older_version_with_other_content_is_refused_too(store):
    second, first, other = make_record(attempt=2), make_record(attempt=1, input=7), make_record(attempt=1, input=8)
    put(store, second, first)
    with pytest.raises(VersionConflict):
        put(store, other)
    assert store.history(first.key) == [second, first]


def test_equal_version_with_other_content_is_refused_and_changes_nothing(store):
    stored, other = make_record(input=10), make_record(input=11)
    put(store, stored)
    with pytest.raises(
        VersionConflict, match=r"quality/2026-11-01/all/all/daily: version 4294967296 .*greater version"
    ):
        put(store, other)
    assert store.get_record(stored.key) == stored
    assert store.history(stored.key) == [stored]


@EXAMPLES
@given(
    order=st.permutations([(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0)]),
    repeats=st.lists(st.integers(0, 5), max_size=4),
)
def test_the_greatest_version_stays_whatever_the_order_of_arrival(store, order, repeats):
    planid = next(PLANIDS)
    made = [make_record(planid=planid, attempt=a, emit=e, input=10 * a + e) for a, e in order]
    put(store, *made, *(made[index] for index in repeats))
    key = made[0].key
    assert store.get_record(key).input == 30
    assert sorted(event.version for event in store.history(key)) == sorted(record.version for record in made)


def test_history_is_in_order_of_arrival_not_of_version_or_time(store):
    arrivals = [
        make_record(attempt=2, reported_at=MOMENT + timedelta(hours=2)),
        make_record(attempt=1, input=3, reported_at=MOMENT),
        make_record(attempt=3, input=4, reported_at=MOMENT - timedelta(hours=2)),
    ]
    put(store, *arrivals)
    put(store, make_record(category="other"))
    assert store.history(arrivals[0].key) == arrivals


def test_records_come_sorted_by_key_and_only_those_of_the_query(store):
    days = [DAY + timedelta(days=n) for n in range(3)]
    made = [
        make_record(task, date=day, category=category, subinstance=sub, planid=plan)
        for task in ("quality", "hash")
        for day in days
        for category in ("shoes", "Ärmel", "all")
        for sub in ("0001", "all")
        for plan in ("daily", "rerun")
    ]
    with store.begin() as work:
        for record in reversed(made):
            work.put_record(record)
    queries = [
        RecordQuery(),
        RecordQuery(tasks=("hash",)),
        RecordQuery(tasks=()),
        RecordQuery(date_from=days[1]),
        RecordQuery(date_to=days[1]),
        RecordQuery(date_from=days[1], date_to=days[1], categories=("shoes", "Ärmel")),
        RecordQuery(subinstances=("0001",), planids=("rerun", "nobody")),
    ]
    for query in queries:
        expected = sorted((r for r in made if query.selects(r.key)), key=lambda r: tuple(map(str, r.key.parts())))
        assert store.records(query) == expected, query


LEAVES = st.lists(
    st.tuples(
        st.sampled_from(["quality", "hash"]),
        st.sampled_from([DAY, Date(2026, 11, 2)]),
        st.sampled_from(["shoes", "all"]),
        st.sampled_from(["0001", "0002"]),
        st.integers(0, 2**40),
        st.integers(0, 3),
    ),
    max_size=12,
    unique_by=lambda leaf: leaf[:4],
)


@EXAMPLES
@given(leaves=LEAVES, by=st.lists(st.sampled_from(KEY_PARTS), unique=True))
def test_totals_by_any_key_parts_equal_a_brute_force_sum(store, leaves, by):
    planid = next(PLANIDS)
    made = [
        make_record(t, date=d, category=c, subinstance=s, planid=planid, input=n + lost, dropped={"blurred": lost})
        for t, d, c, s, n, lost in leaves
    ]
    with store.begin() as work:
        for record in made:
            work.put_record(record)
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0, 0])
    for t, d, c, s, n, lost in leaves:
        parts = {"task": t, "date": d.isoformat(), "category": c, "subinstance": s, "planid": planid}
        for index, value in enumerate((1, n + lost, n, n, lost, 0)):
            sums[tuple(parts[part] for part in by)][index] += value
    for query in (RecordQuery(planids=(planid,)), RecordQuery(planids=(planid,), as_of=MOMENT)):
        found = store.totals(query, by)
        assert {x.group: [x.records, x.input, x.output, x.produced, x.dropped, x.failed] for x in found} == sums
        assert [x.group for x in found] == sorted(sums)


def test_as_of_shows_what_had_been_reported_by_then(store):
    first = make_record(attempt=1, input=5, reported_at=MOMENT)
    second = make_record(attempt=2, input=6, reported_at=MOMENT + timedelta(hours=1))
    late_first = make_record(attempt=1, emit=1, input=7, reported_at=MOMENT + timedelta(hours=2))
    put(store, first, second, late_first)

    def inputs(moment):
        return [record.input for record in store.records(RecordQuery(as_of=moment))]

    assert inputs(MOMENT - timedelta(microseconds=1)) == []
    assert inputs(MOMENT) == [5]
    assert inputs(MOMENT + timedelta(hours=1) - timedelta(microseconds=1)) == [5]
    assert inputs(MOMENT + timedelta(hours=1)) == [6]
    assert inputs(MOMENT + timedelta(hours=3)) == [6]
    assert store.totals(RecordQuery(as_of=MOMENT), ["task"])[0].input == 5


def test_the_largest_counts_are_kept_exactly(store):
    big = 2**62
    put(store, make_record(input=big, category="a"), make_record(input=big - 1, category="b"))
    assert [total.input for total in store.totals(RecordQuery(), ["category"])] == [big, big - 1]
