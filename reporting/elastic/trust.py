"""Which certificates a cluster is believed by: those of a file, or the one with a known fingerprint.

The client's own `ssl_assert_fingerprint` is not used: it compares the fingerprint with a chain that it did not verify.
A forged server that also sends the real authority's (public) certificate passes, and is given the API key. Seen with
elastic-transport 9.4.2; `tests/reporting/elastic/test_trust.py` holds the attack.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
from pathlib import Path
from typing import Any

FINGERPRINT_LENGTH = 64
"""Hexadecimal digits of a SHA-256."""

_ALERT, _HANDSHAKE = b"\x15", b"\x16"
"""Content types of TLS records (RFC 8446, section 5.1) with which a server can answer the first message."""


class PinMismatch(ssl.SSLError):
    """None of the certificates that the server sent has the fingerprint."""


class _OwnRoots(ssl.SSLContext):
    """A context whose authorities are only ours: urllib3 would add those of certifi to it."""

    def load_verify_locations(self, *_arguments: Any, **_named: Any) -> None:
        """Do nothing; authorities come in by `_trust`."""

    def _trust(self, **source: Any) -> None:
        super().load_verify_locations(**source)


class _Pinned(_OwnRoots):
    """Verifies chain and host name as always, against the one certificate with the fingerprint.

    That certificate is fetched at the first connection by a handshake of its own, over which nothing is sent.
    """

    fingerprint = ""
    _fetched = False

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        """Start TLS.

        Raises:
            PinMismatch: the server sends no certificate with the fingerprint.
            ssl.SSLError: it sends it, but its own certificate was not signed by it, or is for another host.
        """
        if not self._fetched:
            self._trust(cadata=self._fetch(sock, named.get("server_hostname")))
            self._fetched = True
        return super().wrap_socket(sock, *arguments, **named)

    def _fetch(self, sock: socket.socket, server_hostname: str | None) -> bytes:
        lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        lax.check_hostname = False
        lax.verify_mode = ssl.CERT_NONE
        with (
            socket.create_connection(sock.getpeername()[:2], timeout=sock.gettimeout()) as plain,
            lax.wrap_socket(plain, server_hostname=server_hostname) as tls,
        ):
            sent = _sent_certificates(tls)
        prints = {hashlib.sha256(one).hexdigest(): one for one in sent}
        if self.fingerprint not in prints:
            raise PinMismatch(f"the server's certificates have the fingerprints {', '.join(prints)}")
        return prints[self.fingerprint]


def context_of_file(ca_certs: Path) -> ssl.SSLContext:
    """Return a context that trusts the authorities of a PEM file and no others.

    Raises:
        OSError: the file cannot be read.
        ssl.SSLError: it holds no certificate.
    """
    context = _OwnRoots(ssl.PROTOCOL_TLS_CLIENT)
    context._trust(cafile=str(ca_certs))
    return context


def context_of_fingerprint(fingerprint: str) -> ssl.SSLContext:
    """Return a context that trusts one certificate: the authority's, or the server's own.

    Args:
        fingerprint: its SHA-256, 64 lower-case hexadecimal digits.
    """
    context = _Pinned(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the pinned one need not be a root
    context.fingerprint = fingerprint
    return context


def speaks_tls(host: str, port: int, timeout: float) -> bool:
    """Tell whether a port answers a TLS handshake, whatever its certificate.

    Only the first message goes out, from memory: `SSLContext.wrap_socket` leaves a socket open where the other side
    resets the connection before it has looked at it (CPython 3.11, `SSLSocket._create`).
    """
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lax.check_hostname = False
    lax.verify_mode = ssl.CERT_NONE
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        lax.wrap_bio(ssl.MemoryBIO(), hello).do_handshake()
    try:
        with socket.create_connection((host, port), timeout=timeout) as plain:
            plain.sendall(hello.read())
            return plain.recv(1) in (_ALERT, _HANDSHAKE)
    except OSError:
        return False


def _sent_certificates(tls: ssl.SSLSocket) -> list[bytes]:
    """Return what the server sent, in DER; public since Python 3.13 only."""
    public = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return list(public())
    private: Any = getattr(tls, "_sslobj")  # noqa: B009 - not in the type stubs
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in private.get_unverified_chain()]
