"""What shipping costs against the client's bare bulk helper, and counting against the bare aggregation request."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import streaming_bulk
from pytest_benchmark.fixture import BenchmarkFixture

from reporting.effective import leaf_of
from reporting.elastic.client import connect
from reporting.elastic.documents import Document, event_document, record_document, record_source
from reporting.elastic.names import Kind, index_of, pattern_of
from reporting.elastic.setup import setup
from reporting.elastic.sink import ElasticSink
from reporting.key import RunKey
from reporting.outbox_sql import SqlOutbox
from reporting.plans import Leaf
from reporting.record import TaskRecord
from reporting.recorder import Recorder
from reporting.settings import ElasticSettings
from reporting.shipper import Did, Shipper, ShipperThread
from reporting.stores import open_store
from reporting.stores.base import RecordQuery
from reporting.stores.elastic import ElasticStore
from reporting.stores.sql import SqlStore
from reporting.testing import DAY, make_plan, make_record

pytestmark = [pytest.mark.elasticsearch, pytest.mark.benchmark(group="elasticsearch")]
SHIPPED = 10_000
COUNTED = 1_000_000
CALLS = 400
ROUNDS = 3
_COUNTS = ("input", "output", "produced", "dropped_total", "failed_total")


@pytest.fixture
def client(elastic_url: str) -> Iterator[Elasticsearch]:
    """A client as the shipper has it."""
    with connect(ElasticSettings(url=elastic_url, timeout_seconds=300)) as connected:
        yield connected


def _records(count: int) -> list[TaskRecord]:
    return [
        make_record(
            subinstance=f"{number:06d}",
            input=number + 3,
            dropped={"blurred": 2, "too_small": 1},
            versions={"model": "m1", "code": "0123456789ab"},
            metrics={"seconds_per_item": 0.25},
        )
        for number in range(count)
    ]


def _booked(store: SqlStore, records: list[TaskRecord]) -> None:
    """A plan, its manifest and its records, all in the outbox."""
    with store.begin() as work:
        work.put_plan(make_plan())
        work.expect("daily", [leaf_of(record.key) for record in records])
    for start in range(0, len(records), 1000):
        with store.begin() as work:
            for record in records[start : start + 1000]:
                work.put_record(record)


def _shipped_documents(prefix: str, records: list[TaskRecord]) -> list[Document]:
    """What the shipper sends for the records: the manifest and its lines are there before."""
    documents = []
    for record in records:
        put = record_document(prefix, record)
        documents += [event_document(prefix, record, put.source), put]
    return documents


def _bare_bulk(client: Elasticsearch, documents: list[Document]) -> None:
    """The rival: the bulk helper as its manual shows it, over documents that are ready in memory."""
    actions = (
        {
            "_op_type": "create" if document.version is None else "index",
            "_index": document.index,
            "_id": document.id,
            "_source": document.source,
        }
        | ({} if document.version is None else {"version": document.version, "version_type": "external_gte"})
        for document in documents
    )
    for done, item in streaming_bulk(client, actions, chunk_size=500, max_retries=5):
        assert done, item


def test_shipping_against_bare_streaming_bulk(
    benchmark: BenchmarkFixture, client: Elasticsearch, elastic_prefix: str, tmp_path: Path
) -> None:
    """Records a second from outbox to acknowledged and settled, against the same documents by the bare helper.

    The rounds alternate and the best of each counts: the server and both of them share the same cores.
    """
    ours, bare = [], []
    for number in range(ROUNDS):
        prefix, other = f"{elastic_prefix}-a{number}", f"{elastic_prefix}-b{number}"
        for name in (prefix, other):
            setup(client, name, frozenset(), [DAY])
        records = _records(SHIPPED)
        with open_store(f"sqlite:///{tmp_path}/{number}.db") as store:
            _booked(store, records)
            shipper = Shipper(SqlOutbox(store), partial(ElasticSink, client, prefix, frozenset(), store))
            _ship_until_records(shipper, store)
            _settle_memory()
            started = time.perf_counter()
            last = benchmark.pedantic(shipper.drain, rounds=1, iterations=1) if number == 0 else shipper.drain()
            ours.append(time.perf_counter() - started)
            assert last.did is Did.IDLE
        documents = _shipped_documents(other, records)
        _settle_memory()
        started = time.perf_counter()
        _bare_bulk(client, documents)
        bare.append(time.perf_counter() - started)
        client.indices.refresh(index=f"{prefix}-*")
        assert client.count(index=pattern_of(prefix, Kind.RECORDS))["count"] == SHIPPED
    benchmark.extra_info |= {
        "of_bare_throughput": round(min(bare) / min(ours), 2),
        "records_per_second": round(SHIPPED / min(ours)),
    }


def _settle_memory() -> None:
    """Take what the measurement itself keeps alive out of the garbage collector's sight, for both sides."""
    gc.collect()
    gc.freeze()


def _ship_until_records(shipper: Shipper, store: SqlStore) -> None:
    """Deliver the plan and its manifest before the clock starts: in a day's life they come once, records all day."""
    outbox = SqlOutbox(store)
    batch = [entry for entry in outbox.peek(SHIPPED, 2**30) if entry.topic != "record"]
    sink = shipper.sink()
    outbox.settle(sink.deliver(batch))


