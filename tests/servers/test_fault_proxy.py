"""Each fault does to the client and to the real server what it says, and nothing stays behind."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from elastic_transport import ConnectionError as ClientConnectionError
from elastic_transport import ConnectionTimeout
from elasticsearch import ApiError, Elasticsearch
from elasticsearch.helpers import streaming_bulk

from tests.servers import faults
from tests.servers.fault_proxy import FaultProxy
from tests.servers.node import Node
from tests.servers.rest import call

pytestmark = pytest.mark.elasticsearch


@pytest.fixture
def index(elastic_url: str, elastic_prefix: str) -> str:
    name = f"{elastic_prefix}-docs"
    assert call(elastic_url, "PUT", f"/{name}")[0] == 200
    return name


@pytest.fixture
def proxy(elastic_url: str) -> Iterator[FaultProxy]:
    with FaultProxy(elastic_url) as one:
        yield one


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[Elasticsearch]:
    with Elasticsearch(proxy.url, max_retries=0, request_timeout=60) as one:
        yield one


def bulk(client: Elasticsearch, index: str, *ids: str) -> dict[str, Any]:
    lines: list[dict[str, Any]] = []
    for one in ids:
        lines += [{"create": {"_index": index, "_id": one}}, {"n": 1}]
    return dict(client.bulk(operations=lines))


def stored(elastic_url: str, index: str) -> set[str]:
    """What the server itself says it has."""
    assert call(elastic_url, "POST", f"/{index}/_refresh")[0] == 200
    found = call(elastic_url, "GET", f"/{index}/_search?size=10000&_source=false")[1]
    return {hit["_id"] for hit in found["hits"]["hits"]}


def test_without_a_fault_client_and_server_see_what_they_would_see_without_the_proxy(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str
) -> None:
    assert bulk(client, index, "a", "b")["errors"] is False
    client.indices.refresh(index=index)
    through = client.search(index=index, sort="_doc")["hits"]["hits"]
    assert through == call(elastic_url, "GET", f"/{index}/_search?sort=_doc")[1]["hits"]["hits"]
    assert client.indices.exists(index=index)  # HEAD: a length and no body
    assert not client.indices.exists(index=f"{index}-absent")
    assert proxy.requests["/_bulk"] == 1
    assert proxy.faults.total() == 0


def test_large_bodies_come_through_whole_both_ways(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str
) -> None:
    text = "0123456789abcdef" * 100_000
    client.index(index=index, id="large", document={"text": text})
    assert call(elastic_url, "GET", f"/{index}/_doc/large")[1]["_source"]["text"] == text
    assert client.get(index=index, id="large")["_source"]["text"] == text


def test_many_connections_at_once_get_each_its_own_answer(proxy: FaultProxy, client: Elasticsearch, index: str) -> None:
    def one(number: int) -> str:
        return str(bulk(client, index, f"d{number}")["items"][0]["create"]["_id"])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(80))) == [f"d{number}" for number in range(80)]


def test_a_refusing_proxy_is_down_for_every_path_and_comes_back_on_its_port(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str
) -> None:
    address = proxy.url
    assert client.ping()  # a connection that is kept alive
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        call(proxy.url, "GET", "/")
    with pytest.raises(ClientConnectionError):
        bulk(client, index, "a")
    assert stored(elastic_url, index) == set()
    proxy.pass_through()
    assert proxy.url == address
    assert bulk(client, index, "a")["errors"] is False


def test_a_dropped_request_is_an_error_and_nothing_is_written(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str
) -> None:
    proxy.drop_request()
    with pytest.raises(ClientConnectionError):
        bulk(client, index, "a")
    assert stored(elastic_url, index) == set()
    assert proxy.faults == {"drop_request": 1}


def test_a_dropped_response_is_an_error_though_the_work_is_done(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str
) -> None:
    proxy.drop_response()
    with pytest.raises(ClientConnectionError):
        bulk(client, index, "a")
    assert stored(elastic_url, index) == {"a"}
    assert proxy.faults == {"drop_response": 1}


def test_half_a_response_is_an_error_though_the_work_is_done(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str
) -> None:
    proxy.half_response()
    with pytest.raises(ClientConnectionError) as caught:
        bulk(client, index, "a")
    assert "IncompleteRead" in caught.value.message
    assert stored(elastic_url, index) == {"a"}


def test_half_a_response_has_the_head_and_half_the_body(proxy: FaultProxy, index: str) -> None:
    proxy.half_response()
    connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc)
    lines = '{"create":{"_id":"a"}}\n{"n":1}\n'
    try:
        connection.request("POST", f"/{index}/_bulk", lines, {"content-type": "application/x-ndjson"})
        response = connection.getresponse()
        assert response.status == 200
        with pytest.raises(http.client.IncompleteRead) as caught:
            response.read()
        assert caught.value.expected is not None
        assert 0 <= caught.value.expected - len(caught.value.partial) <= 1  # what lacks is as long as what came
    finally:
        connection.close()


@pytest.mark.parametrize("status", [413, 429, 503])
def test_a_whole_request_is_answered_without_the_server(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str, status: int
) -> None:
    proxy.answer(status)
    with pytest.raises(ApiError) as caught:
        bulk(client, index, "a")
    assert caught.value.meta.status == status
    assert caught.value.body["status"] == status
    assert stored(elastic_url, index) == set()  # a search: not of the faulty paths
    assert proxy.faults == {f"answer_{status}": 1}


def test_an_answer_may_have_any_body_and_headers(proxy: FaultProxy) -> None:
    proxy.answer(503, "<html>busy</html>", {"Content-Type": "text/html"})
    assert call(proxy.url, "POST", "/_bulk", "{}\n") == (503, "<html>busy</html>")


def test_refused_items_stand_in_their_places_and_the_others_are_written(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str
) -> None:
    ids = [f"d{number}" for number in range(200)]
    proxy.item_429(0.5, seed=7)
    answer = bulk(client, index, *ids)
    items = [item["create"] for item in answer["items"]]
    assert answer["errors"] is True
    assert [item["_id"] for item in items] == ids
    assert {item["_index"] for item in items} == {index}
    refused = {item["_id"] for item in items if item["status"] == 429}
    assert 50 < len(refused) < 150
    assert {item["error"]["type"] for item in items if item["status"] == 429} == {"es_rejected_execution_exception"}
    assert {item["status"] for item in items} == {201, 429}
    assert stored(elastic_url, index) == set(ids) - refused


def test_the_clients_own_bulk_loop_gets_every_item_in_by_trying_the_refused_again(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str
) -> None:
    ids = {f"d{number}" for number in range(100)}
    proxy.item_429(0.3, seed=1)
    actions = ({"_op_type": "create", "_index": index, "_id": one, "n": 1} for one in ids)
    # Where it raises on errors it does so before it tries the refused ones again.
    done = streaming_bulk(
        client, actions, chunk_size=20, max_retries=30, initial_backoff=0, max_backoff=0, raise_on_error=False
    )
    assert all(ok for ok, _ in done)
    assert stored(elastic_url, index) == ids
    assert proxy.faults["item_429"] > 0


def test_deletes_which_have_no_second_line_are_refused_and_done_like_others(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str
) -> None:
    ids = [f"d{number}" for number in range(40)]
    bulk(client, index, *ids)
    proxy.item_429(0.5, seed=3)
    answer = client.bulk(index=index, operations=[{"delete": {"_id": one}} for one in ids])  # the index in the path
    items = [item["delete"] for item in answer["items"]]
    assert [(item["_index"], item["_id"]) for item in items] == [(index, one) for one in ids]
    assert {item["status"] for item in items} == {200, 429}
    assert stored(elastic_url, index) == {item["_id"] for item in items if item["status"] == 429}


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_all_or_no_items_are_refused_at_the_ends_of_the_ratio(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str, ratio: float
) -> None:
    proxy.item_429(ratio, seed=5)
    answer = bulk(client, index, "a", "b")
    assert [item["create"]["status"] for item in answer["items"]] == [429 if ratio else 201] * 2
    assert stored(elastic_url, index) == (set() if ratio else {"a", "b"})
    assert proxy.faults.total() == (1 if ratio else 0)


def test_items_of_a_compressed_request_are_refused_too(elastic_url: str, proxy: FaultProxy, index: str) -> None:
    proxy.item_429(0.5, seed=2)
    lines = "".join(json.dumps({"create": {"_id": f"d{number}"}}) + "\n{}\n" for number in range(40))
    headers = {"content-encoding": "gzip", "accept-encoding": "gzip"}
    status, answer = call(proxy.url, "POST", f"/{index}/_bulk", gzip.compress(lines.encode()), headers=headers)
    refused = {item["create"]["_id"] for item in answer["items"] if item["create"]["status"] == 429}
    assert status == 200
    assert 0 < len(refused) < 40
    assert stored(elastic_url, index) == {f"d{number}" for number in range(40)} - refused


def test_a_slow_answer_is_too_late_for_a_short_timeout_though_the_work_is_done(
    elastic_url: str, proxy: FaultProxy, client: Elasticsearch, index: str
) -> None:
    proxy.slow(3600)  # leaving the fixture does not wait for it
    with pytest.raises(ConnectionTimeout):
        bulk(client.options(request_timeout=0.3), index, "a")
    proxy.await_faults(1, "slow")
    assert stored(elastic_url, index) == {"a"}


def test_a_slow_answer_is_the_servers_answer(proxy: FaultProxy, client: Elasticsearch, index: str) -> None:
    proxy.slow(0.05)
    assert bulk(client, index, "a")["items"][0]["create"]["status"] == 201


def test_only_matching_paths_have_faults_unless_all_have(elastic_url: str, proxy: FaultProxy) -> None:
    proxy.answer(503)
    assert call(proxy.url, "GET", "/")[0] == 200
    with FaultProxy(elastic_url, everything=True) as every:
        every.answer(503)
        assert call(every.url, "GET", "/")[0] == 503


def test_a_schedule_gets_number_and_path_of_each_matching_request(proxy: FaultProxy, index: str) -> None:
    asked: list[tuple[int, str]] = []

    def choose(number: int, path: str) -> faults.Fault:
        asked.append((number, path))
        return faults.PASS if number % 2 else faults.answer(429)

    proxy.schedule(choose)
    body = '{"index":{"_id":"a"}}\n{}\n'
    statuses = []
    for _ in range(4):
        statuses.append(call(proxy.url, "POST", f"/{index}/_bulk", body)[0])
        call(proxy.url, "GET", "/")
    assert statuses == [200, 429, 200, 429]
    assert asked == [(number, f"/{index}/_bulk") for number in (1, 2, 3, 4)]
    assert proxy.requests == {f"/{index}/_bulk": 4, "/": 4}
    assert proxy.faults == {"answer_429": 2}


def test_a_mixture_is_the_same_for_the_same_seed_and_has_all_its_faults() -> None:
    weights = {faults.PASS: 2.0, faults.DROP_REQUEST: 1.0, faults.DROP_RESPONSE: 1.0}

    def drawn(seed: int) -> list[str]:
        choose = faults.mixture(seed, weights)
        return [choose(number, "/_bulk").name for number in range(200)]

    assert drawn(4) == drawn(4)
    assert drawn(4) != drawn(5)
    assert set(drawn(4)) == {"pass", "drop_request", "drop_response"}


def test_a_server_that_is_down_is_down_through_the_proxy() -> None:
    with FaultProxy("http://127.0.0.1:1") as proxy, pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        call(proxy.url, "GET", "/")


@pytest.mark.slow
def test_a_client_of_the_proxy_finds_the_restarted_node_at_once() -> None:
    with Node.start() as node, FaultProxy(node.url) as proxy, Elasticsearch(proxy.url, max_retries=0) as client:
        assert client.ping()
        node.kill()
        with pytest.raises(ClientConnectionError):
            client.info()
        node.restart()
        assert client.info()["tagline"]


def test_no_thread_outlives_the_proxy_even_with_an_answer_held_back(elastic_url: str) -> None:
    before = set(threading.enumerate())
    failures: list[BaseException] = []

    def ask(url: str) -> None:
        try:
            call(url, "GET", "/")
        except (http.client.HTTPException, OSError) as error:
            failures.append(error)

    with FaultProxy(elastic_url, everything=True) as proxy:
        proxy.slow(3600)
        asking = threading.Thread(target=ask, args=(proxy.url,))
        asking.start()
        proxy.await_faults()
    asking.join()
    assert set(threading.enumerate()) == before
    assert len(failures) == 1


def test_an_error_in_a_schedule_is_raised_by_close_and_not_lost(elastic_url: str) -> None:
    def choose(number: int, path: str) -> faults.Fault:
        raise ValueError("no such fault")

    proxy = FaultProxy(elastic_url)
    proxy.schedule(choose)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        call(proxy.url, "POST", "/_bulk", "{}\n")
    with pytest.raises(ValueError, match="no such fault"):
        proxy.close()
