"""A proxy before a real server whose network can be made to fail, while the test runs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from tests.servers import faults
from tests.servers.faults import Fault, Schedule
from tests.servers.relay import Exchange, Relay


class FaultProxy(Relay):
    """Passes requests on to `upstream_url` and does the fault that was set last to those of the matching paths.

    `requests` counts all requests by path (without query) as they arrive; `faults` counts faults by name once the
    server has done its part. Faults are switched from the test's thread at any time and hold for requests that arrive
    later.
    """

    def __init__(self, upstream_url: str, *, match: str = "_bulk", everything: bool = False) -> None:
        """Start it without a fault.

        Args:
            upstream_url: Address of the server, `http://HOST:PORT`.
            match: Only requests whose path contains this have faults.
            everything: All requests have faults.
        """
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._match = "" if everything else match
        self._changed = threading.Condition()
        self._schedule: Schedule = lambda number, path: faults.PASS
        self._number = 0
        super().__init__(upstream_url)

    def pass_through(self) -> None:
        """No fault."""
        self.use(faults.PASS)

    def refuse(self) -> None:
        """Cut every connection and refuse new ones, as a host that is down, until another fault or none is set."""
        self._shut()

    def drop_request(self) -> None:
        """Cut the connection before the server has seen the request."""
        self.use(faults.DROP_REQUEST)

    def drop_response(self) -> None:
        """Have the server do the work, then cut the connection without an answer."""
        self.use(faults.DROP_RESPONSE)

    def half_response(self) -> None:
        """Have the server do the work, then cut the connection in the middle of its answer."""
        self.use(faults.HALF_RESPONSE)

    def answer(self, status: int, body: bytes | str | None = None, headers: Mapping[str, str] | None = None) -> None:
        """Answer without the server; without a body as Elasticsearch words that status."""
        self.use(faults.answer(status, body, headers))

    def item_429(self, ratio: float, seed: int) -> None:
        """Refuse each item of a bulk request with probability `ratio`; the server does the others."""
        self.use(faults.item_429(ratio, seed))

    def slow(self, seconds: float) -> None:
        """Hold the server's answers back."""
        self.use(faults.slow(seconds))

    def use(self, fault: Fault) -> None:
        """Do this fault to every matching request."""
        self.schedule(lambda number, path: fault)

    def schedule(self, choose: Schedule) -> None:
        """Have `choose` say what each matching request gets; it is given the request's number, from 1, and path.

        It is called by one thread at a time.
        """
        with self._changed:
            self._schedule = choose
            self._number = 0
        self._open()

    def await_faults(self, count: int = 1, name: str | None = None, timeout: float = 60.0) -> None:
        """Wait until `count` faults in all, or of that name, were done.

        Raises:
            AssertionError: they were not within `timeout` seconds.
        """
        with self._changed:
            reached = self._changed.wait_for(
                lambda: (self.faults.total() if name is None else self.faults[name]) >= count, timeout
            )
            assert reached, f"no {count} faults {name or ''} within {timeout} s: {dict(self.faults)}"

    def handle(self, exchange: Exchange) -> None:
        path = exchange.path_only
        with self._changed:
            self.requests[path] += 1
            fault = faults.PASS
            if self._match in path:
                self._number += 1
                fault = self._schedule(self._number, path)
        fault.act(exchange, lambda: self._note(fault.name))

    def _note(self, name: str) -> None:
        with self._changed:
            self.faults[name] += 1
            self._changed.notify_all()
