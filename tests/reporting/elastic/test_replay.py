"""Whatever was done to the cluster by hand is seen by a comparison, counted right, and put right by a replay."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from reporting.effective import EffectivePlans
from reporting.elastic import compare as comparing
from reporting.elastic import replay as replaying
from reporting.elastic import truth
from reporting.elastic.bulk import Answer, send
from reporting.elastic.client import connect
from reporting.elastic.names import Kind, event_id
from reporting.elastic.setup import setup
from reporting.elastic.truth import Span
from reporting.errors import StoreError
from reporting.outbox_sql import SqlOutbox
from reporting.plans import PlanKind
from reporting.settings import ElasticSettings
from reporting.stores.base import RecordQuery
from reporting.stores.elastic import ElasticStore
from reporting.testing import DAY, MOMENT, make_plan, make_record
from tests.reporting.elastic.damages import (
    DAMAGES,
    EVENTS,
    RECORD_DAMAGES,
    RECORDS,
    id_of,
    line_of,
    record_of,
    source_of,
)
from tests.reporting.elastic.shipped import DAYS, METRICS, Shipped, fill, opened, wrong
from tests.servers.rest import call, remove_everything

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]


@pytest.fixture(scope="module")
def client(elastic_url: str) -> Iterator[Elasticsearch]:
    with connect(ElasticSettings(url=elastic_url)) as one:
        yield one


@pytest.fixture(scope="module")
def prefix(client: Elasticsearch, elastic_url: str) -> Iterator[str]:
    name = f"replay-{secrets.token_hex(4)}"
    setup(client, name, METRICS)
    yield name
    remove_everything(elastic_url, name)


@pytest.fixture
def own(client: Elasticsearch, prefix: str, tmp_path: Path) -> Iterator[Shipped]:
    """An empty store and an empty cluster."""
    with opened(tmp_path) as store:
        shipped = Shipped(store, client, prefix)
        yield shipped
        shipped.empty()


@pytest.fixture
def ledger(own: Shipped) -> Shipped:
    """A shipped ledger of some days, with a record for each damage."""
    fill(own.store, seed=7)
    own.put(*(record_of(number) for number in range(len(DAMAGES))))
    own.ship()
    return own


def test_everything_done_by_hand_is_seen_counted_once_and_put_right_by_a_replay(ledger):
    assert wrong(ledger.compare()) == (0, 0, 0)
    for number, damage in enumerate(DAMAGES):
        damage.act(ledger, number)
    found = ledger.compare(examples=100)
    assert sorted((one.kind, one.what, one.fields) for one in found.examples) == sorted(
        (damage.kind, damage.what, damage.fields) for damage in DAMAGES
    )
    for kind in Kind:
        for what in comparing.WHATS:
            expected = sum((damage.kind, damage.what) == (kind, what) for damage in DAMAGES)
            assert getattr(found.kinds[kind], what) == expected
    done = ledger.replay()
    assert wrong(done) == wrong(found)
    assert (done.written, done.pruned, done.left) == (found.missing + found.different, 0, 0)
    assert wrong(ledger.compare()) == (0, 0, found.extra)
    assert ledger.replay(prune=True).pruned == found.extra
    assert wrong(ledger.compare()) == (0, 0, 0)


def test_examples_name_the_record_and_the_document(ledger):
    RECORD_DAMAGES[1].act(ledger, 1)
    (example,) = ledger.compare().examples
    assert example.model_dump() == {
        "kind": "records",
        "id": id_of(1),
        "key": "embed/2026-11-01/all/0001/daily-0",
        "what": "different",
        "fields": ("input",),
    }


def test_documents_copied_without_their_versions_are_different_since_older_records_could_overwrite_them(ledger):
    """What copying an index does: the same documents, counted from version 1."""
    before = {name: hit for name, hit in ledger.documents(Kind.RECORDS).items() if hit["_index"].endswith(RECORDS)}
    ledger.rest("DELETE", RECORDS)
    lines = [json.dumps(line) for name, hit in before.items() for line in ({"index": {"_id": name}}, hit["_source"])]
    ledger.rest("POST", f"{RECORDS}/_bulk", "\n".join(lines) + "\n")
    found = ledger.compare()
    assert wrong(found) == (0, len(before), 0)
    assert {example.fields for example in found.examples} == {("_version",)}
    assert ledger.replay().written == len(before)
    assert wrong(ledger.compare()) == (0, 0, 0)
    assert {name: hit["_version"] for name, hit in ledger.documents(Kind.RECORDS).items() if name in before} == {
        name: hit["_source"]["version"] for name, hit in before.items()
    }


def test_documents_of_the_release_that_did_not_write_versions_by_are_different_until_they_are_replayed(ledger):
    booked = ledger.documents(Kind.RECORDS)
    for kind in (Kind.RECORDS, Kind.EVENTS):
        for hit in ledger.documents(kind).values():
            older = {name: value for name, value in hit["_source"].items() if name != "versions_by"}
            by_version = f"?version_type=external_gte&version={hit['_version']}" if kind is Kind.RECORDS else ""
            index = hit["_index"].removeprefix(f"{ledger.prefix}-")
            ledger.rest("PUT", f"{index}/_doc/{hit['_id']}{by_version}", older)
    found = ledger.compare(examples=1000)
    assert {(one.kind, one.what, one.fields) for one in found.examples} == {
        ("records", "different", ("versions_by",)),
        ("events", "different", ("versions_by",)),
    }
    assert found.kinds["records"].different == len(booked)
    ledger.replay()
    assert wrong(ledger.compare()) == (0, 0, 0)
    assert ledger.documents(Kind.RECORDS).keys() == booked.keys()


def test_after_a_replay_older_attempts_stay_out_and_the_next_emit_gets_in(ledger, tmp_path):
    """Delivered from the outbox of another store, so that nothing but the cluster decides."""
    for number, damage in enumerate(RECORD_DAMAGES):
        damage.act(ledger, number)
    ledger.replay()
    numbers = range(len(RECORD_DAMAGES))
    for fields, gets_in in (({"attempt": 1, "emit": 7}, False), ({"emit": 1}, True)):
        with opened(tmp_path / str(gets_in)) as other:
            shipped = Shipped(other, ledger.client, ledger.prefix)
            shipped.put(*(record_of(number, input=20, **fields) for number in numbers))
            assert shipped.ship().delivered + shipped.ship().stale == len(numbers) or not gets_in
        stored = {source_of(ledger, number)["input"] for number in numbers}
        assert stored == ({20} if gets_in else {9})
    # The newer ones are now more than SQL knows: different, and their events and those of the older too much.
    assert wrong(ledger.compare()) == (0, len(numbers), 2 * len(numbers))
    done = ledger.replay(prune=True)
    assert (done.written, done.pruned) == (len(numbers), 2 * len(numbers))
    assert wrong(ledger.compare()) == (0, 0, 0)


@pytest.mark.parametrize("page", [2, 1000])
def test_an_empty_cluster_is_filled_and_has_every_keys_history_in_order(page, own, monkeypatch):
    monkeypatch.setattr(truth, "_PAGE", page)
    monkeypatch.setattr(comparing, "CHUNK", page)
    fill(own.store, seed=page, records=18 if page == 2 else 90)
    total = own.compare()
    assert wrong(total) == (total.compared - total.kinds["effective"].compared + _lines(own), 0, 0)
    seen: list[tuple[Kind, int, int | None]] = []
    done = own.replay(on_progress=lambda *step: seen.append(step))
    assert (done.written, done.left, done.refused, done.conflicts) == (total.missing, 0, 0, 0)
    assert {kind for kind, _, _ in seen} == set(Kind)
    assert all(count <= expected for _, count, expected in seen if expected is not None)
    assert wrong(own.compare()) == (0, 0, 0)
    cluster = ElasticStore(own.client, own.prefix, METRICS)
    for record in own.store.records(RecordQuery()):
        assert cluster.history(record.key) == own.store.history(record.key)


def _lines(shipped: Shipped) -> int:
    """How many leaves have a plan that counts."""
    days = {day for plan in shipped.store.plans() for day in plan.dates}
    return sum(
        EffectivePlans(shipped.store.plans(day, day)).of(leaf) is not None
        for day in days
        for leaf in shipped.store.leaves(day)
    )


def test_after_a_repaired_event_the_later_ones_of_its_key_follow_it_again(ledger):
    records = [make_record("embed", planid="daily-0", subinstance="0077", input=n, attempt=n) for n in (3, 1, 2, 4)]
    ledger.put(*records)
    ledger.ship()
    ledger.rest("DELETE", f"{EVENTS}/_doc/{event_id(records[1].key, records[1].version)}")
    assert ledger.replay().written == 3
    ledger.compare()  # refreshes
    cluster = ElasticStore(ledger.client, ledger.prefix, METRICS)
    assert [record.attempt for record in cluster.history(records[0].key)] == [3, 1, 2, 4]


def test_a_dry_run_changes_nothing_and_says_what_would_be_done(ledger):
    for number, damage in enumerate(DAMAGES):
        damage.act(ledger, number)
    before = {kind: ledger.documents(kind) for kind in Kind}
    done = ledger.replay(prune=True, dry_run=True)
    assert done.dry_run
    assert wrong(done) == tuple(sum(damage.what == what for damage in DAMAGES) for what in comparing.WHATS)
    assert (done.written, done.pruned) == (done.missing + done.different, done.extra)
    assert {kind: ledger.documents(kind) for kind in Kind} == before


def test_a_replay_of_some_days_leaves_the_others(ledger):
    other = make_record("embed", date=DAYS[2], planid="daily-2", subinstance="0001")
    ledger.put(other)
    ledger.ship()
    ledger.rest("DELETE", f"records-2026.12/_doc/{other.key.document_id()}")
    RECORD_DAMAGES[0].act(ledger, 0)
    assert wrong(ledger.compare(Span(None, DAYS[1]))) == (1, 0, 0)
    assert ledger.replay(Span(DAYS[0], DAYS[0])).written == 1
    assert wrong(ledger.compare(Span(DAYS[0], DAYS[1]))) == (0, 0, 0)
    assert wrong(ledger.compare(Span(DAYS[2]))) == (1, 0, 0)


def test_what_another_writer_changes_meanwhile_is_left_alone_and_counted(ledger, monkeypatch):
    RECORD_DAMAGES[1].act(ledger, 1)
    newer = record_of(1, input=20, attempt=3)
    state = {"done": False}

    def raced(client: Any, actions: Any, **options: Any) -> Any:
        if actions and not state["done"]:
            state["done"] = True
            ledger.put(newer)
            ledger.ship()
        return send(client, actions, **options)

    monkeypatch.setattr(replaying, "send", raced)
    done = ledger.replay()
    assert (done.written, done.left) == (0, 1)
    assert source_of(ledger, 1)["content_hash"] == newer.content_hash()
    assert wrong(ledger.compare()) == (0, 0, 0)


def test_what_the_shipper_wrote_since_sql_was_read_is_no_difference(own, monkeypatch):
    """The page was read before the newer record: taken at its word, a replay would take the record back."""
    own.put(record_of(1))
    own.ship()
    newer = record_of(1, input=20, attempt=3)
    look_up = comparing.look_up
    state = {"done": False}

    def late(client: Any, documents: Any) -> Any:
        if not state["done"] and documents[0].index.endswith(RECORDS):
            state["done"] = True
            own.put(newer)
            own.ship()
        return look_up(client, documents)

    monkeypatch.setattr(comparing, "look_up", late)
    assert wrong(own.compare()) == (0, 0, 0)
    assert state["done"]


def test_a_version_that_another_writer_booked_with_other_content_is_reported_and_not_hidden(own, tmp_path):
    mine, theirs = (make_record("embed", planid="p", input=items) for items in (1, 2))
    with opened(tmp_path / "other") as other:
        shipped = Shipped(other, own.client, own.prefix)
        shipped.put(theirs)
        shipped.ship()
    own.put(mine)
    assert own.ship().conflicts == 1
    found = own.compare()
    assert wrong(found) == (0, 2, 0)
    done = own.replay()
    assert (done.conflicts, done.written) == (1, 2)
    assert wrong(own.compare()) == (0, 0, 0)
    assert SqlOutbox(own.store).status().quarantined == 1  # still on record, until somebody revives it
    SqlOutbox(own.store).revive()
    assert own.ship().conflicts == 0


def test_an_extra_document_that_is_booked_before_it_is_deleted_stays(own, monkeypatch):
    """Found as extra, then booked by another process and shipped: the delete must not hit it."""
    own.put(record_of(1))
    own.ship()
    own.store.delete_plan_records("daily-0")
    assert wrong(own.compare()) == (0, 0, 1)
    knows = truth.SqlTruth.knows
    calls: list[Kind] = []

    def late(self: Any, kind: Kind, hits: Any) -> Any:
        answer = knows(self, kind, hits)
        calls.append(kind)
        if calls.count(Kind.RECORDS) == 1 and kind is Kind.RECORDS:
            own.put(record_of(1, input=20, attempt=3))
        return answer

    monkeypatch.setattr(truth.SqlTruth, "knows", late)
    assert own.replay(prune=True).pruned == 0
    assert calls.count(Kind.RECORDS) == 2


def test_a_write_block_stops_the_replay_with_its_reason_and_a_second_call_goes_on(ledger):
    RECORD_DAMAGES[1].act(ledger, 1)
    ledger.rest("PUT", f"{RECORDS}/_settings", {"index.blocks.write": True})
    try:
        with pytest.raises(StoreError, match=r"records-2026\.11: 403 cluster_block_exception.*run it again"):
            ledger.replay()
    finally:
        ledger.rest("PUT", f"{RECORDS}/_settings", {"index.blocks.write": None})
    assert ledger.replay().written == 1


def test_documents_that_the_cluster_never_takes_are_counted_with_the_reason(ledger):
    """A metric without a field: the mapping is strict."""
    done = replaying.replay(ledger.store, ledger.client, ledger.prefix, {*METRICS, "undeclared"}, Span(DAY, DAY))
    assert done.refused == done.different > 0
    assert done.written == 0
    assert "strict_dynamic_mapping_exception" in done.errors[0]


def test_a_cluster_that_is_busy_for_a_while_gets_everything_in_the_end(ledger, monkeypatch):
    RECORD_DAMAGES[1].act(ledger, 1)
    refusals = [429, 0, 503]

    def busy(client: Any, actions: Any, **options: Any) -> Any:
        if actions and refusals:
            return [Answer(refusals.pop(), reason="made busy")] * len(actions)
        return send(client, actions, **options)

    monkeypatch.setattr(replaying, "send", busy)
    monkeypatch.setattr(replaying, "backoff_seconds", lambda failures: 0.0)
    assert ledger.replay().written == 1
    refusals[:] = [429] * 99
    RECORD_DAMAGES[1].act(ledger, 2)
    with pytest.raises(StoreError, match=r"429 made busy.*run it again"):
        ledger.replay()


def test_a_repaired_lookup_line_still_follows_the_plans(ledger):
    """Changed by hand often, its `_version` is far beyond its revision; a later promotion must reach it."""
    for number in range(6):
        ledger.rest("POST", f"effective/_update/{line_of(1)}", {"doc": {"effective_planid": f"by-hand-{number}"}})
    ledger.replay()
    rerun = make_plan("again", PlanKind.RERUN, dates=(DAY,), promoted_at=MOMENT + timedelta(days=1))
    with ledger.store.begin() as work:
        work.put_plan(rerun)
    ledger.ship()
    assert ledger.rest("GET", f"effective/_doc/{line_of(1)}")["_source"]["effective_planid"] == "again"
    assert wrong(ledger.compare()) == (0, 0, 0)


def test_a_replay_works_beside_a_cluster_behind_an_alias(own):
    """An index moved behind an alias of its former name is the same index."""
    own.put(record_of(1))
    own.ship()
    source = own.rest("GET", f"{RECORDS}/_doc/{id_of(1)}")
    own.rest("DELETE", RECORDS)
    own.rest("PUT", f"{RECORDS}-v2", {"aliases": {f"{own.prefix}-{RECORDS}": {}}})
    own.rest(
        "PUT", f"{RECORDS}-v2/_doc/{id_of(1)}?version={record_of(1).version}&version_type=external", source["_source"]
    )
    assert wrong(own.compare()) == (0, 0, 0)
    status, _ = call(own.url, "DELETE", f"/{own.prefix}-{RECORDS}-v2")
    assert status == 200
