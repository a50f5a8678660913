"""`ElasticSink` before a real server that refuses, and before a network that breaks: who is to blame, what waits."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trustme
from elasticsearch import Elasticsearch

from reporting.elastic.documents import record_of
from reporting.elastic.names import Kind, index_of
from reporting.outbox import Entry, Fate, Topic
from reporting.record import TaskRecord
from reporting.testing import DAY, make_plan, make_record
from tests.reporting.elastic.delivery import (
    Cluster,
    KnownPlans,
    change_by_hand,
    fates,
    leaf,
    plan_entry,
    record_entry,
)
from tests.servers import faults
from tests.servers.tls_proxy import TlsProxy

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]

D, S, C, P, R, B = Fate.DELIVERED, Fate.STALE, Fate.CONFLICT, Fate.POISON, Fate.RETRY, Fate.BLOCKED
Make = Callable[..., TaskRecord]


@pytest.fixture
def make(category: str) -> Make:
    """Make a record of this test's own category."""
    return lambda **changes: make_record(**{"category": category, **changes})


@contextmanager
def setting(cluster: Cluster, index: str, name: str, value: Any) -> Iterator[None]:
    cluster.change("PUT", f"/{index}/_settings", {name: value})
    try:
        yield
    finally:
        cluster.change("PUT", f"/{index}/_settings", {name: None})


def both_months(cluster: Cluster, client: Elasticsearch, make: Make, day: Any) -> TaskRecord:
    """Deliver a record, so that this month's indices are there."""
    record = make(date=day)
    registry = KnownPlans([make_plan(dates=(DAY, day))])
    assert fates(cluster.sink(client, registry).deliver([record_entry(record)])) == [D]
    return record


@pytest.mark.parametrize("kind", [Kind.RECORDS, Kind.EVENTS])
def test_a_full_disk_means_later_and_what_waited_is_delivered_then(cluster, client, make, own_day, kind):
    first = both_months(cluster, client, make, own_day)
    following = make(date=own_day, emit=1)
    index = index_of(cluster.prefix, kind, own_day)
    sink = cluster.sink(client)
    with setting(cluster, index, "index.blocks.read_only_allow_delete", True):
        (outcome,) = sink.deliver([record_entry(following)])
        assert outcome.fate is R
        assert "429 cluster_block_exception" in outcome.error
    assert fates(sink.deliver([record_entry(following)])) == [D]
    assert record_of(cluster.record(first.key)) == following


@pytest.mark.parametrize("kind", [Kind.RECORDS, Kind.EVENTS])
@pytest.mark.parametrize("name", ["index.blocks.write", "index.blocks.read_only"])
def test_a_write_block_stops_what_it_concerns_and_blames_no_document(cluster, client, make, own_day, kind, name):
    both_months(cluster, client, make, own_day)
    blocked, free = make(date=own_day, emit=1), make(emit=5)
    sink = cluster.sink(client)
    with setting(cluster, index_of(cluster.prefix, kind, own_day), name, True):
        outcomes = sink.deliver([record_entry(blocked), record_entry(free)])
        assert fates(outcomes) == [B, D]
        assert "an operator has blocked writing" in outcomes[0].error
    assert fates(sink.deliver([record_entry(blocked)])) == [D]
    assert record_of(cluster.record(blocked.key)) == blocked


def test_a_closed_index_stops_what_it_concerns(cluster, client, make, own_day):
    both_months(cluster, client, make, own_day)
    index, entry = index_of(cluster.prefix, Kind.RECORDS, own_day), record_entry(make(date=own_day, emit=1))
    cluster.change("POST", f"/{index}/_close")
    (outcome,) = cluster.sink(client).deliver([entry])
    assert outcome.fate is B
    assert "the index is closed; open it" in outcome.error
    cluster.change("POST", f"/{index}/_open?wait_for_active_shards=1")
    assert fates(cluster.sink(client).deliver([entry])) == [D]


def test_a_prefix_that_makes_no_index_name_stops_everything(cluster, client, make):
    bad = Cluster(cluster.url, "Upper Case")
    (outcome,) = bad.sink(client).deliver([record_entry(make())])
    assert outcome.fate is B
    assert "elastic.prefix" in outcome.error


