"""Records in every store: what was put is read, the greater version stays, and totals are plain sums."""

from __future__ import annotations

import itertools
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import date as Date
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.digest import Digest
from reporting.elastic.bulk import send, write_action
from reporting.elastic.documents import record_document
from reporting.errors import VersionConflict
from reporting.key import KEY_PARTS
from reporting.record import Consumed, State, TaskFailure
from reporting.stores.base import PutOutcome, RecordQuery
from reporting.stores.elastic import ElasticStore
from reporting.testing import DAY, MOMENT, make_record
from tests.contracts.conftest import METRICS

# One store serves all examples of a test: each example books under a plan of its own.
PLANIDS = (f"p{number}" for number in itertools.count())


def examples(store):
    """Return how many examples a store is tried with: each write to a cluster takes a refresh of its indices."""
    return settings(max_examples=4 if isinstance(store, ElasticStore) else 20, deadline=None)


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


def test_the_greatest_version_stays_whatever_the_order_of_arrival(store):
    @examples(store)
    @given(
        order=st.permutations([(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0)]),
        repeats=st.lists(st.integers(0, 5), max_size=4),
    )
    def holds(order, repeats):
        planid = next(PLANIDS)
        made = [make_record(planid=planid, attempt=a, emit=e, input=10 * a + e) for a, e in order]
        put(store, *made, *(made[index] for index in repeats))
        key = made[0].key
        assert store.get_record(key).input == 30
        assert sorted(event.version for event in store.history(key)) == sorted(record.version for record in made)

    holds()


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


def test_totals_by_any_key_parts_equal_a_brute_force_sum(store):
    @examples(store)
    @given(leaves=LEAVES, by=st.lists(st.sampled_from(KEY_PARTS), unique=True))
    def hold(leaves, by):
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

    hold()


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


def test_names_that_bulk_helpers_take_for_their_own_survive(store):
    """`elasticsearch.helpers` moves fields of a flat action with these names into its metadata."""
    names = ("pipeline", "routing", "version", "parent", "if_seq_no", "_id", "_index")
    record = make_record(
        "pipeline",
        category="version",
        subinstance="routing",
        planid="pipeline",
        input=200,
        dropped={name: number for number, name in enumerate(names, start=1)},
        failed={name: number for number, name in enumerate(names, start=9)},
        metrics={name: number / 8 for number, name in enumerate(names)},
        versions={name: f"of {name}" for name in names},
    )
    put(store, record)
    assert store.get_record(record.key) == record
    assert store.records(RecordQuery(tasks=("pipeline",), as_of=MOMENT)) == [record]
    assert store.history(record.key) == [record]


EVE = Date(2026, 12, 31)
AROUND_NEW_YEAR = [DAY - timedelta(days=1), DAY, Date(2026, 11, 30), EVE, EVE + timedelta(days=1), Date(2030, 2, 28)]


def test_records_of_several_months_are_one_set(store):
    made = [make_record(date=day, input=number) for number, day in enumerate(AROUND_NEW_YEAR)]
    with store.begin() as work:
        for record in made:
            work.put_record(record)
    for first, last in itertools.combinations_with_replacement([None, *AROUND_NEW_YEAR], 2):
        for as_of in (None, MOMENT):
            query = RecordQuery(date_from=first, date_to=last, as_of=as_of)
            expected = [record for record in made if query.selects(record.key)]
            assert store.records(query) == expected, query
    by_day = store.totals(RecordQuery(date_to=EVE), ["date"])
    assert [(*total.group, total.input) for total in by_day] == [
        ("2026-10-31", 0),
        ("2026-11-01", 1),
        ("2026-11-30", 2),
        ("2026-12-31", 3),
    ]
    assert [(total.records, total.input) for total in store.totals(RecordQuery(), [])] == [(6, 15)]


def test_a_span_that_ends_before_it_begins_has_no_records(store):
    put(store, make_record())
    backwards = RecordQuery(date_from=DAY + timedelta(days=40), date_to=DAY)
    assert store.records(backwards) == []
    assert store.totals(backwards, ["task"]) == []
    assert store.totals(RecordQuery(tasks=()), []) == []


