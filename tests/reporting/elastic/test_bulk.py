"""`send`: every way in which a bulk request fails becomes an answer to an item; nothing is lost, doubled, mixed up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from elastic_transport import TransportError
from elasticsearch import Elasticsearch
from elasticsearch.helpers import streaming_bulk

from reporting.elastic.bulk import CHUNK_ITEMS, CUT_OFF, ROUNDS, TOO_LARGE, Action, Answer, send, write_action
from reporting.elastic.documents import Document
from tests.reporting.elastic.delivery import Cluster
from tests.servers import faults
from tests.servers.node import Node
from tests.servers.relay import JSON_HEADERS
from tests.servers.rest import call

pytestmark = pytest.mark.elasticsearch

FIELDS = {"n": {"type": "long"}, "text": {"type": "keyword"}, "version": {"type": "long"}} | {
    name: {"type": "keyword"} for name in ("pipeline", "routing")
}


@dataclass(frozen=True)
class Place:
    """The part of an index that is one test's own."""

    index: str
    mark: str

    def document(self, name: str, version: int | None, source: dict[str, Any]) -> Document:
        return Document(self.index, f"{self.mark} {name}", version, source)


@pytest.fixture(scope="module")
def plain(cluster: Cluster) -> str:
    name = f"{cluster.prefix}-plain"
    cluster.change("PUT", f"/{name}", {"mappings": {"dynamic": "strict", "properties": FIELDS}})
    return name


@pytest.fixture
def place(plain: str, category: str) -> Place:
    return Place(plain, category)


def documents(place: Place, number: int, version: int | None = None) -> list[Action | dict[str, Any]]:
    return [write_action(place.document(f"d{n}", version, {"n": n})) for n in range(number)]


def stored(cluster: Cluster, place: Place) -> dict[str, dict[str, Any]]:
    cluster.change("POST", f"/{place.index}/_refresh")
    hits = cluster.change("GET", f"/{place.index}/_search?size=10000")["hits"]["hits"]
    assert len(hits) < 10000
    mine = [hit for hit in hits if hit["_id"].startswith(f"{place.mark} ")]
    return {hit["_id"].removeprefix(f"{place.mark} "): hit["_source"] for hit in mine}


def as_in_the_manual(place: Place, number: int) -> list[dict[str, Any]]:
    """As the helper's manual has them."""
    made = [place.document(f"d{n}", None, {"n": n}) for n in range(number)]
    return [{"_op_type": "create", "_index": one.index, "_id": one.id, "_source": one.source} for one in made]


def quick(client: Elasticsearch, actions: list[Action | dict[str, Any]]) -> list[Answer]:
    return send(client, actions, wait=lambda seconds: None)


def test_control_the_helper_by_itself_drops_what_is_refused_for_now(far_client, proxy, place):
    proxy.item_429(1.0, seed=1)
    done = list(streaming_bulk(far_client, as_in_the_manual(place, 3), raise_on_error=False))
    assert [ok for ok, _ in done] == [False] * 3
    assert proxy.requests["/_bulk"] == 1  # it has not tried again


def test_control_a_broken_connection_ends_the_helper_whatever_it_is_told(far_client, proxy, place):
    proxy.drop_request()
    with pytest.raises(TransportError):
        list(streaming_bulk(far_client, as_in_the_manual(place, 3), raise_on_error=False, raise_on_exception=False))


@pytest.mark.parametrize("name", ["pipeline", "version", "routing"])
def test_a_field_with_the_name_of_a_parameter_survives_and_in_a_flat_action_it_does_not(client, cluster, place, name):
    value: Any = 7 if name == "version" else "x"
    (answer,) = quick(client, [write_action(place.document("ours", 3, {name: value}))])
    assert answer.ok
    flat = {"_op_type": "index", "_index": place, "_id": "flat", name: value}
    (control,) = quick(client, [flat])
    assert stored(cluster, place)["ours"] == {name: value}
    assert not control.ok or name not in stored(cluster, place)["flat"]