@contextmanager
def cluster_setting(cluster: Cluster, name: str, value: Any) -> Iterator[None]:
    cluster.change("PUT", "/_cluster/settings", {"persistent": {name: value}})
    try:
        yield
    finally:
        cluster.change("PUT", "/_cluster/settings", {"persistent": {name: None}})


def test_a_cluster_that_makes_no_indices_is_answered_with_the_command_that_does(cluster, client, make, own_day):
    entry = record_entry(make(date=own_day))
    for names in (f"-{cluster.prefix}-*,+*", False):
        with cluster_setting(cluster, "action.auto_create_index", names):
            (outcome,) = cluster.sink(client).deliver([entry])
        assert outcome.fate is B
        assert "`funnelgate records setup`" in outcome.error
    assert fates(cluster.sink(client).deliver([entry])) == [D]


def test_a_cluster_that_has_room_for_no_more_indices_stops_what_needs_one(cluster, client, make, own_day):
    entry = record_entry(make(date=own_day))
    assert fates(cluster.sink(client).deliver([record_entry(make(emit=2))])) == [D]  # its indices are there
    with cluster_setting(cluster, "cluster.max_shards_per_node", 1):
        outcomes = cluster.sink(client).deliver([entry, record_entry(make(emit=3))])
    assert fates(outcomes) == [B, D]
    assert "shard limit" in outcomes[0].error
    assert fates(cluster.sink(client).deliver([entry])) == [D]


def test_what_no_cluster_would_take_is_put_aside_with_the_reason_and_the_others_are_delivered(
    cluster, client, make, category
):
    good = [make(subinstance=f"{n}") for n in range(4)]
    too_long = make(subinstance="long", versions={"model": "v" * 40_000})  # of one value in a flattened field
    entries = [
        record_entry(good[0]),
        Entry(2, "record", "x", 1, "not JSON", ""),
        record_entry(good[1]),
        Entry(3, "record", "x", 1, json.dumps({"key": {}}), ""),
        Entry(4, "unknown topic", "x", 1, "{}", ""),
        record_entry(good[2]),
        Entry(5, Topic.EXPECTED, "p", 0, '{"planid": "p", "leaves": [["a", "no date", "b", "c"]]}', ""),
        Entry(6, Topic.EXPECTED, "p", 0, '{"planid": "p"}', ""),
        Entry(7, Topic.DELETE, "p", 0, "[]", ""),
        Entry(8, Topic.PLAN, "p", 0, "null", ""),
        record_entry(good[3]),
        record_entry(too_long),
    ]
    outcomes = cluster.sink(client).deliver(entries)
    assert fates(outcomes)[:-1] == [D, P, D, P, P, D, P, P, P, P, D]
    assert all(outcome.error for outcome in outcomes if outcome.fate is P)
    assert [outcome.entry for outcome in outcomes] == entries
    for record in good:
        assert record_of(cluster.record(record.key)) == record


def test_a_field_of_another_type_or_none_is_poison_with_the_servers_words(cluster, client, make, own_day):
    day = own_day
    index = index_of(cluster.prefix, Kind.EVENTS, day)
    mapping = {"dynamic": "strict", "properties": {"task": {"type": "long"}}}
    cluster.change("PUT", f"/{index}-wrong", {"mappings": mapping})
    strict = Cluster(cluster.url, f"{cluster.prefix}-strict")
    cluster.change("PUT", f"/{index_of(strict.prefix, Kind.EVENTS, day)}", {"mappings": mapping})
    (wrong_type,) = strict.sink(client).deliver([record_entry(make(date=day))])
    assert wrong_type.fate is P
    assert "400" in wrong_type.error
    cluster.change("PUT", f"/{index_of(strict.prefix, Kind.EVENTS, DAY)}", {"mappings": {"dynamic": "strict"}})
    (unknown,) = strict.sink(client).deliver([record_entry(make())])
    assert unknown.fate is P
    assert "strict_dynamic_mapping_exception" in unknown.error


@pytest.mark.parametrize("fault", ["refuse", "drop_request", "drop_response", "half_response"])
def test_a_connection_that_breaks_keeps_everything_and_a_repeat_doubles_nothing(
    cluster, far_client, proxy, make, category, fault
):
    records = [make(subinstance=f"{n:04}") for n in range(1200)]  # three parts
    entries = [record_entry(record) for record in records]
    sink = cluster.sink(far_client)
    getattr(proxy, fault)()
    assert set(fates(sink.deliver(entries))) == {R}
    assert proxy.requests["/_bulk"] <= 1  # the other parts were not tried
    proxy.pass_through()
    assert set(fates(sink.deliver(entries))) == {D}
    assert cluster.count(Kind.RECORDS, category) == cluster.count(Kind.EVENTS, category) == len(records)


