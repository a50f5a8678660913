"""Admission: a bounded number of requests at a time, each with a time limit; what is too much is said at once.

The event loop only counts and waits; the work is done by a pool of threads. A thread cannot be stopped: a request that
is cut off while it runs keeps its place until its thread is free, so that the places never promise more than there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from pipeline.serve.intake import Body, CutOff, Intake
from pipeline.serve.refusal import Refusal

Result = TypeVar("Result")
_FORGET = 0.1  # weight of the newest request in the mean seconds of work, from which Retry-After is guessed
_GUESS = 0.05  # seconds, before the first request


class Admission:
    """Places for requests: `threads` that run and `queue` that wait. Lives in one event loop."""

    def __init__(
        self,
        threads: int,
        queue: int,
        time_limit_seconds: float,
        *,
        bodies: int = 512,
        body_bytes: int = 256_000_000,
        cut_off: Callable[[CutOff], None] = lambda _: None,
    ) -> None:
        """Start the pool; `close` ends it.

        Args:
            threads: Requests worked on at one time, >= 1.
            queue: Requests that may wait, >= 0.
            time_limit_seconds: From a request's first byte to its answer, > 0.
            bodies: Requests whose body may be on its way at one time, >= 1.
            body_bytes: Of all of them together, >= 1.
            cut_off: Told of each request that is cut off.
        """
        self.threads = threads
        self.places = threads + queue
        self.time_limit_seconds = time_limit_seconds
        self.taken = 0
        """Places taken now."""
        self.running = 0
        """Requests that a thread works on now."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="serve")
        self._mean_seconds = _GUESS
        self._cut_off = cut_off
        self.intake = Intake(bodies, body_bytes, self.cut)

    def body(self) -> Body:
        """Begin a request, before its body has arrived; use it in a `with` block.

        Raises:
            Refusal: 429, with Retry-After: all places are taken, or too many bodies are on their way.
        """
        self._refuse_when_full()
        return self.intake.open(self.time_limit_seconds)

    def admit(self, deadline: float | None = None) -> Place:
        """Take a place; use it in an `async with` block.

        Args:
            deadline: Of time.monotonic(), when the request is cut off; None: it has all its time.

        Raises:
            Refusal: 429, with Retry-After: all places are taken.
        """
        self._refuse_when_full()
        self.taken += 1
        return Place(self, time.monotonic() + self.time_limit_seconds if deadline is None else deadline)

    def _refuse_when_full(self) -> None:
        if self.taken >= self.places:
            wait = max(1, math.ceil(self.taken * self._mean_seconds / self.threads))
            raise Refusal(
                429, "queue_full", found=f"{self.taken} requests", expected=f"at most {self.places}",
                do=f"ask again in {wait} s, or let more servers answer", headers={"Retry-After": str(wait)},
            )  # fmt: skip

    def cut(self, where: CutOff) -> Refusal:
        """Count a request that is cut off, and return what to tell its client."""
        self._cut_off(where)
        if where == "client_gone":  # 499: what nginx logs; nobody reads it
            return Refusal(499, "client_gone", found="a closed line", expected="a client", do="wait for the answer")
        limit = self.time_limit_seconds
        return Refusal(
            504, "time_limit", found=f"no answer after {limit:g} s ({where})", expected=f"an answer within {limit:g} s",
            do="ask again later, or for fewer results",
        )  # fmt: skip

    def start(self, place: Place, work: Callable[[], Result]) -> Future[Result]:
        """Queue work for a thread; its place is given back when it ended or was cancelled before it began."""
        loop = asyncio.get_running_loop()

        def timed() -> Result:
            began = time.monotonic()
            _tell(loop, self._began, place)
            try:
                return work()
            finally:
                _tell(loop, self._ended, time.monotonic() - began)

        future = self._pool.submit(timed)
        future.add_done_callback(lambda _: _tell(loop, self.leave))
        return future

    def _began(self, place: Place) -> None:
        self.running += 1
        place.is_running = True

    def _ended(self, seconds: float) -> None:
        self.running -= 1
        self._mean_seconds += _FORGET * (seconds - self._mean_seconds)

    def leave(self) -> None:
        """Give a place back."""
        self.taken -= 1

    def close(self) -> None:
        """Take nothing more; what waits is cancelled, what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Place:
    """One request's place, and the time at which it is cut off."""

    def __init__(self, admission: Admission, deadline: float) -> None:
        self._admission = admission
        self._deadline = deadline  # of time.monotonic()
        self._is_handed_on = False
        self.is_running = False
        """Whether a thread has begun its work."""

    async def __aenter__(self) -> Place:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_handed_on:
            self._admission.leave()

    async def run(self, work: Callable[[], Result], gone: Awaitable[object] | None = None) -> Result:
        """Do the work in a thread; once only.

        Args:
            work: Whatever it raises is raised here.
            gone: Ends when the client has hung up.

        Raises:
            Refusal: 504: there was no answer in time; 499: nobody is there to take it. Work that had not begun never
                will.
        """
        self._is_handed_on = True
        future = self._admission.start(self, work)
        answer = asyncio.wrap_future(future)
        answer.add_done_callback(_looked_at)
        waited: list[asyncio.Future[Any]] = [answer]
        if gone is not None:
            waited.append(asyncio.ensure_future(gone))
        try:
            done, _ = await asyncio.wait(waited, timeout=self._left(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waited[1:]:
                one.cancel()
            future.cancel()  # does nothing to work that has begun
        if answer in done:
            return answer.result()
        raise self._admission.cut("client_gone" if done else "running" if self.is_running else "waiting")

    def _left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[..., object], *args: object) -> None:
    """Call something in the event loop, from a thread; a loop that was closed at shutdown counts nothing any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(what, *args)


def _looked_at(answer: asyncio.Future[Result]) -> None:
    """Take note of an error that nobody waits for any more, so that asyncio does not complain of it."""
    if not answer.cancelled():
        answer.exception()
