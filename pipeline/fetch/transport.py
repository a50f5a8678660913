"""An httpx transport that connects only to addresses it has judged.

The name is resolved here, each address is judged, and the socket is opened to the address itself: there is no
second lookup that a rebinding name server could answer differently, and every redirect passes here again. The
Host header and TLS (SNI, certificate check) still carry the name.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from functools import cache
from typing import Any

import httpcore
import httpx

from pipeline.fetch.addresses import refusal
from pipeline.fetch.policy import FetchPolicy
from pipeline.fetch.resolve import CachingResolver

# Idle connections are kept as long as a typical server keeps them (nginx 75 s, Apache 5 s).
KEEPALIVE_SECONDS = 5.0
# httpcore's pool looks at all its connections on each request and response; with hosts spread over 16 pools
# 5,000 pictures from 8 hosts over 48 connections took 6.5 CPU-s instead of 11.4 with one pool.
POOLS = 16


@cache
def _tls() -> ssl.SSLContext:
    # Loading the certificates takes some 30 ms, and a context may serve any number of pools.
    return httpx.create_ssl_context(trust_env=False)


class RefusedAddressError(Exception):
    """Every address of a host is one that downloads must not reach."""


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Opens sockets to judged addresses only.

    Args:
        resolver: Where names are looked up.
        allow_private: Skip the judgement.
        inner: What opens the socket; it only ever gets IP addresses.
    """

    def __init__(self, resolver: CachingResolver, *, allow_private: bool, inner: httpcore.AsyncNetworkBackend) -> None:
        self._resolver = resolver
        self._allow_private = allow_private
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first judged address of `host` that answers.

        Raises:
            RefusedAddressError: No address of the host is public.
            UnknownHostError: The host has no address.
            httpcore.ConnectError: No address accepted the connection.
            httpcore.ConnectTimeout: `timeout` seconds passed; shared evenly among the addresses.
        """
        found = await self._resolver.addresses(host.strip("[]"), port)
        judged = [(address, None if self._allow_private else refusal(address)) for address in found]
        allowed = [address for address, why in judged if why is None]
        if not allowed:
            raise RefusedAddressError(f"host {host!r:.100} is at {judged[0][0]} ({judged[0][1]})")
        share = None if timeout is None else timeout / len(allowed)
        for address in allowed[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue  # the last address, below, tells what went wrong
        return await self._inner.connect_tcp(allowed[-1], port, share, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no URL may reach a local socket."""
        del timeout, socket_options
        raise RefusedAddressError(f"a Unix socket {path!r:.100}")

    async def sleep(self, seconds: float) -> None:
        """Wait; used by httpcore's own connect retries, which are off."""
        await asyncio.sleep(seconds)


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._response.aclose()


class PinnedTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over `PinnedBackend`, without proxies, cookies, .netrc or environment variables.

    A proxy would resolve names itself, behind our back. Exceptions are httpcore's, `RefusedAddressError` and
    `UnknownHostError`.
    """

    def __init__(self, policy: FetchPolicy, backend: PinnedBackend) -> None:
        self._pools = [
            httpcore.AsyncConnectionPool(
                ssl_context=_tls(),
                max_connections=policy.total_connections,
                max_keepalive_connections=-(-policy.total_connections // POOLS) + policy.per_host_connections,
                keepalive_expiry=KEEPALIVE_SECONDS,
                network_backend=backend,
            )
            for _ in range(POOLS)
        ]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and return its response with the body unread; redirects are not followed."""
        pool = self._pools[hash(request.url.host) % POOLS]
        response = await pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                extensions=request.extensions,
            )
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools:
            await pool.aclose()
