"""Downloading many pictures at once, within the policy, one result each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import httpcore
import httpx

from pipeline.fetch.files import file_url_path, read_file
from pipeline.fetch.outcome import Absence, Body, Fault, Outcome, Redirect
from pipeline.fetch.policy import FetchPolicy, Reason
from pipeline.fetch.resolve import CachingResolver, Resolver, system_addresses
from pipeline.fetch.retry import backoff_seconds
from pipeline.fetch.transport import PinnedBackend, PinnedTransport
from pipeline.fetch.turns import HostTurns
from pipeline.fetch.visit import parse_url, visit

# Pictures waiting per connection: enough that one slow host, whose pictures queue up, rarely starves the rest.
LOOKAHEAD = 16


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """One picture to bring.

    Attributes:
        item: Item id, handed back in the result.
        location: URL (http, https, file), or path.
        kind: Which of the two.
        first_bytes: So many bytes from the beginning are enough, >= 1, to see whether it is still there; None: all.
    """

    item: str
    location: str
    kind: Literal["url", "path"]
    first_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What became of a request: either `ok` or `reason` is set.

    Attributes:
        item: Item id of the request.
        ok: The picture's bytes, not empty, accepted by `inspect`.
        reason: Why there are none.
        detail: For people, "" when ok.
        attempts: How often it was tried, at least 1; redirects do not count.
        seconds: From the first turn to the result, back-off included, queueing before the first turn excluded.
        absence: Whether the answer says that there is nothing at the place any more; None when ok.
    """

    item: str
    ok: bytes | None
    reason: Reason | None
    detail: str
    attempts: int
    seconds: float
    absence: Absence | None = None


