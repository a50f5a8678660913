"""What is particular to the store in Elasticsearch: no transactions, revisions, sums in doubles, deletions.

The cases that hold for every store are in `tests/contracts`.
"""

from __future__ import annotations

import random
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest

from reporting.elastic.client import connect
from reporting.elastic.names import Kind, event_id, index_of
from reporting.elastic.setup import setup
from reporting.errors import ConfigError, StoreError, VersionConflict
from reporting.key import KEY_PARTS
from reporting.outbox import Entry, Fate, Outcome, Topic
from reporting.plans import Leaf, PlanKind
from reporting.settings import ElasticSettings
from reporting.stores.base import PutOutcome, RecordQuery
from reporting.stores.elastic import ElasticStore
from reporting.stores.memory import sum_by
from reporting.testing import DAY, MOMENT, make_plan, make_record
from reporting.verdict import Outcome as Says
from reporting.verdict import Verdict
from tests.contracts.conftest import METRICS, Elastic
from tests.servers.ports import free_port
from tests.servers.rest import call, remove_everything

elastic = pytest.mark.elasticsearch


@pytest.fixture(scope="module")
def cluster(elastic_url: str):
    found = Elastic(ElasticSettings(url=elastic_url, prefix=f"store-{secrets.token_hex(4)}"))
    with closing(connect(found.settings)) as client:
        setup(client, found.settings.prefix, METRICS)
    yield found
    remove_everything(elastic_url, found.settings.prefix)


@pytest.fixture
def store(cluster: Elastic):
    """An empty store."""
    cluster.empty()
    with cluster.open() as found:
        yield found


@pytest.fixture
def other(cluster: Elastic, store: ElasticStore):
    """A second object on the same indices."""
    with cluster.open() as found:
        yield found


def put(store, *records):
    with store.begin() as work:
        return [work.put_record(record) for record in records]


def entry(topic, document_id, version, body):
    return Entry(1, topic.value, document_id, version, body, MOMENT.isoformat())


class Sink:
    """The store's sink with something in its way: `before` is called with the entries, and may give outcomes."""

    def __init__(self, store, before):
        self._sink, self._before = store._sink, before
        store._sink = self

    def deliver(self, entries):
        return self._before(entries) or self._sink.deliver(entries)


@pytest.mark.slow
@elastic
def test_opening_takes_what_setup_made_and_says_what_to_do_without_it(elastic_url, elastic_prefix):
    settings = ElasticSettings(url=elastic_url, prefix=elastic_prefix)
    with pytest.raises(ConfigError, match="funnelgate records setup"):
        ElasticStore.open(settings)
    with closing(connect(settings)) as client:
        setup(client, elastic_prefix, ["seconds_per_item"])
    with ElasticStore.open(settings) as store:
        put(store, make_record(metrics={"seconds_per_item": 0.5, "other": 1.5}))
        stored = store.client.get(index=f"{elastic_prefix}-records-2026.11", id=make_record().key.document_id())
        assert stored["_source"]["metrics"] == {"seconds_per_item": 0.5}
        assert store.records(RecordQuery())[0].metrics == {"seconds_per_item": 0.5, "other": 1.5}


def test_a_cluster_that_is_not_there_is_one_line_and_exit_code_4():
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:\d+.*cannot be reached") as raised:
        ElasticStore.open(ElasticSettings(url=f"http://127.0.0.1:{free_port()}"))
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 4


@elastic
def test_a_prefix_without_any_index_reads_as_empty(elastic_url, elastic_prefix):
    settings = ElasticSettings(url=elastic_url, prefix=elastic_prefix)
    with ElasticStore(connect(settings), elastic_prefix) as store:
        assert store.records(RecordQuery()) == store.records(RecordQuery(as_of=MOMENT)) == []
        assert store.totals(RecordQuery(), ["task"]) == store.totals(RecordQuery(date_from=DAY, date_to=DAY), []) == []
        assert (store.plans(), store.verdicts("daily"), store.history(make_record().key)) == ([], [], [])
        assert (store.get_record(make_record().key), store.get_plan("daily")) == (None, None)
        assert (store.expected("daily"), store.revision(DAY), list(store.leaves(DAY))) == (set(), 0, [])
        assert store.delete_plan_records("daily") == 0


@elastic
def test_nothing_is_sent_before_the_block_ends(store, other):
    with store.begin() as work:
        work.put_record(make_record())
        work.put_plan(make_plan())
        work.expect("daily", [Leaf("hash", DAY)])
        assert other.get_record(make_record().key) is None
        assert other.get_plan("daily") is None
    assert other.get_record(make_record().key) == make_record()
    assert other.get_plan("daily") == make_plan()
    assert other.expected("daily") == {Leaf("hash", DAY)}


