"""`ElasticSink` against a real server: what becomes of an entry, whatever is there, and whoever else writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from reporting.elastic.documents import record_of
from reporting.elastic.names import Kind, effective_id, event_id, index_of
from reporting.outbox import Fate
from reporting.plans import PlanKind
from reporting.record import TaskRecord
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.verdict import Outcome as Judgement
from reporting.verdict import Verdict
from tests.reporting.elastic.delivery import (
    KnownPlans,
    change_by_hand,
    delete_entry,
    expected_entry,
    fates,
    leaf,
    plan_entry,
    record_entry,
    verdict_entry,
)
from tests.servers import faults
from tests.servers.rest import call

pytestmark = pytest.mark.elasticsearch

D, S, C, P, R, B = Fate.DELIVERED, Fate.STALE, Fate.CONFLICT, Fate.POISON, Fate.RETRY, Fate.BLOCKED
Make = Callable[..., TaskRecord]


@pytest.fixture
def make(category: str) -> Make:
    """Make a record of this test's own category."""
    return lambda **changes: make_record(**{"category": category, **changes})


def test_each_topic_becomes_its_documents(cluster, client, make, category):
    record = make(dropped={"blurred": 2}, metrics={"pipeline": 1.5}, versions={"routing": "2"})
    plan = make_plan(f"plan-{category}")
    verdict = Verdict(
        verdict_id=f"v-{category}",
        date=DAY,
        planid=plan.planid,
        outcome=Judgement.PASS,
        inputs={"a": "b"},
        decided_at=MOMENT,
    )
    entries = [
        plan_entry(plan, 4),
        record_entry(record),
        expected_entry(plan.planid, [leaf(record)]),
        verdict_entry(verdict, 2),
    ]
    assert fates(cluster.sink(client).deliver(entries)) == [D] * 4
    assert record_of(cluster.record(record.key)) == record
    assert record_of(cluster.event(record.key, record.version)) == record
    assert cluster.get(index_of(cluster.prefix, Kind.PLANS), plan.planid)["version"] == 4
    assert cluster.get(index_of(cluster.prefix, Kind.VERDICTS), verdict.verdict_id)["exact"]["outcome"] == "PASS"
    assert cluster.count(Kind.EXPECTED, category) == 1
    assert cluster.line(leaf(record))["effective_planid"] == "daily"


def test_a_repeat_is_delivered_an_older_version_is_stale_and_a_newer_one_takes_its_place(cluster, client, make):
    sink = cluster.sink(client)
    second = make(attempt=2, input=7)
    assert fates(sink.deliver([record_entry(second)])) == [D]
    assert fates(sink.deliver([record_entry(second)])) == [D]
    first = make(attempt=1, input=3)
    assert fates(sink.deliver([record_entry(first)])) == [S]
    assert record_of(cluster.record(second.key)) == second
    assert record_of(cluster.event(first.key, first.version)) == first  # it happened, and is kept
    third = make(attempt=2, emit=1, input=9)
    assert fates(sink.deliver([record_entry(third), record_entry(second), record_entry(first)])) == [D, S, S]
    assert record_of(cluster.record(third.key)) == third
    assert cluster.count(Kind.EVENTS, third.key.category) == 3


@pytest.mark.parametrize("together", [True, False])
def test_an_equal_version_with_other_content_is_a_conflict_and_the_first_stays(cluster, client, make, together):
    first, other = make(input=3), make(input=4)
    sink = cluster.sink(client)
    if together:
        outcomes = sink.deliver([record_entry(first), record_entry(other)])
    else:
        outcomes = sink.deliver([record_entry(first)]) + cluster.sink(client).deliver([record_entry(other)])
    assert fates(outcomes) == [D, C]
    assert "already booked with other content" in outcomes[1].error
    assert record_of(cluster.record(first.key)) == first
    assert record_of(cluster.event(first.key, first.version)) == first


def test_a_repeat_that_was_reported_later_is_no_conflict(cluster, client, make):
    first = make(reported_at=MOMENT)
    later = first.model_copy(update={"reported_at": datetime(2026, 11, 9, tzinfo=UTC)})
    assert fates(cluster.sink(client).deliver([record_entry(first), record_entry(later)])) == [D, D]