@pytest.mark.parametrize("path", ["_mget", "_refresh"])
def test_a_question_without_an_answer_keeps_what_depends_on_it(cluster, proxy, make, category, path):
    record, plan = make(), make_plan(f"plan-{category}")
    entries = [record_entry(record), plan_entry(plan)]
    with cluster.client() as own:
        cluster.sink(own).deliver(entries)
    change_by_hand(cluster, record, "a count changed")
    proxy._match = path
    proxy.answer(503)
    with cluster.client(proxy.url) as far:
        sink = cluster.sink(far)
        assert set(fates(sink.deliver(entries))) <= {R}
        proxy.pass_through()
        assert fates(sink.deliver(entries)) == [D, D]
    assert record_of(cluster.record(record.key)) == record


def test_lines_are_written_after_the_registry_could_not_be_asked(cluster, client, make, own_day):
    from reporting.errors import StoreError

    class Away(KnownPlans):
        away = True

        def revision(self, day):
            if self.away and day == own_day:
                raise StoreError("store: the database is busy; try again")
            return 1

    registry = Away([make_plan(dates=(DAY, own_day))])
    records = [make(), make(date=own_day)]
    entries = [record_entry(record) for record in records]
    sink = cluster.sink(client, registry)
    outcomes = sink.deliver(entries)
    assert fates(outcomes) == [R, R]
    assert "the database is busy" in outcomes[0].error
    registry.away = False
    assert fates(sink.deliver(entries)) == [D, D]
    assert all(cluster.line(leaf(record))["effective_planid"] == "daily" for record in records)


def test_a_line_that_is_refused_keeps_its_entries_and_is_written_later(cluster, far_client, proxy, make):
    record = make()
    sink = cluster.sink(far_client)
    refuse = faults.answer(503)
    proxy.schedule(lambda number, path: refuse if number >= 3 else faults.PASS)  # event, record, line
    assert fates(sink.deliver([record_entry(record)])) == [R]
    assert cluster.record(record.key) is not None
    assert cluster.line(leaf(record)) is None
    proxy.pass_through()
    assert fates(sink.deliver([record_entry(record)])) == [D]
    assert cluster.line(leaf(record)) is not None


def test_partial_refusals_settle_some_and_keep_the_others(cluster, far_client, proxy, make, category):
    records = [make(subinstance=f"{n:04}") for n in range(300)]
    left = [record_entry(record) for record in records]
    sink = cluster.sink(far_client)
    proxy.item_429(0.5, seed=3)
    tries = 0
    while left and tries < 50:
        outcomes = sink.deliver(left)
        assert set(fates(outcomes)) <= {D, R}
        left = [outcome.entry for outcome in outcomes if outcome.fate is R]
        tries += 1
    assert left == []
    assert tries > 1
    assert cluster.count(Kind.RECORDS, category) == cluster.count(Kind.EVENTS, category) == len(records)


def test_a_key_that_is_refused_stops_everything_and_is_not_told(cluster, make):
    key, wrong = secrets.token_urlsafe(30), secrets.token_urlsafe(30)
    authority = trustme.CA()
    forbidden = False
    with TlsProxy(cluster.url, key, authority, forbid=lambda method, path: forbidden) as tls:
        options: dict[str, Any] = {"ca_certs": str(tls.ca_pem), "max_retries": 0}
        entry = record_entry(make())
        with Elasticsearch(tls.url, api_key=wrong, **options) as refused:
            (outcome,) = cluster.sink(refused).deliver([entry])
            assert outcome.fate is B
            assert "401" in outcome.error
            assert wrong not in outcome.error
        with Elasticsearch(tls.url, api_key=key, **options) as known:
            forbidden = True
            (outcome,) = cluster.sink(known).deliver([entry])
            assert outcome.fate is B
            assert "the API key may not do this" in outcome.error
            forbidden = False
            assert fates(cluster.sink(known).deliver([entry])) == [D]