@pytest.mark.slow
def test_partly_refused_requests_give_one_answer_an_item_in_order(far_client, proxy, cluster, place):
    actions = documents(place, 2 * CHUNK_ITEMS + 7, version=1)
    actions[3] = write_action(place.document("wrong type", None, {"n": "no number"}))
    actions[700] = write_action(place.document("unknown field", None, {"field": 1}))
    half = faults.item_429(0.4, seed=5)
    proxy.schedule(lambda number, path: half if number <= 5 else faults.PASS)
    answers = quick(far_client, actions)
    assert len(answers) == len(actions)
    assert {number for number, answer in enumerate(answers) if not answer.ok} == {3, 700}
    assert answers[3].error_type == "document_parsing_exception"
    assert answers[700].error_type == "strict_dynamic_mapping_exception"
    assert len(stored(cluster, place)) == len(actions) - 2
    assert proxy.faults["item_429"] >= 3


def test_what_is_refused_for_ever_is_answered_so_after_some_rounds_that_wait_longer_and_longer(
    far_client, proxy, place
):
    proxy.item_429(1.0, seed=2)
    waits: list[float] = []
    answers = send(far_client, documents(place, 5), wait=waits.append)
    assert [answer.status for answer in answers] == [429] * 5
    assert all(answer.not_now and not answer.operator_must_act for answer in answers)
    assert proxy.requests["/_bulk"] == ROUNDS
    assert len(waits) == ROUNDS - 1
    assert 0 < waits[0] < waits[-1]


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_whole_request_that_is_refused_for_now_is_sent_again(far_client, proxy, cluster, place, status):
    refusal = faults.answer(status)
    proxy.schedule(lambda number, path: refusal if number == 1 else faults.PASS)
    assert all(answer.ok for answer in quick(far_client, documents(place, 5)))
    assert len(stored(cluster, place)) == 5


@pytest.mark.parametrize(
    "fault", [faults.DROP_REQUEST, faults.DROP_RESPONSE, faults.HALF_RESPONSE], ids=lambda fault: fault.name
)
def test_a_connection_that_breaks_in_the_middle_leaves_the_rest_unanswered_and_a_repeat_doubles_nothing(
    far_client, proxy, cluster, place, fault
):
    actions = documents(place, CHUNK_ITEMS + 10)
    proxy.schedule(lambda number, path: fault if number == 2 else faults.PASS)
    answers = quick(far_client, actions)
    assert all(answer.ok for answer in answers[:CHUNK_ITEMS])
    assert {answer.status for answer in answers[CHUNK_ITEMS:]} == {CUT_OFF}
    assert all(answer.not_now and not answer.operator_must_act for answer in answers[CHUNK_ITEMS:])
    proxy.pass_through()
    again = quick(far_client, actions)
    assert {answer.status for answer in again} <= {201, 409}
    assert stored(cluster, place) == {f"d{n}": {"n": n} for n in range(len(actions))}


HTML = "<html>maintenance</html>"
PRODUCT = {"X-Elastic-Product": "Elasticsearch"}


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, HTML, {"Content-Type": "text/html"}),
        (200, HTML, {"Content-Type": "text/html", **PRODUCT}),
        (200, HTML, dict(JSON_HEADERS)),
        (200, "{}", dict(JSON_HEADERS)),
        (200, "{}", {"Content-Type": "application/json"}),
        (200, '{"items": []}', dict(JSON_HEADERS)),
        (200, '{"items": [{}]}', dict(JSON_HEADERS)),
        (200, '{"items": "none"}', dict(JSON_HEADERS)),
        (200, "[]", dict(JSON_HEADERS)),
        (200, "", dict(JSON_HEADERS)),
        (204, "", {}),
    ],
)
def test_an_answer_that_is_none_is_no_success(far_client, proxy, cluster, place, status, body, headers):
    proxy.answer(status, body, headers)
    answers = quick(far_client, documents(place, 3))
    assert [answer.ok for answer in answers] == [False] * 3
    assert all(answer.not_now and answer.text() for answer in answers)
    assert stored(cluster, place) == {}