def test_as_of_looks_at_when_a_record_was_reported_not_at_its_date(store):
    """A day of October is repaired in November: its record stays one, in the month of its own date."""
    october = Date(2026, 10, 31)
    first = make_record(date=october, attempt=1, input=5, reported_at=MOMENT)
    repaired = make_record(date=october, attempt=2, input=6, reported_at=MOMENT + timedelta(days=40))
    november = make_record(date=DAY, input=7, reported_at=MOMENT + timedelta(days=1))
    put(store, repaired, november, first)
    assert store.records(RecordQuery(as_of=MOMENT)) == [first]
    assert store.records(RecordQuery(as_of=MOMENT + timedelta(days=1))) == [first, november]
    assert store.records(RecordQuery(as_of=MOMENT + timedelta(days=40))) == [repaired, november]
    assert store.records(RecordQuery()) == [repaired, november]
    assert store.history(first.key) == [repaired, first]


def test_any_moment_can_be_asked_about(store):
    put(store, make_record())
    for moment in ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2262-04-12T00:00:00Z", "9999-12-31T23:59:59Z"):
        query = RecordQuery(as_of=datetime.fromisoformat(moment))
        assert store.records(query) == ([make_record()] if moment > "2026" else []), moment


def test_a_rerun_never_touches_the_documents_of_the_daily_plan(store):
    daily = [make_record(subinstance=f"{n}", input=n) for n in range(3)]
    rerun = [make_record(subinstance=f"{n}", input=n + 1, planid="rerun", attempt=2) for n in range(3)]
    put(store, *daily, *rerun)
    assert store.records(RecordQuery(planids=("daily",))) == daily
    assert [store.history(record.key) for record in daily] == [[record] for record in daily]
    assert store.delete_plan_records("rerun") == 3
    assert store.records(RecordQuery()) == daily


def test_two_writers_cannot_book_different_content_under_one_version(twins):
    """Both begin at once; who comes second, by a moment or a year, is told."""
    together = Barrier(2)

    def write(store, amount):
        together.wait(timeout=30)
        try:
            return put(store, make_record(input=amount))
        except VersionConflict:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(write, twins, (1, 2)))
    assert sorted(map(str, ends)) == sorted([str([PutOutcome.STORED]), "refused"])
    won = make_record(input=1 + ends.index([PutOutcome.STORED]))
    for store in twins:
        assert store.get_record(won.key) == won
        assert store.history(won.key) == [won]


def test_what_one_object_wrote_the_other_reads(twins):
    first, second = twins
    put(first, make_record())
    assert put(second, make_record()) == [PutOutcome.REPEAT]
    assert second.records(RecordQuery()) == [make_record()]
    assert put(second, make_record(attempt=2)) == [PutOutcome.STORED]
    assert put(first, make_record(attempt=1, emit=1)) == [PutOutcome.OLDER]
    assert first.get_record(make_record().key).attempt == 2


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", pytest.param("elastic", marks=pytest.mark.elasticsearch)], indirect=True)
def test_no_group_is_lost_where_there_are_more_than_one_answer_can_hold(store):
    """Elasticsearch answers with at most 65,536 groups; SQLite stands for those that have no such limit."""
    made = [
        make_record(task, category=f"c{n % 7}", subinstance=f"{n:05}", input=n, dropped={"blurred": n % 5})
        for task in ("hash", "quality")
        for n in range(5, 35_005)
    ]
    fill(store, made)
    found = store.totals(RecordQuery(), KEY_PARTS)
    assert [(total.group, total.records, total.input, total.output, total.dropped) for total in found] == sorted(
        (record.key.parts(), 1, record.input, record.output, record.dropped_total) for record in made
    )
    by_package = store.totals(RecordQuery(tasks=("hash", "quality")), ["subinstance"])
    assert [(total.group, total.records, total.input) for total in by_package] == [
        ((f"{n:05}",), 2, 2 * n) for n in range(5, 35_005)
    ]
    assert store.records(RecordQuery()) == sorted(made, key=lambda record: record.key.parts())


def fill(store, records):
    """Put many records: into a cluster without asking about each what is there."""
    if isinstance(store, ElasticStore):
        actions = [write_action(record_document(store.prefix, record, METRICS)) for record in records]
        assert all(answer.ok for answer in send(store.client, actions))
        store.client.indices.refresh(index=f"{store.prefix}-records-*")
        return
    with store.begin() as work:
        for record in records:
            work.put_record(record)