@elastic
def test_within_a_block_a_record_is_judged_by_what_was_put_before_it(store):
    first, second = make_record(attempt=1, input=1), make_record(attempt=2, input=2)
    assert put(store, second, first, first, second) == [
        PutOutcome.STORED,
        PutOutcome.OLDER,
        PutOutcome.REPEAT,
        PutOutcome.REPEAT,
    ]
    assert store.history(first.key) == [second, first]
    with pytest.raises(VersionConflict):
        put(store, make_record("hash", input=1), make_record("hash", input=2))
    assert store.records(RecordQuery()) == [second]


@elastic
def test_who_commits_meanwhile_with_other_content_is_met_at_the_end_of_the_block(store, other):
    def write():
        with store.begin() as work:
            assert work.put_record(make_record(input=1)) is PutOutcome.STORED
            put(other, make_record(input=2))

    with pytest.raises(VersionConflict, match=r"quality.*other content.*greater version"):
        write()
    assert store.get_record(make_record().key).input == 2
    assert [event.input for event in store.history(make_record().key)] == [2]


@elastic
def test_a_greater_version_that_came_meanwhile_stays(store, other):
    old, new = make_record(attempt=1, input=1), make_record(attempt=2, input=2)
    with store.begin() as work:
        work.put_record(old)
        put(other, new)
    assert store.get_record(old.key) == new
    assert store.history(old.key) == [new, old]


@elastic
def test_plans_are_written_last_and_a_failed_step_may_be_repeated(store):
    def write():
        with store.begin() as work:
            work.put_plan(make_plan(completed_at=MOMENT))
            work.expect("daily", [Leaf("quality", DAY)])
            work.put_record(make_record())

    refused = Sink(store, lambda entries: [Outcome(one, Fate.RETRY, "429 too busy") for one in entries])
    with pytest.raises(StoreError, match=r"2 of 2 entries.*429 too busy.*repeat the step is safe") as raised:
        write()
    assert not isinstance(raised.value, VersionConflict)
    assert store.get_plan("daily") is None
    store._sink = refused._sink
    for _ in range(2):
        write()
    assert store.get_plan("daily") == make_plan(completed_at=MOMENT)
    assert store.history(make_record().key) == [make_record()]
    assert store.expected("daily") == {Leaf("quality", DAY)}


@elastic
def test_a_server_that_goes_while_a_block_is_written_is_a_store_error_with_a_remedy(store):
    real = store.client._transport

    def write(transport):
        with store.begin() as work:
            work.put_record(make_record())
            store.client._transport = transport

    with closing(connect(ElasticSettings(url=f"http://127.0.0.1:{free_port()}"))) as gone:
        with pytest.raises(StoreError, match=r"repeat the step is safe") as raised:
            write(gone.transport)
        store.client._transport = real
    assert "\n" not in str(raised.value)
    put(store, make_record())
    assert store.records(RecordQuery()) == [make_record()]


@elastic
def test_each_change_of_a_plan_and_of_a_verdict_is_one_revision(store):
    both = (DAY, DAY + timedelta(days=1))
    for reason in ("a", "b", "c"):
        with store.begin() as work:
            work.put_plan(make_plan("x", dates=both, reason="overwritten within the block"))
            work.put_plan(make_plan("x", dates=both, reason=reason))
    with store.begin() as work:
        work.put_plan(make_plan("y"))
    assert store.get_plan("x").reason == "c"
    assert [store.revision(day) for day in (*both, both[1] + timedelta(days=1))] == [4, 3, 0]


@elastic
def test_a_change_that_lost_a_race_is_made_on_top_of_the_other(store, other):
    lost: list[object] = []

    def others_first(entries):
        if entries[0].topic == Topic.PLAN and len(lost) < 2:
            lost.append(entries)
            for reason in ("theirs", "theirs again"):
                with other.begin() as work:
                    work.put_plan(make_plan(reason=reason))

    Sink(store, others_first)
    with store.begin() as work:
        work.put_plan(make_plan(reason="ours"))
    assert len(lost) == 2
    assert store.get_plan("daily").reason == "ours"
    assert store.revision(DAY) == 5


@elastic
def test_a_race_lost_without_end_is_an_error(store):
    Sink(store, lambda entries: [Outcome(one, Fate.STALE) for one in entries])
    with pytest.raises(StoreError, match=r"verdict v1 was changed by others 5 times"), store.begin() as work:
        work.put_verdict(
            Verdict(verdict_id="v1", date=DAY, planid="p", outcome=Says.PASS, inputs={}, decided_at=MOMENT)
        )


@elastic
def test_a_gap_left_by_a_crash_or_a_hand_is_filled_by_the_next_put(store):
    record = make_record()
    put(store, record)
    events, records = (index_of(store.prefix, kind, DAY) for kind in (Kind.EVENTS, Kind.RECORDS))
    store.client.delete(index=events, id=event_id(record.key, record.version), refresh=True)
    assert store.history(record.key) == []
    assert put(store, record) == [PutOutcome.REPEAT]
    assert store.history(record.key) == [record]

    store.client.delete(index=records, id=record.key.document_id(), refresh=True)
    assert put(store, record) == [PutOutcome.STORED]
    assert store.get_record(record.key) == record
    assert store.history(record.key) == [record]