def test_grouped_counts_over_a_million_records_against_the_bare_request(
    benchmark: BenchmarkFixture, client: Elasticsearch, elastic_prefix: str
) -> None:
    """`totals` by (task, date) and by (date, category, subinstance), against the aggregation request alone."""
    setup(client, elastic_prefix, frozenset(), [DAY])
    index = index_of(elastic_prefix, Kind.RECORDS, DAY)
    _fill(client, index)
    store = ElasticStore(client, elastic_prefix)

    def few() -> int:
        return len(store.totals(RecordQuery(), ("task", "date")))

    def many() -> int:
        return len(store.totals(RecordQuery(), ("date", "category", "subinstance")))

    def forget() -> None:
        client.indices.clear_cache(index=index, request=True)

    assert few() == 10 * 20
    assert many() == 20 * 50 * 100
    benchmark.pedantic(few, rounds=1, iterations=1)
    plain_few = lambda: _plain(client, index, ("date", "task"))  # noqa: E731 - a name for the table below
    plain_many = lambda: _plain(client, index, ("date", "category", "subinstance"))  # noqa: E731
    benchmark.extra_info |= {
        "times_bare_200_groups": _ratio(forget, few, plain_few),
        "times_bare_100000_groups": _ratio(forget, many, plain_many),
    }


def _ratio(before: Callable[[], object], ours: Callable[[], object], bare: Callable[[], object]) -> float:
    """Best of alternating rounds; `before` each call, so that no side gets an answer from the server's cache."""
    best = {ours: float("inf"), bare: float("inf")}
    for _ in range(ROUNDS):
        for call in (ours, bare):
            before()
            _settle_memory()
            started = time.perf_counter()
            call()
            best[call] = min(best[call], time.perf_counter() - started)
    return round(best[ours] / best[bare], 2)


def _fill(client: Elasticsearch, index: str) -> None:
    """10 tasks x 20 days of one month x 50 categories x 100 packages."""
    template = record_source(make_record(input=7, dropped={"blurred": 2}))

    def actions() -> Iterator[dict[str, object]]:
        for number in range(COUNTED):
            day = DAY + timedelta(days=number // 50_000)
            place = {
                "task": f"task-{number % 10}",
                "date": day.isoformat(),
                "category": f"category-{number // 10 % 50:02d}",
                "subinstance": f"{number // 500 % 100:04d}",
            }
            yield {"_op_type": "index", "_index": index, "_source": template | place}

    for done, item in streaming_bulk(client, actions(), chunk_size=5000):
        assert done, item
    client.indices.refresh(index=index)
    client.indices.forcemerge(index=index, max_num_segments=1)


def _plain(client: Elasticsearch, index: str, fields: tuple[str, ...]) -> int:
    """The rival: composite pages with the five sums, and nothing around them."""
    composite: dict[str, object] = {
        "size": 10_000,
        "sources": [{field: {"terms": {"field": field}}} for field in fields],
    }
    sums = {name: {"sum": {"field": name}} for name in _COUNTS}
    groups = 0
    while True:
        answer = client.search(
            index=index,
            size=0,
            track_total_hits=False,
            aggs={"g": {"composite": composite, "aggs": sums}},
        )
        page = answer["aggregations"]["g"]
        groups += len(page["buckets"])
        if len(page["buckets"]) < 10_000:
            return groups
        composite["after"] = page["after_key"]


def test_recorder_call_while_the_shipper_runs(
    benchmark: BenchmarkFixture, client: Elasticsearch, elastic_prefix: str, tmp_path: Path
) -> None:
    """Wall time of one `with recorder.task(key)`: alone, and beside a shipper thread that drains a backlog."""
    setup(client, elastic_prefix, frozenset(), [DAY])
    with open_store(f"sqlite:///{tmp_path}/shipping.db") as store:
        recorder = Recorder(store)
        _calls(recorder, "warm")
        alone = benchmark.pedantic(_calls, (recorder, "alone"), rounds=1, iterations=1)
        _booked(store, _records(SHIPPED))
        thread = ShipperThread(SqlOutbox(store), lambda: ElasticSink(client, elastic_prefix, frozenset(), store))
        before = threading.active_count()
        thread.start()
        beside = _calls(recorder, "beside")
        assert SqlOutbox(store).status().pending > 0, "the backlog was gone before the calls were"
        thread.stop()
        assert threading.active_count() <= before + 1
    benchmark.extra_info |= {
        "ms_alone": round(1000 * alone, 2),
        "ms_beside_the_shipper": round(1000 * beside, 2),
        "times": round(beside / alone, 1),
    }


def _calls(recorder: Recorder, name: str) -> float:
    """Return the mean wall time of a call in seconds."""
    started = time.perf_counter()
    for number in range(CALLS):
        leaf = Leaf("quality", DAY, "all", f"{name}-{number:05d}")
        with recorder.task(RunKey(**leaf._asdict(), planid="daily")) as books:
            books.take(["a", "b"])
            books.keep(["a", "b"])
    return (time.perf_counter() - started) / CALLS