@pytest.mark.parametrize("missing", range(3))
def test_an_answer_that_lacks_an_item_is_not_taken_for_that_of_another_item(far_client, proxy, place, missing):
    items = [{"index": {"_index": place.index, "_id": f"{place.mark} d{n}", "status": 201}} for n in range(3)]
    del items[missing]
    proxy.answer(200, json.dumps({"items": items}), JSON_HEADERS)
    answers = quick(far_client, documents(place, 3, version=1))
    assert [answer.ok for answer in answers] == [n < missing for n in range(3)]
    assert all(answer.not_now for answer in answers[missing:])


@pytest.mark.parametrize(
    ("status", "body"),
    [(302, ""), (400, '{"error": {"type": "media_type_header_exception", "reason": "x"}}'), (404, HTML), (405, "no")],
)
def test_a_whole_request_that_something_before_the_cluster_refuses_blames_no_document(
    far_client, proxy, place, status, body
):
    proxy.answer(status, body, {"Content-Type": "application/json" if body.startswith("{") else "text/plain"})
    answers = quick(far_client, documents(place, 3))
    assert all(answer.operator_must_act and "whole request" in answer.text() for answer in answers)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_for_an_operator(far_client, proxy, place, status):
    error = {"type": "security_exception", "reason": "action is unauthorized for API key id [x]"}
    proxy.answer(status, json.dumps({"error": error, "status": status}))
    answers = quick(far_client, documents(place, 2))
    assert all(answer.operator_must_act and "the API key may not do this" in answer.text() for answer in answers)
    assert proxy.requests["/_bulk"] == 1


def test_a_request_that_is_too_large_goes_item_by_item(far_client, proxy, cluster, place):
    too_large = faults.answer(TOO_LARGE)
    proxy.schedule(lambda number, path: too_large if number in (1, 4) else faults.PASS)
    answers = quick(far_client, documents(place, 5))
    assert [answer.status for answer in answers] == [201, 201, TOO_LARGE, 201, 201]
    assert not answers[2].not_now
    assert not answers[2].operator_must_act
    assert set(stored(cluster, place)) == {"d0", "d1", "d3", "d4"}


def test_a_connection_that_breaks_while_items_go_one_by_one_is_not_tried_for_each(far_client, proxy, place):
    too_large = faults.answer(TOO_LARGE)
    proxy.schedule(lambda number, path: too_large if number == 1 else faults.DROP_REQUEST)
    answers = quick(far_client, documents(place, 50))
    assert {answer.status for answer in answers} == {CUT_OFF}
    assert proxy.requests["/_bulk"] == 2


def test_an_answer_that_comes_too_late_is_none(cluster, proxy, place):
    proxy.slow(60)
    with cluster.client(proxy.url, seconds=0.5) as client:
        answers = quick(client, documents(place, 2))
    assert [(answer.status, answer.error_type) for answer in answers] == [(CUT_OFF, "ConnectionTimeout")] * 2


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_repeating_until_all_is_done_stores_each_document_once(
    far_client, proxy, cluster, place, seed
):
    storm: dict[faults.Fault, float] = {
        faults.PASS: 3,
        faults.DROP_REQUEST: 1,
        faults.DROP_RESPONSE: 1,
        faults.HALF_RESPONSE: 1,
    }
    storm |= {faults.answer(503): 1, faults.answer(TOO_LARGE): 0.2, faults.item_429(0.3, seed): 3}
    proxy.schedule(faults.mixture(seed, storm))
    left = documents(place, 60)
    for _ in range(200):
        answers = quick(far_client, left)
        left = [action for action, a in zip(left, answers, strict=True) if not a.ok and a.status != 409]
        if not left:
            break
    assert left == []
    assert stored(cluster, place) == {f"d{n}": {"n": n} for n in range(60)}


