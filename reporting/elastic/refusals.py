"""What a cluster or the way to it says no with, in one line of our own: fact, place, remedy, and the exit code."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from reporting.elastic.trust import PinMismatch
from reporting.errors import ConfigError, FunnelgateError, StoreError

_LONGEST = 400
"""Characters of a server's own words that go into a message."""

_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
"""What OpenSSL calls an answer that is no TLS, by release."""

_SETUP = "run `funnelgate records setup`"
_OTHER_MAJOR = "is Elasticsearch of another major version; this release needs 9.x"

_ANSWERS: tuple[tuple[int | str, type[FunnelgateError], str], ...] = (
    (401, ConfigError, "the API key was refused; it is wrong, expired or missing: set a valid one"),
    (403, ConfigError, "the API key may not do this: {reason}; use the key of a role that may"),
    ("media_type_header_exception", ConfigError, _OTHER_MAJOR),
    (406, ConfigError, _OTHER_MAJOR),
    ("index_not_found_exception", ConfigError, f"{{reason}}; {_SETUP}"),
    ("strict_dynamic_mapping_exception", ConfigError, f"the mapping is older than this release: {{reason}}; {_SETUP}"),
    (413, StoreError, "a request was too large; raise http.max_content_length, or that of the proxy"),
    (429, StoreError, "is too busy: {reason}; try again later"),
)
"""Status or type of an answer, what it becomes, and the message; the first that fits."""


def translate(error: Exception, where: str) -> FunnelgateError:
    """Return an error of the client as one of ours; no message holds the key.

    Args:
        error: an `elasticsearch.ApiError` or an `elastic_transport.TransportError`; anything else is wrapped as it is.
        where: what was asked of whom, as the beginning of the message.

    Returns:
        ConfigError (exit 2) where settings, key, certificate, version or setup are wrong; StoreError (exit 4) where
        the cluster cannot be reached or cannot do it now.
    """
    from elasticsearch import ApiError, UnsupportedProductError

    if isinstance(error, UnsupportedProductError):
        return ConfigError(f"{where}: answers, but is not Elasticsearch; check elastic.url")
    if isinstance(error, ApiError):
        return _of_answer(error.meta.status, error.body, where)
    return _of_transport(error, where)


def error_of(body: Any) -> tuple[str, str]:
    """Return type and reason of the error in an answer's body; empty where it has none."""
    error = body.get("error") if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return "", _brief("" if error is None else str(error))
    cause = error.get("caused_by")
    reason = str(error.get("reason") or "")
    if isinstance(cause, dict) and cause.get("reason"):
        reason = f"{reason}: {cause['reason']}"
    return str(error.get("type") or ""), _brief(reason)


def _of_answer(status: int, body: Any, where: str) -> FunnelgateError:
    kind, reason = error_of(body)
    if kind == "cluster_block_exception":
        return _of_block(reason, where)
    for known, raised, text in _ANSWERS:
        if known in (status, kind):
            return raised(f"{where}: {text.format(reason=reason or f'HTTP {status}')}")
    return StoreError(f"{where}: refused the request (HTTP {status}): {': '.join(filter(None, (kind, reason)))}")


def _of_block(reason: str, where: str) -> StoreError:
    if "TOO_MANY_REQUESTS/12" in reason:
        return StoreError(f"{where}: its disk is full, indices are read-only; free space, they open by themselves")
    return StoreError(f"{where}: an index is blocked: {reason}; lift the block (index.blocks.*) and try again")


def _of_transport(error: Exception, where: str) -> FunnelgateError:
    from elastic_transport import ConnectionError as TransportConnectionError
    from elastic_transport import ConnectionTimeout, SerializationError, TlsError

    if isinstance(error, TlsError):
        return _of_tls(error, where)
    if isinstance(error, ConnectionTimeout):
        return StoreError(f"{where}: did not answer in time; try again, or raise elastic.timeout_seconds")
    if isinstance(error, TransportConnectionError):
        return StoreError(f"{where}: cannot be reached: {_reason(error)}; check that it runs and elastic.url")
    if isinstance(error, SerializationError):
        return StoreError(f"{where}: answered something that is not JSON; check what stands before the cluster")
    return StoreError(f"{where}: {type(error).__name__}: {_brief(str(error))}")


def _of_tls(error: Exception, where: str) -> FunnelgateError:
    for cause in _causes(error):
        if isinstance(cause, PinMismatch):
            return ConfigError(f"{where}: {cause.args[-1]}, none is elastic.ca_fingerprint; do not trust it unchecked")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _of_certificate(cause, where)
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            return ConfigError(f"{where}: the port does not speak TLS; write http:// (loopback only) or turn TLS on")
    return StoreError(f"{where}: TLS failed: {_reason(error)}; try again, or check what stands before the cluster")


def _of_certificate(cause: ssl.SSLCertVerificationError, where: str) -> ConfigError:
    said = _brief(cause.verify_message)
    if "mismatch" in said.lower():
        return ConfigError(f"{where}: its certificate is for another host: {said}; use a name the certificate has")
    return ConfigError(
        f"{where}: its certificate is not trusted: {said}; set elastic.ca_certs or ca_fingerprint to its authority"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what is inside it; the client wraps urllib3, which wraps ssl."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = (*getattr(one, "errors", ()), *one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
        waiting += [each for each in inner if isinstance(each, BaseException)]


def _reason(error: BaseException) -> str:
    """Return the innermost operating system's words, else the outermost text."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.strerror:
            return _brief(cause.strerror)
    text = str(next((one for one in getattr(error, "errors", ())), error))
    return _brief(text.rpartition("Failed to establish a new connection: ")[2])


def _brief(text: str) -> str:
    """Return a server's words on one line, not too long, and without an Authorization header."""
    line = re.sub(r"(?i)\b(apikey|bearer|basic)\s+\S+", r"\1 ...", " ".join(text.split()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def refuse_unreadable(answer: Mapping[str, Any]) -> None:
    """Refuse one item of an `mget` answer whose index cannot be read: it is not the same as nothing being there.

    Raises:
        StoreError: the index is closed, or its shard is away. An index that does not exist holds nothing.
    """
    error = answer.get("error")
    if error is not None and error["type"] != "index_not_found_exception":
        raise StoreError(
            f"elasticsearch: document {answer['_id']} of index {answer['_index']} cannot be read:"
            f" {error['type']}: {error['reason']}; see that the index is open and healthy"
        )