@pytest.mark.slow
def test_of_two_sinks_that_race_with_one_version_exactly_one_wins_and_event_and_record_agree(cluster, make):
    rounds = 40
    records = [[make(subinstance=f"{n:03}", input=10 * n + writer) for n in range(rounds)] for writer in range(2)]
    barrier = threading.Barrier(2)

    def race(mine: list[TaskRecord]) -> list[Fate]:
        seen = []
        with cluster.client() as own:
            sink = cluster.sink(own)
            for record in mine:
                barrier.wait(60)
                seen += fates(sink.deliver([record_entry(record)]))
        return seen

    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(race, records))
    for number in range(rounds):
        pair = [seen[0][number], seen[1][number]]
        assert sorted(pair) == sorted([D, C]), (number, pair)
        winner = records[pair.index(D)][number]
        assert record_of(cluster.record(winner.key)) == winner
        assert record_of(cluster.event(winner.key, winner.version)) == winner


def test_attempts_delivered_in_any_order_by_racing_sinks_leave_the_greatest(cluster, make):
    attempts = [make(attempt=n, input=n) for n in range(1, 31)]

    def ship(order: int) -> None:
        with cluster.client() as own:
            sink = cluster.sink(own)
            for record in attempts[::order]:
                assert fates(sink.deliver([record_entry(record)]))[0] in (D, S)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ship, (1, -1)))
    assert record_of(cluster.record(attempts[-1].key)) == attempts[-1]
    assert cluster.count(Kind.EVENTS, attempts[0].key.category) == len(attempts)


@pytest.mark.parametrize(
    "how", ["deleted", "a count changed", "version lowered", "version removed", "changed very often"]
)
@pytest.mark.parametrize("emit", [0, 1, 9])
def test_what_somebody_changed_by_hand_is_put_right_by_the_next_delivery(cluster, client, make, how, emit):
    sink = cluster.sink(client)
    first, following = make(input=3), make(emit=emit, input=3 + emit)
    assert fates(sink.deliver([record_entry(first)])) == [D]
    change_by_hand(cluster, first, how)
    assert fates(sink.deliver([record_entry(following)])) == [D]
    assert record_of(cluster.record(first.key)) == following
    newest = make(attempt=2, input=1)  # and the lock-out does not come back
    assert fates(sink.deliver([record_entry(newest), record_entry(following)])) == [D, S]
    assert record_of(cluster.record(first.key)) == newest


@pytest.mark.parametrize("how", ["deleted", "changed"])
def test_a_line_or_plan_that_somebody_changed_by_hand_is_put_right_too(cluster, client, make, category, how):
    record, plan = make(), make_plan(f"plan-{category}")
    cluster.sink(client).deliver([record_entry(record), plan_entry(plan, 1)])
    places = [
        (index_of(cluster.prefix, Kind.EFFECTIVE), effective_id(leaf(record))),
        (index_of(cluster.prefix, Kind.PLANS), plan.planid),
    ]
    before = [cluster.get(*place) for place in places]
    for (index, name), source in zip(places, before, strict=True):
        for _ in range(3):
            cluster.change("PUT", f"/{index}/_doc/{name}", {**source, "version": 0} if "version" in source else source)
        if how == "deleted":
            cluster.change("DELETE", f"/{index}/_doc/{name}")
        elif "effective_planid" in source:
            cluster.change("PUT", f"/{index}/_doc/{name}", {**source, "effective_planid": "wrong"})
    again = [record_entry(record), plan_entry(plan, 1)]
    assert fates(cluster.sink(client).deliver(again)) == [D, D]
    assert [cluster.get(*place) for place in places] == before


def test_a_deleted_record_is_gone_its_events_stay_and_it_may_be_put_again(cluster, client, make):
    sink = cluster.sink(client)
    record = make(attempt=2)
    assert fates(sink.deliver([record_entry(record)])) == [D]
    assert fates(sink.deliver([delete_entry(record)])) == [D]
    assert cluster.record(record.key) is None
    assert cluster.event(record.key, record.version) is not None
    assert fates(sink.deliver([delete_entry(record)])) == [D]  # it was not there
    for again in (record, make(attempt=1), make(attempt=3)):
        assert fates(sink.deliver([record_entry(again)])) == [D]
        assert record_of(cluster.record(record.key)) == again
        assert fates(sink.deliver([delete_entry(again)])) == [D]