Inspection: TypeAlias = Callable[[bytes], Reason | None]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What `fetch_all` takes from the world, so that tests can stand in for it.

    Attributes:
        sleep: Waits between attempts, in seconds.
        uniform: A random number between its two arguments.
        now: Aware time, for Retry-After dates.
        resolver: Host name to addresses.
        sockets: Opens connections to addresses that were judged.
    """

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
    now: Callable[[], datetime] = _utc_now
    resolver: Resolver = system_addresses
    sockets: httpcore.AsyncNetworkBackend = field(default_factory=httpcore.AnyIOBackend)


async def fetch_all(
    requests: Iterable[FetchRequest],
    policy: FetchPolicy,
    *,
    on_result: Callable[[FetchResult], Awaitable[None]],
    inspect: Inspection,
    surroundings: Surroundings | None = None,
) -> None:
    """Bring every picture and hand over one result for each, in the order they finish.

    `requests` is read lazily and `on_result` is awaited one at a time, while its picture still holds a
    connection's place: a slow receiver slows the downloads, and memory stays within `total_connections` bodies.
    The order of results depends on the network: sort by item where it must not.

    Args:
        requests: Any length; equal items are fetched twice.
        policy: Limits.
        on_result: Receives the results; its exceptions end the whole download.
        inspect: Looks at a complete body (the header suffices; it runs in the event loop, so at most some
            milliseconds) and returns `not_an_image`, `too_many_pixels` or None.
        surroundings: Clock, sleep, chance, name resolution and sockets; the real ones when None.

    Raises:
        StoreError: This machine ran out of descriptors or memory. The exceptions of `requests`, `on_result` and
            `inspect` pass unchanged; with any of them all other downloads are cancelled.
    """
    around = surroundings or Surroundings()
    resolver = CachingResolver(around.resolver, policy.dns_cache_seconds)
    backend = PinnedBackend(resolver, allow_private=policy.allow_private, inner=around.sockets)
    transport = PinnedTransport(policy, backend)
    try:
        await _run(requests, _Fetcher(policy, around, transport, inspect, on_result), policy.total_connections)
    except BaseExceptionGroup as failures:
        first = _first_leaf(failures)
        raise first from first.__cause__
    finally:
        await transport.aclose()
        await resolver.aclose()


async def _run(requests: Iterable[FetchRequest], fetcher: _Fetcher, total_connections: int) -> None:
    window = asyncio.Semaphore(total_connections * LOOKAHEAD)

    async def bring(request: FetchRequest) -> None:
        try:
            await fetcher.bring(request)
        finally:
            window.release()

    async with asyncio.TaskGroup() as group:
        for request in requests:
            await window.acquire()
            group.create_task(bring(request))


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


@dataclass(slots=True)
class _Pursuit:
    """How far one picture has come.

    Attributes:
        place: Where to look next.
        began: Loop time of the first turn; None before it.
        deadline: Loop time at which it is given up; grows by the time spent queueing.
        pause: Seconds to wait before the next attempt.
    """

    request: FetchRequest
    place: str
    began: float | None = None
    deadline: float = 0.0
    attempts: int = 1
    redirects: int = 0
    pause: float = 0.0


class _Fetcher:
    def __init__(
        self,
        policy: FetchPolicy,
        around: Surroundings,
        transport: PinnedTransport,
        inspect: Inspection,
        on_result: Callable[[FetchResult], Awaitable[None]],
    ) -> None:
        self._policy = policy
        self._around = around
        self._transport = transport
        self._inspect = inspect
        self._on_result = on_result
        self._clock = asyncio.get_running_loop().time
        self._hosts = HostTurns(policy.per_host_connections)
        self._places = asyncio.Semaphore(policy.total_connections)
        self._one_at_a_time = asyncio.Lock()

    async def bring(self, request: FetchRequest) -> None:
        """Look until the picture's result is handed over."""
        pursuit = _Pursuit(request, request.location)
        while not await self._take_turn(pursuit):
            # Neither the host's turn nor a connection's place is held while waiting.
            if pursuit.pause:
                await self._around.sleep(pursuit.pause)
                pursuit.pause = 0.0

    async def _take_turn(self, pursuit: _Pursuit) -> bool:
        """Look once; say whether that settled it."""
        url = _url(pursuit)
        host = url.host if isinstance(url, httpx.URL) else None
        asked = self._clock()
        # Always the host first, then the place: the other order could deadlock across redirects.
        async with self._hosts.turn(host) as leave_host, self._places:
            granted = self._clock()
            if pursuit.began is None:
                pursuit.began, pursuit.deadline = granted, granted + self._policy.timeout_seconds
            else:
                pursuit.deadline += granted - asked
            outcome = await self._look(pursuit, url)
            leave_host()
            return await self._settle(pursuit, outcome)

    async def _look(self, pursuit: _Pursuit, url: httpx.URL | Fault | None) -> Outcome:
        try:
            async with asyncio.timeout_at(pursuit.deadline):
                return await self._outcome(pursuit, url)
        except TimeoutError:
            return Fault("timeout", f"not complete within {self._policy.timeout_seconds:g} s")

    async def _outcome(self, pursuit: _Pursuit, url: httpx.URL | Fault | None) -> Outcome:
        if isinstance(url, Fault):
            return url
        first_bytes = pursuit.request.first_bytes
        if url is not None:
            return await visit(url, self._transport, self._policy, self._around.now(), first_bytes=first_bytes)
        is_from_url = pursuit.request.kind == "url"
        path = file_url_path(pursuit.place) if is_from_url else pursuit.place
        if isinstance(path, Fault):
            return path
        return await asyncio.to_thread(read_file, path, self._policy, is_from_url=is_from_url, first_bytes=first_bytes)

    async def _settle(self, pursuit: _Pursuit, outcome: Outcome) -> bool:
        if isinstance(outcome, Body):
            return await self._hand_over(pursuit, self._judged(outcome))
        if isinstance(outcome, Redirect):
            pursuit.redirects += 1
            pursuit.place = outcome.url
            if pursuit.redirects <= self._policy.max_redirects:
                return False
            return await self._hand_over(
                pursuit, Fault("dead_link", f"more than {self._policy.max_redirects} redirects")
            )
        if not outcome.is_passing or pursuit.attempts > self._policy.retries:
            return await self._hand_over(pursuit, outcome)
        jittered = backoff_seconds(pursuit.attempts, self._policy, self._around.uniform)
        pause = max(jittered, outcome.retry_after_seconds)
        if self._clock() + pause >= pursuit.deadline:
            return await self._hand_over(pursuit, outcome)
        pursuit.pause = pause
        pursuit.attempts += 1
        # From the start again: a redirect's target is often signed for a short time only.
        pursuit.place, pursuit.redirects = pursuit.request.location, 0
        return False

    def _judged(self, body: Body) -> Body | Fault:
        if not body.data:
            return Fault("not_an_image", "no bytes")
        reason = self._inspect(body.data)
        return body if reason is None else Fault(reason, f"{len(body.data)} bytes, refused by their header")

    async def _hand_over(self, pursuit: _Pursuit, settled: Body | Fault) -> bool:
        fault = settled if isinstance(settled, Fault) else None
        result = FetchResult(
            item=pursuit.request.item,
            ok=settled.data if isinstance(settled, Body) else None,
            reason=fault.reason if fault else None,
            detail=fault.detail if fault else "",
            attempts=pursuit.attempts,
            seconds=self._clock() - (pursuit.began or self._clock()),
            absence=fault.absence if fault else None,
        )
        async with self._one_at_a_time:
            await self._on_result(result)
        return True


def _url(pursuit: _Pursuit) -> httpx.URL | Fault | None:
    """Return the URL to ask, why it may not be asked, or None where the place is a file."""
    # Only the manifest's own words may name a file: a redirect to one is a server reaching for our disk.
    is_file_url = not pursuit.redirects and pursuit.place[:5].lower() == "file:"
    return None if pursuit.request.kind == "path" or is_file_url else parse_url(pursuit.place)