@elastic
def test_a_deletion_takes_what_a_shipper_wrote_a_moment_ago_and_what_a_hand_changed(store):
    shipped, touched = make_record(subinstance="1"), make_record(subinstance="2")
    put(store, touched)
    index, identifier = index_of(store.prefix, Kind.RECORDS, DAY), touched.key.document_id()
    source = store.client.get(index=index, id=identifier)["_source"]
    store.client.index(index=index, id=identifier, document=source | {"input": 99})
    body = shipped.model_dump_json()
    (outcome,) = store._sink.deliver([entry(Topic.RECORD, shipped.key.document_id(), shipped.version, body)])
    assert outcome.fate is Fate.DELIVERED
    assert store.delete_plan_records("daily") == 2
    assert store.records(RecordQuery()) == []
    assert store.get_record(touched.key) is None


@elastic
def test_a_record_booked_anew_while_its_plan_is_deleted_stays(store, other):
    put(store, make_record(subinstance="1"), make_record(subinstance="2"))

    def booked_anew(entries):
        if entries[0].topic == Topic.DELETE:
            put(other, make_record(subinstance="2", attempt=2))

    Sink(store, booked_anew)
    assert store.delete_plan_records("daily") == 1
    assert store.records(RecordQuery()) == [make_record(subinstance="2", attempt=2)]


@elastic
def test_sums_beyond_what_a_double_holds_are_exact_in_every_grouping(store):
    chance = random.Random(3)
    made = [
        make_record(
            task,
            date=DAY + timedelta(days=day),
            category=category,
            subinstance=f"{n}",
            input=chance.choice([chance.randrange(2**62), 2**53 - 1, 2**53 + 1, 1]),
            dropped={"blurred": chance.randrange(2)},
        )
        for task in ("hash", "quality")
        for day in (0, 30)
        for category in ("a", "b")
        for n in range(4)
    ]
    put(store, *made)
    for by in ([], ["category"], ["category", "date"], ["subinstance", "task"], KEY_PARTS):
        assert store.totals(RecordQuery(), by) == sum_by(made, by), by
    part = RecordQuery(tasks=("hash",), date_to=DAY, subinstances=("1", "2"))
    mine = [record for record in made if part.selects(record.key)]
    assert store.totals(part, ["category"]) == sum_by(mine, ["category"])


@elastic
def test_totals_by_what_is_no_part_of_the_key_are_refused(store):
    with pytest.raises(ValueError, match=r"state.*task, date, category, subinstance, planid"):
        store.totals(RecordQuery(), ["task", "state"])


@elastic
def test_a_query_may_name_more_plans_than_the_server_takes_in_one_clause(store):
    put(store, make_record(planid="mine"), make_record(planid="theirs"))
    many = (*(f"p{n}" for n in range(70_000)), "mine")
    assert store.records(RecordQuery(planids=many)) == [make_record(planid="mine")]
    assert [total.group for total in store.totals(RecordQuery(planids=many), ["planid"])] == [("mine",)]


@pytest.mark.slow
@elastic
def test_threads_that_share_a_store_lose_nothing(store):
    writers, attempts = 4, 5

    def write(writer):
        order = random.Random(writer).sample(range(1, attempts + 1), attempts)
        for number, attempt in enumerate(order):
            put(store, make_record(subinstance=f"w{writer}-{number}", input=number))
            put(store, make_record("hash", attempt=attempt, input=attempt))

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    own = store.records(RecordQuery(tasks=("quality",)))
    assert {(r.key.subinstance, r.input) for r in own} == {
        (f"w{w}-{n}", n) for w in range(writers) for n in range(attempts)
    }
    shared = make_record("hash").key
    assert store.get_record(shared).attempt == attempts
    assert sorted(event.attempt for event in store.history(shared)) == list(range(1, attempts + 1))


@elastic
def test_the_lines_of_the_lookup_index_follow_what_the_store_wrote(store, elastic_url):
    def lines():
        _, answer = call(elastic_url, "GET", f"/{store.prefix}-effective/_search?size=100")
        sources = [hit["_source"] for hit in answer["hits"]["hits"]]
        return {s["effective_key"]: (s["effective_planid"], s["provisional"]) for s in sources}

    key = f"quality|{DAY}|all|all"
    with store.begin() as work:
        work.put_plan(make_plan())
        work.put_record(make_record())
    assert lines() == {key: ("daily", True)}
    with store.begin() as work:
        work.put_plan(make_plan(completed_at=MOMENT))
        work.put_plan(make_plan("rerun", PlanKind.RERUN))
        work.put_record(make_record(planid="rerun"))
    assert lines() == {key: ("daily", False)}
    with store.begin() as work:
        work.put_plan(make_plan("rerun", PlanKind.RERUN, promoted_at=MOMENT))
    assert lines() == {key: ("rerun", False)}
