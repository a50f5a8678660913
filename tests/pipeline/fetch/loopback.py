"""A scripted HTTP server on the loopback, in the test's own event loop, and stand-ins for chance and sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpcore

from pipeline.fetch.fetch import FetchRequest, FetchResult, Inspection, Surroundings, fetch_all
from pipeline.fetch.policy import FetchPolicy

# A public address (example.com's former one) that the routed sockets bring to the loopback.
PUBLIC = "93.184.216.34"


@dataclass
class Exchange:
    """One request as the server saw it, and the way to answer."""

    path: str
    headers: dict[str, str]
    writer: asyncio.StreamWriter
    number: int

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        head = {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
        await self.send(f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in head.items()) + "\r\n")
        await self.send(body)

    async def send(self, data: str | bytes) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST instead of FIN: linger on, for 0 seconds."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Route = Callable[[Exchange], Awaitable[None]]


@dataclass
class Server:
    """What runs and what it was asked."""

    port: int = 0
    asked: list[Exchange] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def paths(self) -> list[str]:
        return [exchange.path for exchange in self.asked]


@asynccontextmanager
async def serve(routes: dict[str, Route]) -> AsyncIterator[Server]:
    """Run the server; a route is chosen by the path before `?`. A failing route fails the test."""
    state = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                path = line.decode().split(" ")[1]
                headers = {}
                while (raw := await reader.readline()).strip():
                    name, _, value = raw.decode().partition(":")
                    headers[name.lower()] = value.strip()
                exchange = Exchange(path, headers, writer, sum(path == seen for seen in state.paths))
                state.asked.append(exchange)
                await routes[path.partition("?")[0]](exchange)
                if writer.is_closing():
                    break
        except ConnectionError:
            pass  # the client hung up, as it may
        except Exception as error:  # noqa: BLE001  # collected, and asserted on when the server ends
            state.failures.append(error)
        finally:
            writer.close()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(converse(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        await server.wait_closed()
        for task in list(tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert not state.failures, state.failures


def bodied(body: bytes) -> Route:
    async def route(exchange: Exchange) -> None:
        await exchange.answer(200, body)

    return route


def said(status: int, **headers: str) -> Route:
    async def route(exchange: Exchange) -> None:
        await exchange.answer(status, b"words", **headers)

    return route


async def silence(exchange: Exchange) -> None:
    """Never answer: wait for what nobody sets."""
    await asyncio.Event().wait()


class RoutedSockets(httpcore.AsyncNetworkBackend):
    """Brings every connection to the loopback, and notes which address was dialled."""

    def __init__(self) -> None:
        self.dialled: list[str] = []
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append(host)
        return await self._inner.connect_tcp("127.0.0.1", port, timeout, local_address, socket_options)


class FailingSockets(httpcore.AsyncNetworkBackend):
    """Fails every connection by the system's error number, as httpcore reports it."""

    def __init__(self, number: int) -> None:
        self.number = number

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        try:
            raise OSError(self.number, "scripted")
        except OSError as error:
            raise httpcore.ConnectError(error) from error


@dataclass
class Naps:
    """Stands in for sleeping: notes the seconds and returns at once."""

    seconds: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def names(**known: Sequence[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """A resolver that knows these names (with `_` for `.`) and literals."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        if host.replace(".", "_") in known:
            return known[host.replace(".", "_")]
        if host[0].isdigit() or ":" in host:
            return [host]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    return resolve


def accept(data: bytes) -> None:
    """Take every body for a picture."""


def policy(**changes: Any) -> FetchPolicy:
    """Loopback allowed, few retries; the deadline is far away unless a test sets it."""
    return FetchPolicy(**{"allow_private": True, "retries": 2, **changes})


async def bring(
    locations: Iterable[str],
    limits: FetchPolicy,
    *,
    around: Surroundings | None = None,
    inspect: Inspection = accept,
    kind: Any = "url",
) -> dict[str, FetchResult]:
    """Fetch each location as its own item and return the results by location, one each."""
    results: list[FetchResult] = []

    async def keep(result: FetchResult) -> None:
        results.append(result)

    requests = [FetchRequest(location, location, kind) for location in locations]
    await fetch_all(
        requests, limits, on_result=keep, inspect=inspect, surroundings=around or Surroundings(sleep=Naps())
    )
    assert sorted(result.item for result in results) == sorted(request.item for request in requests)
    return {result.item: result for result in results}