def test_nothing_to_send_is_no_request(far_client, proxy):
    assert send(far_client, []) == []
    assert proxy.requests.total() == 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(201), "ok"),
        (Answer(429, "cluster_block_exception", "TOO_MANY_REQUESTS/12"), "not now"),
        (Answer(503, "cluster_block_exception", "SERVICE_UNAVAILABLE/1/state not recovered"), "not now"),
        (Answer(503, "unavailable_shards_exception"), "not now"),
        (Answer(CUT_OFF), "not now"),
        (Answer(403, "cluster_block_exception", "FORBIDDEN/8"), "operator"),
        (Answer(400, "index_closed_exception"), "operator"),
        (Answer(400, "invalid_index_name_exception"), "operator"),
        (Answer(404, "index_not_found_exception"), "operator"),
        (Answer(400, "validation_exception", "this action would add [2] shards"), "operator"),
        (Answer(400, "anything", whole=True), "operator"),
        (Answer(TOO_LARGE, whole=True), "poison"),
        (Answer(400, "document_parsing_exception"), "poison"),
        (Answer(400, "strict_dynamic_mapping_exception"), "poison"),
    ],
)
def test_each_answer_is_of_one_kind(answer, expected):
    kinds = {"ok": answer.ok, "not now": answer.not_now, "operator": answer.operator_must_act}
    assert [kind for kind, holds in kinds.items() if holds] == ([] if expected == "poison" else [expected])


@pytest.fixture
def narrow() -> Iterator[Node]:
    with Node.start(settings=("thread_pool.write.size=1", "thread_pool.write.queue_size=1")) as node:
        yield node


@pytest.mark.slow
def test_a_node_with_a_full_queue_gets_everything_in_the_end(narrow):
    call(narrow.url, "PUT", "/docs", {"settings": {"number_of_replicas": 0, "number_of_shards": 4}})
    refused = 0

    def write(writer: int) -> int:
        with Elasticsearch(narrow.url, max_retries=0, request_timeout=60) as client:
            left = [write_action(Document("docs", f"{writer}-{n}", 1, {"n": n})) for n in range(300)]
            seen = 0
            for _ in range(200):
                answers = send(client, left)
                seen += sum(answer.status == 429 for answer in answers)
                assert all(answer.ok or answer.not_now for answer in answers)
                left = [action for action, answer in zip(left, answers, strict=True) if not answer.ok]
                if not left:
                    break
            assert left == []
            return seen

    with ThreadPoolExecutor(16) as pool:
        refused = sum(pool.map(write, range(16)))
    call(narrow.url, "POST", "/docs/_refresh")
    assert call(narrow.url, "GET", "/docs/_count")[1]["count"] == 16 * 300
    rejected = call(narrow.url, "GET", "/_nodes/stats/thread_pool")[1]["nodes"]
    assert sum(one["thread_pool"]["write"]["rejected"] for one in rejected.values()) > 0, refused


@pytest.mark.slow
def test_a_node_that_hangs_and_goes_on_has_each_document_once(tmp_path):
    with Node.start() as node:
        actions = [write_action(Document("docs", f"d{n}", None, {"n": n})) for n in range(20)]
        with Elasticsearch(node.url, max_retries=0, request_timeout=60) as client:
            assert all(answer.ok for answer in send(client, actions[:10]))
        node.hang()
        with Elasticsearch(node.url, max_retries=0, request_timeout=1) as client:
            assert {answer.status for answer in send(client, actions)} == {CUT_OFF}
            node.resume()
        with Elasticsearch(node.url, max_retries=0, request_timeout=60) as client:
            assert {answer.status for answer in send(client, actions)} <= {201, 409}
        call(node.url, "POST", "/docs/_refresh")
        assert call(node.url, "GET", "/docs/_count")[1]["count"] == 20
