"""The connection to a cluster, checked before use, and its errors in our words.

Retrying is the shipper's business, which knows what is idempotent: the client itself tries once.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from elastic_transport import ConnectionError as TransportConnectionError
from elastic_transport import TlsError, TransportError
from elastic_transport.client_utils import DEFAULT
from elasticsearch import ApiError, BadRequestError, Elasticsearch, UnsupportedProductError
from pydantic import BaseModel, ConfigDict

from reporting.addresses import is_loopback
from reporting.api_key import encoded_api_key
from reporting.elastic.refusals import translate
from reporting.elastic.trust import FINGERPRINT_LENGTH, context_of_file, context_of_fingerprint, speaks_tls
from reporting.errors import ConfigError, StoreError
from reporting.settings import ElasticSettings

__all__ = ["ClusterInfo", "check", "cluster_errors", "connect", "translate", "url_of"]

CLIENT_MAJOR = 9


class ClusterInfo(BaseModel):
    """Which cluster answers, and how it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    uuid: str
    version: str
    status: Literal["green", "yellow", "red"]
    """yellow: a copy of a shard is missing, as on any single node with replicas; red: some data cannot be reached."""


def connect(settings: ElasticSettings) -> Elasticsearch:
    """Return a client for the cluster of the settings. Nothing is sent yet; paths are relative to the current folder.

    `api_key` (from the environment) goes before `api_key_file`. Bodies are not compressed: gzip at the client's fixed
    level 9 packs some 24 MB/s on one core, which is slower than the network of one data centre.

    Raises:
        ConfigError: the url, the key or the certificate of the authority cannot be used as they are.
    """
    parts = _checked_url(settings.url)
    key = encoded_api_key("elastic", settings.api_key, settings.api_key_file)
    secure = parts.scheme == "https"
    if key is not None and not secure and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            f"elastic.url: {settings.url} would send the API key unencrypted; use https://, or drop the key"
        )
    context = _context(settings, secure)
    port = parts.port or (443 if secure else 80)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return Elasticsearch(
        f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}",
        api_key=key,
        request_timeout=settings.timeout_seconds,
        max_retries=0,
        retry_on_status=(),
        retry_on_timeout=False,
        http_compress=False,
        ssl_context=DEFAULT if context is None else context,
    )


def url_of(client: Elasticsearch) -> str:
    """Return the address a client speaks to."""
    return str(next(iter(client.transport.node_pool.all())).base_url)


@contextmanager
def cluster_errors(where: str) -> Iterator[None]:
    """Raise what the client raises as our own errors, from the original.

    Args:
        where: what was asked of whom, as the beginning of a message: the url, or the url and the index.

    Raises:
        ConfigError, StoreError: see `refusals.translate`.
    """
    try:
        yield
    except (ApiError, TransportError) as error:
        raise translate(error, where) from error


def check(client: Elasticsearch) -> ClusterInfo:
    """Ask a cluster who it is and how it is. Needs the cluster privilege `monitor`: roles setup and shipper.

    Raises:
        StoreError: it cannot be reached, or is too busy.
        ConfigError: the key, the certificate, the scheme or the server's version is wrong, or it is another product.
    """
    url = url_of(client)
    try:
        with cluster_errors(url):
            info = _identify(client, url)
            health = client.cluster.health()
    except StoreError as error:
        _explain_scheme(client, error)
        raise
    version = str(info["version"]["number"])
    if int(version.split(".", maxsplit=1)[0]) < CLIENT_MAJOR:
        raise _wrong_major(url, version)
    return ClusterInfo(name=info["cluster_name"], uuid=info["cluster_uuid"], version=version, status=health["status"])


def _identify(client: Elasticsearch, url: str) -> Any:
    try:
        return client.info()
    except BadRequestError as error:
        if error.message != "media_type_header_exception":
            raise
        # A server of an older major version does not know our media type; in plain JSON it says who it is.
        answer = client.transport.perform_request("GET", "/", headers={"accept": "application/json"})
        version = answer.body.get("version", {}) if isinstance(answer.body, dict) else {}
        raise _wrong_major(url, version.get("number")) from error
    except UnsupportedProductError:
        raise
    except ApiError as error:
        # Anything may answer on a port; Elasticsearch always says that it is Elasticsearch.
        if error.status_code < 500 and error.status_code not in (401, 403, 429):
            raise ConfigError(f"{url}: is not Elasticsearch (HTTP {error.status_code}); check elastic.url") from error
        raise


def _wrong_major(url: str, version: str | None) -> ConfigError:
    found = f"Elasticsearch {version}" if version else "Elasticsearch of another major version"
    return ConfigError(f"{url}: is {found}, but this release needs {CLIENT_MAJOR}.x; upgrade the server")


def _explain_scheme(client: Elasticsearch, error: StoreError) -> None:
    """Where an http:// connection was cut without an answer: raise if the port expects TLS."""
    node = next(iter(client.transport.node_pool.all())).config
    cause = error.__cause__
    if node.scheme != "http" or not isinstance(cause, TransportConnectionError) or isinstance(cause, TlsError):
        return
    if speaks_tls(node.host, node.port, timeout=5.0):
        raise ConfigError(f"{url_of(client)}: the port expects TLS; write https:// in elastic.url") from error


def _checked_url(url: str | None) -> SplitResult:
    if url is None:
        raise ConfigError("elastic.url is not set; write it into funnelgate.yaml or FUNNELGATE_ELASTIC__URL")
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError when it is no port
    except ValueError:
        raise ConfigError("elastic.url: is not a URL; expected https://host:9200") from None
    if "@" in parts.netloc:
        raise ConfigError(
            "elastic.url: holds a user and password; take them out and use an API key (FUNNELGATE_ELASTIC__API_KEY)"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"elastic.url: {url!r} must begin with https:// (or http://) and a host, as https://host:9200"
        )
    if parts.query or parts.fragment:
        raise ConfigError(f"elastic.url: {parts.scheme}://{parts.netloc}{parts.path} must not be followed by ? or #")
    return parts


def _context(settings: ElasticSettings, secure: bool) -> ssl.SSLContext | None:
    """Return whom to trust; None: the authorities every browser knows."""
    if settings.ca_certs is None and settings.ca_fingerprint is None:
        return None
    if not secure:
        raise ConfigError(f"elastic.url: {settings.url} has no TLS, but an authority is set; write https://")
    if settings.ca_fingerprint is None:
        assert settings.ca_certs is not None
        try:
            return context_of_file(settings.ca_certs)
        except ssl.SSLError:
            raise ConfigError(f"elastic.ca_certs: {settings.ca_certs} holds no certificate in PEM form") from None
        except OSError as error:
            raise ConfigError(f"elastic.ca_certs: {settings.ca_certs} cannot be read: {error.strerror}") from None
    if settings.ca_certs is not None:
        raise ConfigError("elastic: ca_certs and ca_fingerprint are both set; keep one of them")
    digits = re.sub(r"[:\s]", "", settings.ca_fingerprint).lower()
    if not re.fullmatch(rf"[0-9a-f]{{{FINGERPRINT_LENGTH}}}", digits):
        raise ConfigError(
            f"elastic.ca_fingerprint: has {len(digits)} characters; expected {FINGERPRINT_LENGTH} hexadecimal digits"
        )
    return context_of_fingerprint(digits)
