"""Bodies on their way in: many at a time, for a slow client takes nothing but a little memory, and that is counted.

They do not take the places of those that work: only a request whose body is there is admitted to the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Literal

from pipeline.serve.limits import read_body
from pipeline.serve.refusal import Refusal

CutOff = Literal["reading", "waiting", "running", "client_gone"]
"""Where a request was cut off: its body was still coming, it waited, it ran; or its client had hung up."""


class ClientGone(Exception):
    """The client hung up before its request was there."""


class Intake:
    """How many bodies are held, and their bytes. Lives in one event loop."""

    def __init__(self, most: int, max_bytes: int, cut: Callable[[CutOff], Refusal]) -> None:
        """Start empty.

        Args:
            most: Requests whose body is held or on its way, >= 1.
            max_bytes: Of all of them together, as far as they have arrived, >= 1.
            cut: Counts a request that is cut off and returns what to tell its client.
        """
        self.most, self.max_bytes = most, max_bytes
        self.taken = 0
        """Requests whose body is held or on its way."""
        self.held_bytes = 0
        """Of all of them."""
        self.cut = cut

    def open(self, seconds: float) -> Body:
        """Begin a request that has so much time; use it in a `with` block.

        Raises:
            Refusal: 429: too many have begun.
        """
        if self.taken >= self.most:
            raise _full(f"{self.taken} requests", f"at most {self.most} whose bodies are on their way")
        self.taken += 1
        return Body(self, time.monotonic() + seconds)


class Body:
    """One request's body and the time at which the request is cut off."""

    def __init__(self, intake: Intake, deadline: float) -> None:
        self._intake = intake
        self._bytes = 0
        self.deadline = deadline
        """Of time.monotonic()."""

    def __enter__(self) -> Body:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._intake.taken -= 1
        self._intake.held_bytes -= self._bytes

    async def read(self, chunks: AsyncIterator[bytes], declared: str | None, max_bytes: int) -> bytes:
        """Read the body, as long as there is time; its bytes count until the end of the `with` block.

        Args:
            chunks: As they arrive.
            declared: The Content-Length header.
            max_bytes: Of this one.

        Raises:
            Refusal: As `read_body`. 429: all bodies together are too large. 504: it did not come in time. 499: the
                client has hung up.
        """
        try:
            left = max(0.0, self.deadline - time.monotonic())
            return await asyncio.wait_for(read_body(self._counted(chunks), declared, max_bytes), left)
        except TimeoutError:
            raise self._intake.cut("reading") from None
        except ClientGone:
            raise self._intake.cut("client_gone") from None

    async def _counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        intake = self._intake
        async for chunk in chunks:
            if intake.held_bytes + len(chunk) > intake.max_bytes:
                raise _full(f"{intake.held_bytes} bytes", f"at most {intake.max_bytes} bytes of all bodies together")
            intake.held_bytes += len(chunk)
            self._bytes += len(chunk)
            yield chunk


def _full(found: str, expected: str) -> Refusal:
    return Refusal(
        429, "bodies_full", found=found, expected=expected, do="ask again in 1 s, or let more servers answer",
        headers={"Retry-After": "1", "Connection": "close"},
    )  # fmt: skip
