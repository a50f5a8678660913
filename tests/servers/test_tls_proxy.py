"""The TLS proxy lets in who has the key and trusts the CA, by file or by fingerprint, and nobody else."""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from elastic_transport import TlsError
from elasticsearch import AuthenticationException, AuthorizationException, Elasticsearch

from tests.servers.rest import call
from tests.servers.tls_proxy import TlsProxy

pytestmark = pytest.mark.elasticsearch
KEY = base64.b64encode(b"id:a-key-for-tests").decode()


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def proxy(elastic_url: str, ca: trustme.CA) -> Iterator[TlsProxy]:
    with TlsProxy(elastic_url, KEY, ca) as one:
        yield one


def connect(proxy: TlsProxy, **settings: Any) -> Elasticsearch:
    return Elasticsearch(proxy.url, **{"max_retries": 0, "api_key": KEY, "ca_certs": str(proxy.ca_pem), **settings})


def test_the_key_and_the_cas_file_open_the_node(proxy: TlsProxy) -> None:
    with connect(proxy) as client:
        assert client.info()["version"]["number"] == "9.5.3"


def test_the_cas_fingerprint_is_enough(proxy: TlsProxy) -> None:
    with connect(proxy, ca_certs=None, ssl_assert_fingerprint=proxy.ca_fingerprint) as client:
        assert client.info()["version"]["number"] == "9.5.3"


def test_another_cas_fingerprint_is_refused(proxy: TlsProxy) -> None:
    with connect(proxy, ca_certs=None, ssl_assert_fingerprint="0" * 64) as client, pytest.raises(TlsError) as caught:
        client.info()
    assert "Fingerprints did not match" in caught.value.message  # str() of it says no more than "TLS error"


def test_a_client_that_does_not_know_the_ca_is_refused(proxy: TlsProxy) -> None:
    with connect(proxy, ca_certs=None) as client, pytest.raises(TlsError) as caught:
        client.info()
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.message


def test_a_certificate_for_another_host_is_refused(elastic_url: str, ca: trustme.CA) -> None:
    with (
        TlsProxy(elastic_url, KEY, ca, hosts=("elsewhere.example",)) as proxy,
        connect(proxy) as client,
        pytest.raises(TlsError) as caught,
    ):
        client.info()
    assert "127.0.0.1" in caught.value.message
    assert "elsewhere.example" in caught.value.message


@pytest.mark.parametrize("wrong", [{"api_key": base64.b64encode(b"id:other").decode()}, {"api_key": None}])
def test_without_the_key_the_client_is_not_authenticated(proxy: TlsProxy, wrong: dict[str, Any]) -> None:
    with connect(proxy, **wrong) as client, pytest.raises(AuthenticationException) as caught:
        client.info()
    assert caught.value.body["error"]["type"] == "security_exception"
    assert "ApiKey" in caught.value.meta.headers["www-authenticate"]
    assert KEY not in str(caught.value)


def test_a_forbidden_request_is_refused_and_others_pass(elastic_url: str, ca: trustme.CA) -> None:
    asked: list[tuple[str, str]] = []

    def forbid(method: str, path: str) -> bool:
        asked.append((method, path))
        return method == "DELETE"

    with TlsProxy(elastic_url, KEY, ca, forbid=forbid) as proxy, connect(proxy) as client:
        client.info()
        with pytest.raises(AuthorizationException) as caught:
            client.indices.delete(index="anything", ignore_unavailable=True)
    assert caught.value.body["error"]["type"] == "security_exception"
    assert asked == [("GET", "/"), ("DELETE", "/anything")]


def test_plain_http_is_not_understood(proxy: TlsProxy) -> None:
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        call(proxy.url, "GET", "/")


def test_a_tls_connection_of_the_standard_library_that_trusts_only_the_ca_opens_it(proxy: TlsProxy) -> None:
    context = ssl.create_default_context(cafile=str(proxy.ca_pem))
    parts = urlsplit(proxy.url)
    connection = http.client.HTTPSConnection("localhost", parts.port, context=context, timeout=60)
    try:
        connection.request("GET", "/", headers={"authorization": f"ApiKey {KEY}"})
        assert connection.getresponse().read()
    finally:
        connection.close()


def test_its_files_go_with_it(elastic_url: str, ca: trustme.CA) -> None:
    with TlsProxy(elastic_url, KEY, ca) as proxy:
        assert proxy.ca_pem.read_bytes() == ca.cert_pem.bytes()
    assert not proxy.ca_pem.parent.exists()
