"""TLS and an API key before a node that has neither: what a secured cluster shows its clients."""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme

from tests.servers.relay import JSON_HEADERS, Exchange, Relay

_CHALLENGES = ('Basic realm="security", charset="UTF-8"', 'Bearer realm="security"', "ApiKey")


class TlsProxy(Relay):
    """Passes on over TLS what comes with `Authorization: ApiKey <api_key>`, and answers 401 otherwise.

    `ca_pem` is the file with the CA's certificate and `ca_fingerprint` its SHA-256 in hex; the CA stands in the chain
    that is served, so a client can pin either. Nothing but TLS is understood.
    """

    def __init__(
        self,
        upstream_url: str,
        api_key: str,
        ca: trustme.CA,
        *,
        forbid: Callable[[str, str], bool] | None = None,
        hosts: tuple[str, ...] = ("127.0.0.1", "localhost"),
    ) -> None:
        """Start it.

        Args:
            upstream_url: Address of the node, `http://HOST:PORT`.
            api_key: The one key that is let in, as it stands in the header (base64 of `id:key`).
            ca: Signs the certificate.
            forbid: Given a request's method and path (without query), whether it is answered 403.
            hosts: The names on the certificate; others than the default make it one for somebody else.
        """
        self.ca_fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca.cert_pem.bytes().decode())).hexdigest()
        self._api_key = api_key
        self._forbid = forbid or (lambda method, path: False)
        self._folder = Path(tempfile.mkdtemp(prefix="funnelgate-tls-"))
        self.ca_pem = self._folder / "ca.pem"
        ca.cert_pem.write_to_path(str(self.ca_pem))
        super().__init__(upstream_url, _server_context(ca, hosts, self._folder / "server.pem"))

    def close(self) -> None:
        """Stop it and delete the certificate's files."""
        try:
            super().close()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def handle(self, exchange: Exchange) -> None:
        credentials = exchange.headers.get("authorization")
        if credentials != f"ApiKey {self._api_key}":
            _refuse(exchange, 401, _unauthenticated(credentials, exchange))
        elif self._forbid(exchange.command, exchange.path_only):
            _refuse(exchange, 403, f"action [{exchange.command} {exchange.path_only}] is unauthorized for this API key")
        else:
            exchange.pass_back(exchange.forward(headers={"authorization": ""}))


def _server_context(ca: trustme.CA, hosts: tuple[str, ...], file: Path) -> ssl.SSLContext:
    leaf = ca.issue_cert(*hosts)
    # trustme leaves the root out of the chain, but a client that pins the CA without having it must be shown it.
    file.write_bytes(leaf.private_key_and_cert_chain_pem.bytes() + ca.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def _unauthenticated(credentials: str | None, exchange: Exchange) -> str:
    if credentials is None:
        return f"missing authentication credentials for REST request [{exchange.path}]"
    return "unable to authenticate with provided credentials and anonymous access is not allowed for this request"


def _refuse(exchange: Exchange, status: int, reason: str) -> None:
    error: dict[str, Any] = {"type": "security_exception", "reason": reason}
    headers = dict(JSON_HEADERS)
    if status == 401:
        error = {**error, "header": {"WWW-Authenticate": list(_CHALLENGES)}}
        headers["WWW-Authenticate"] = ", ".join(_CHALLENGES)
    answer = {"error": {"root_cause": [error], **error}, "status": status}
    exchange.reply(status, headers, json.dumps(answer).encode())
