"""Who may ask which host now: a limit per host name, forgotten when nobody asks it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class _Queue:
    places: asyncio.Semaphore
    users: int = 0


class HostTurns:
    """Hands out at most `limit` turns per host at a time, first come, first served."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queues: dict[str, _Queue] = {}

    def __len__(self) -> int:
        """Return how many hosts somebody asks or waits for."""
        return len(self._queues)

    @asynccontextmanager
    async def turn(self, host: str | None) -> AsyncIterator[Callable[[], None]]:
        """Wait for a turn and yield a function that ends it early; None is no host and never waits."""
        if host is None:
            yield lambda: None
            return
        queue = self._queues.setdefault(host, _Queue(asyncio.Semaphore(self._limit)))
        queue.users += 1
        is_held = False

        def leave() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                queue.places.release()

        try:
            await queue.places.acquire()
            is_held = True
            yield leave
        finally:
            leave()
            queue.users -= 1
            if not queue.users:
                del self._queues[host]
