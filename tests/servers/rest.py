"""One plain HTTP request to a server on the loopback: an oracle that shares no code with the product's client."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit


def call(
    base: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: dict[str, str] | None = None,
    timeout: float = 60.0,
) -> tuple[int, Any]:
    """Send one request on a connection of its own and return its status and its answer.

    A `str` or `bytes` body is sent as it is (NDJSON for a bulk request), anything else as JSON. An answer that is no
    JSON is returned as text.
    """
    raw = isinstance(body, str | bytes)
    content_type = "application/x-ndjson" if raw else "application/json"
    payload = body if raw or body is None else json.dumps(body)
    if isinstance(payload, str):
        payload = payload.encode()
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=timeout)
    try:
        connection.request(method, path, payload, {"content-type": content_type, **(headers or {})})
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    try:
        return response.status, json.loads(text)
    except ValueError:
        return response.status, text


def remove_everything(base: str, prefix: str) -> None:
    """Delete the indices `<prefix>-*` and the index and component templates whose names begin with `prefix`."""
    status, rows = call(base, "GET", f"/_cat/indices/{prefix}-*?h=index&format=json&expand_wildcards=all")
    names = [row["index"] for row in rows] if status == 200 else []
    for start in range(0, len(names), 50):  # a request line may have 4 KiB
        _delete(base, "/" + ",".join(names[start : start + 50]) + "?ignore_unavailable=true")
    _delete(base, f"/_index_template/{prefix}*")
    _delete(base, f"/_component_template/{prefix}*")  # after the index templates, which use them


def _delete(base: str, path: str) -> None:
    status, answer = call(base, "DELETE", path)
    if status not in (200, 404):
        raise AssertionError(f"DELETE {path}: {status} {answer}")