def test_a_deletion_that_comes_after_a_newer_record_leaves_it(cluster, client, make):
    old, new = make(), make(attempt=2)
    sink = cluster.sink(client)
    sink.deliver([record_entry(old), record_entry(new)])
    assert fates(sink.deliver([delete_entry(old)])) == [S]
    assert record_of(cluster.record(new.key)) == new


def test_a_record_that_somebody_changed_by_hand_can_still_be_deleted(cluster, client, make):
    record = make()
    sink = cluster.sink(client)
    sink.deliver([record_entry(record)])
    change_by_hand(cluster, record, "changed very often")
    assert fates(sink.deliver([delete_entry(record)])) == [D]
    assert cluster.record(record.key) is None


def test_within_one_batch_records_and_deletions_take_effect_in_their_order(cluster, client, make):
    put, remove = record_entry(make(attempt=2)), delete_entry(make(attempt=2))
    sink = cluster.sink(client)
    key = make().key
    assert fates(sink.deliver([put, remove])) == [D, D]
    assert cluster.record(key) is None
    assert fates(sink.deliver([put, remove, put])) == [D, D, D]
    assert record_of(cluster.record(key)) == make(attempt=2)
    older = record_entry(make(attempt=1))
    assert fates(sink.deliver([remove, older])) == [D, D]
    assert record_of(cluster.record(key)) == make(attempt=1)


def test_a_deletion_waits_for_a_record_before_it_that_was_refused(cluster, far_client, proxy, make):
    entries = [record_entry(make()), delete_entry(make())]
    refuse = faults.answer(503)
    proxy.schedule(lambda number, path: refuse if number <= 4 else faults.PASS)  # all rounds of the event
    sink = cluster.sink(far_client)
    assert fates(sink.deliver(entries)) == [R, R]
    assert fates(sink.deliver(entries)) == [D, D]
    assert cluster.record(make().key) is None


def test_a_rerun_never_touches_the_documents_of_the_daily_plan(cluster, client, make):
    registry = KnownPlans([make_plan(), make_plan("rerun", PlanKind.RERUN)])
    sink = cluster.sink(client, registry)
    daily = make(input=5)
    sink.deliver([record_entry(daily)])
    places = [
        (index_of(cluster.prefix, Kind.RECORDS, DAY), daily.key.document_id()),
        (index_of(cluster.prefix, Kind.EVENTS, DAY), event_id(daily.key, daily.version)),
    ]
    before = [call(cluster.url, "GET", f"/{index}/_doc/{name}")[1] for index, name in places]
    again = [make(planid="rerun", input=9), make(planid="rerun", input=8, attempt=2)]
    sink.deliver([record_entry(record) for record in again] + [delete_entry(again[1])])
    assert [call(cluster.url, "GET", f"/{index}/_doc/{name}")[1] for index, name in places] == before


def test_nothing_to_deliver_is_nothing_done(cluster, far_client, proxy):
    assert cluster.sink(far_client).deliver([]) == []
    assert proxy.requests.total() == 0


def test_a_great_manifest_goes_in_parts_that_stay_small(cluster, client, category):
    from reporting.elastic import sink as module
    from reporting.plans import Leaf

    leaves = [Leaf("quality", DAY, category, f"{n:05}") for n in range(2000)]
    entries = [expected_entry("daily", part) for part in (leaves[:1000], leaves[1000:])]
    parts = list(module._parts([entry for entry in entries for _ in range(60)]))
    assert all(len(part) < 60 for part in parts)
    assert [entry for part in parts for entry in part] == [entry for entry in entries for _ in range(60)]
    assert fates(cluster.sink(client).deliver(entries)) == [D, D]
    assert cluster.count(Kind.EXPECTED, category) == len(leaves)


def test_parts_put_no_document_after_its_deletion(make):
    from reporting.elastic.sink import _parts

    entries = [record_entry(make()), delete_entry(make()), delete_entry(make()), record_entry(make(attempt=2))]
    for first, second in pairwise(_parts(entries * 3)):
        assert {entry.topic for entry in first} <= {"record", "delete"}
        assert second[0].topic == "record"
