"""What connect refuses before a byte is sent, and what each thing that can be wrong with a cluster is called."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from reporting.elastic.client import check, cluster_errors, connect, url_of
from reporting.errors import ConfigError, StoreError
from reporting.settings import ElasticSettings
from tests.reporting.elastic.refusing import KEY, SECRET, refusal
from tests.servers.ports import free_port
from tests.servers.rest import call
from tests.servers.tls_proxy import TlsProxy


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def proxy(elastic_url: str, ca: trustme.CA) -> Iterator[TlsProxy]:
    with TlsProxy(elastic_url, KEY, ca) as one:
        yield one


def secured(proxy: TlsProxy, **changes: Any) -> ElasticSettings:
    fields: dict[str, Any] = {"url": proxy.url, "api_key": SECRET, "ca_certs": proxy.ca_pem}
    return ElasticSettings(**fields | changes)


def answering(headers: dict[str, str], status: int, body: bytes) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler


@pytest.fixture
def web_server() -> Iterator[Callable[..., str]]:
    """Start a server that gives one answer, and return its address."""
    running = []

    def start(body: bytes, *, status: int = 200, content_type: str = "text/html") -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), answering({"content-type": content_type}, status, body))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


# What connect refuses without asking anybody.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": None}, "elastic.url is not set; write it into funnelgate.yaml or FUNNELGATE_ELASTIC__URL"),
        ({"url": "es.example:9200"}, "must begin with https:// (or http://)"),
        ({"url": "ftp://es.example"}, "must begin with https:// (or http://)"),
        ({"url": "https://:9200"}, "must begin with https:// (or http://) and a host"),
        ({"url": "https://host:port"}, "is not a URL"),
        ({"url": "https://[::1"}, "is not a URL"),
        ({"url": "https://host/?q=1"}, "must not be followed by ? or #"),
        ({"url": "http://es.example:9200", "api_key": SECRET}, "would send the API key unencrypted"),
        ({"url": "http://127.0.0.1.example:9200", "api_key": SECRET}, "would send the API key unencrypted"),
        ({"api_key": SecretStr("")}, "FUNNELGATE_ELASTIC__API_KEY: is empty"),
        ({"api_key": SecretStr("id:secret")}, "take the field `encoded` of what created it"),
        ({"api_key": SecretStr(f"{KEY}\n{KEY}")}, "FUNNELGATE_ELASTIC__API_KEY: has several lines"),
        ({"ca_certs": Path("/nowhere/ca.pem")}, "/nowhere/ca.pem cannot be read: No such file or directory"),
        ({"ca_fingerprint": "ab:cd"}, "has 4 characters; expected 64 hexadecimal digits"),
        ({"ca_fingerprint": "z" * 64}, "expected 64 hexadecimal digits"),
        ({"ca_fingerprint": "0" * 64, "ca_certs": Path("ca.pem")}, "both set; keep one"),
        ({"url": "http://localhost:9200", "ca_fingerprint": "0" * 64}, "has no TLS, but an authority is set"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_sent(changes: dict[str, Any], message: str):
    error = refusal(ElasticSettings(**{"url": "https://es.example:9200"} | changes))
    assert isinstance(error, ConfigError)
    assert message in str(error)
    assert "secret" not in str(error)


def test_a_password_in_the_url_is_refused_and_not_repeated():
    error = refusal(ElasticSettings(url="https://elastic:hunter2@es.example:9200"))
    assert "use an API key" in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("content", ["", "\n", f"{KEY}\n{KEY}\n", "id:the-secret-of-the-tests"])
def test_a_key_file_without_exactly_one_encoded_key_is_refused(tmp_path: Path, content: str):
    file = tmp_path / "key"
    file.write_text(content)
    error = refusal(ElasticSettings(url="https://es.example", api_key_file=file))
    assert isinstance(error, ConfigError)
    assert str(file) in str(error)
    assert "secret-of" not in str(error)


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path):
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert "is not text" in str(refusal(ElasticSettings(url="https://es.example", api_key_file=binary)))
    missing = refusal(ElasticSettings(url="https://es.example", api_key_file=tmp_path / "gone"))
    assert "No such file" in str(missing)


def test_an_authority_file_without_a_certificate_is_refused(tmp_path: Path):
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    assert "holds no certificate" in str(refusal(ElasticSettings(url="https://es.example", ca_certs=file)))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://es.example", "https://es.example:443"),
        ("http://es.example/", "http://es.example:80"),
        ("https://es.example:9200/behind/proxy/", "https://es.example:9200/behind/proxy"),
        ("http://[::1]:9200", "http://[::1]:9200"),
    ],
)
def test_a_url_without_a_port_means_the_scheme_s_own(url: str, address: str):
    with connect(ElasticSettings(url=url)) as client:
        assert url_of(client) == address


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_a_key_may_go_unencrypted_over_the_loopback(host: str):
    with connect(ElasticSettings(url=f"http://{host}:9200", api_key=SECRET)) as client:
        assert url_of(client) == f"http://{host}:9200"


# What a real cluster behind TLS and a key says.


@pytest.mark.elasticsearch
def test_a_cluster_says_who_and_how_it_is(elastic_url: str):
    with connect(ElasticSettings(url=elastic_url)) as client:
        info = check(client)
    _, root = call(elastic_url, "GET", "/")
    assert (info.name, info.uuid, info.version) == (root["cluster_name"], root["cluster_uuid"], "9.5.3")
    assert info.status in ("green", "yellow")


@pytest.mark.elasticsearch
def test_the_authority_s_file_and_the_key_open_the_cluster(proxy: TlsProxy):
    with connect(secured(proxy)) as client:
        assert check(client).version == "9.5.3"


@pytest.mark.elasticsearch
def test_the_fingerprint_and_a_key_file_open_the_cluster(proxy: TlsProxy, tmp_path: Path):
    file = tmp_path / "key"
    file.write_text(f"  {KEY}\n")
    digits = proxy.ca_fingerprint.upper()
    written = ":".join(digits[place : place + 2] for place in range(0, 64, 2))
    with connect(secured(proxy, ca_certs=None, ca_fingerprint=written, api_key=None, api_key_file=file)) as client:
        assert check(client).version == "9.5.3"
        assert check(client).version == "9.5.3"  # on the connection that is kept


@pytest.mark.elasticsearch
def test_the_key_of_the_environment_goes_before_the_file(proxy: TlsProxy, tmp_path: Path):
    file = tmp_path / "key"
    file.write_text(base64.b64encode(b"another:key").decode())
    with connect(secured(proxy, api_key_file=file)) as client:
        assert check(client).version == "9.5.3"


@pytest.mark.elasticsearch
@pytest.mark.parametrize("wrong", [SecretStr(base64.b64encode(b"id:other-secret").decode()), None])
def test_a_wrong_or_missing_key_is_a_configuration_error(proxy: TlsProxy, wrong: SecretStr | None):
    error = refusal(secured(proxy, api_key=wrong))
    assert isinstance(error, ConfigError)
    assert str(error) == f"{proxy.url}: the API key was refused; it is wrong, expired or missing: set a valid one"


@pytest.mark.elasticsearch
@pytest.mark.parametrize("known", ["another authority", "the public ones"])
def test_a_certificate_of_an_unknown_authority_is_not_trusted(proxy: TlsProxy, tmp_path: Path, known: str):
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    error = refusal(secured(proxy, ca_certs=other if known == "another authority" else None))
    assert isinstance(error, ConfigError)
    assert str(error).startswith(f"{proxy.url}: its certificate is not trusted: ")
    assert str(error).endswith("set elastic.ca_certs or ca_fingerprint to its authority")


@pytest.mark.elasticsearch
def test_another_fingerprint_is_not_trusted_and_the_message_has_the_one_that_was_seen(proxy: TlsProxy):
    error = refusal(secured(proxy, ca_certs=None, ca_fingerprint="0" * 64))
    assert isinstance(error, ConfigError)
    assert proxy.ca_fingerprint in str(error)


@pytest.mark.elasticsearch
@pytest.mark.parametrize("pinned", [False, True])
def test_a_certificate_for_another_host_is_not_trusted(elastic_url: str, ca: trustme.CA, pinned: bool):
    with TlsProxy(elastic_url, KEY, ca, hosts=("elsewhere.example",)) as proxy:
        pin = {"ca_certs": None, "ca_fingerprint": proxy.ca_fingerprint} if pinned else {}
        error = refusal(secured(proxy, **pin))
    assert isinstance(error, ConfigError)
    assert "its certificate is for another host" in str(error)


@pytest.mark.elasticsearch
def test_http_to_a_port_that_expects_tls_is_told_to_write_https(proxy: TlsProxy):
    error = refusal(ElasticSettings(url=proxy.url.replace("https", "http"), api_key=SECRET))
    assert isinstance(error, ConfigError)
    assert "the port expects TLS; write https:// in elastic.url" in str(error)


@pytest.mark.elasticsearch
@pytest.mark.parametrize("pin", [{}, {"ca_fingerprint": "0" * 64}])
def test_https_to_a_port_without_tls_is_told_so(elastic_url: str, pin: dict[str, str]):
    error = refusal(ElasticSettings(url=elastic_url.replace("http", "https"), **pin))  # type: ignore[arg-type]
    assert isinstance(error, ConfigError)
    assert "the port does not speak TLS" in str(error)


@pytest.mark.elasticsearch
def test_what_a_key_may_not_do_is_a_configuration_error_with_the_server_s_reason(elastic_url: str, ca: trustme.CA):
    with TlsProxy(elastic_url, KEY, ca, forbid=lambda method, path: path == "/_cluster/health") as proxy:
        error = refusal(secured(proxy))
    assert isinstance(error, ConfigError)
    assert "the API key may not do this: action [GET /_cluster/health] is unauthorized" in str(error)


@pytest.mark.elasticsearch
@pytest.mark.slow
def test_a_server_of_an_older_major_version_is_named(elastic8_url: str):
    error = refusal(ElasticSettings(url=elastic8_url))
    assert isinstance(error, ConfigError)
    assert str(error) == f"{elastic8_url}: is Elasticsearch 8.19.21, but this release needs 9.x; upgrade the server"


def test_an_older_server_s_refusal_of_the_media_type_is_understood(web_server: Callable[..., str]):
    """What 8.19.21 answers, without the server; the slow test above asks a real one."""
    body = b'{"error":{"type":"media_type_header_exception","reason":"Invalid media-type value"},"status":400}'
    url = web_server(body, status=400, content_type="application/json")
    error = refusal(ElasticSettings(url=url))
    assert isinstance(error, ConfigError)
    assert "is Elasticsearch of another major version, but this release needs 9.x" in str(error)


def test_a_cluster_that_is_not_there_is_an_infrastructure_error_with_its_address():
    url = f"http://127.0.0.1:{free_port()}"
    error = refusal(ElasticSettings(url=url))
    assert isinstance(error, StoreError)
    assert error.exit_code == 4
    assert str(error) == f"{url}: cannot be reached: Connection refused; check that it runs and elastic.url"


def test_a_host_that_nobody_knows_is_an_infrastructure_error():
    error = refusal(ElasticSettings(url="https://nowhere.invalid:9200"))
    assert isinstance(error, StoreError)
    assert "https://nowhere.invalid:9200: cannot be reached" in str(error)
    assert "object at 0x" not in str(error)


def test_a_server_that_does_not_answer_in_time_is_an_infrastructure_error():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        error = refusal(ElasticSettings(url=url, timeout_seconds=0.05))
    assert isinstance(error, StoreError)
    assert "did not answer in time" in str(error)


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, "text/html", b"<html>welcome"),
        (200, "application/json", b'{"version": {"number": "2.0.0", "distribution": "opensearch"}}'),
        (404, "text/html", b"not found"),
        (404, "application/json", b'{"message": "no route"}'),
    ],
)
def test_another_product_is_a_configuration_error(
    web_server: Callable[..., str], status: int, content_type: str, body: bytes
):
    error = refusal(ElasticSettings(url=web_server(body, status=status, content_type=content_type)))
    assert isinstance(error, ConfigError)
    assert "not Elasticsearch" in str(error)


def test_a_proxy_that_has_lost_its_cluster_is_an_infrastructure_error(web_server: Callable[..., str]):
    error = refusal(ElasticSettings(url=web_server(b"<html>bad gateway", status=502)))
    assert isinstance(error, StoreError)
    assert "refused the request (HTTP 502)" in str(error)


def test_an_answer_that_is_cut_is_an_infrastructure_error():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{")

        thread = threading.Thread(target=cut)
        thread.start()
        with (
            pytest.raises(StoreError, match="cannot be reached"),
            cluster_errors("here"),
            connect(ElasticSettings(url=f"http://127.0.0.1:{server.getsockname()[1]}")) as client,
        ):
            client.info()
        thread.join()
