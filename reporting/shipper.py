"""The shipper: takes what waits in an outbox to its sink, for as long as it is told to, one shipper at a time.

Memory is bounded by one batch; what cannot be delivered waits on the disk. Back-off has full jitter, so that many
shippers that met the same outage do not come back in step.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from reporting.errors import ConfigError, FunnelgateError
from reporting.logs import logger
from reporting.outbox import Fate, Outbox, Outcome, Sink

_log = logger("shipper")
BATCH_ENTRIES = 5000
BATCH_BYTES = 16 * 2**20
"""Of bodies: what a shipper holds in memory, three times over at its worst."""
LEASE_SECONDS = 60.0
"""Longer than a batch takes at its worst; a shipper that died is followed by another one after that."""
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 60.0
IDLE_SECONDS = 1.0
GRACE_SECONDS = 5.0
"""How long the end of a thread waits for the batch on its way."""


class Did(StrEnum):
    """What one step came to."""

    SHIPPED = "shipped"
    IDLE = "idle"
    """Nothing waits."""
    RETRY = "retry"
    """Something was refused for now, or the cluster could not be reached."""
    BLOCKED = "blocked"
    """An operator must act first."""
    FOLLOWS = "follows"
    """Another shipper holds the lease."""


class Step(NamedTuple):
    """One batch."""

    did: Did
    error: str = ""
    settled: int = 0
    """Entries that left the outbox; more than none also where others of the batch have to wait."""


class ShipReport(BaseModel):
    """What a shipper has done so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delivered: int
    stale: int
    """Older than what was there: nothing to do."""
    poison: int
    conflicts: int
    retries: int
    """Deliveries that have to be repeated."""


class Shipper:
    """Ships batch after batch.

    Args:
        outbox: where entries wait.
        open_sink: connects; called again after an error, so that a cluster that was away is found again.
        owner: who ships; by default host, process and a random part.
        batch: entries at a time.
    """

    def __init__(
        self,
        outbox: Outbox,
        open_sink: Callable[[], Sink],
        *,
        owner: str | None = None,
        batch: int = BATCH_ENTRIES,
        lease_seconds: float = LEASE_SECONDS,
    ):
        self.owner = owner or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._outbox = outbox
        self._open_sink = open_sink
        self._sink: Sink | None = None
        self._batch = batch
        self._lease_seconds = lease_seconds
        self._counts: Counter[Fate] = Counter()

    def step(self) -> Step:
        """Ship one batch."""
        if not self._outbox.lead(self.owner, self._lease_seconds):
            return Step(Did.FOLLOWS, "another shipper is at work")
        entries = self._outbox.peek(self._batch, BATCH_BYTES)
        if not entries:
            return Step(Did.IDLE)
        try:
            outcomes = self.sink().deliver(entries)
        except FunnelgateError as error:
            self._sink = None
            self._counts[Fate.RETRY] += len(entries)
            # No time heals a wrong key or address.
            return Step(Did.BLOCKED if isinstance(error, ConfigError) else Did.RETRY, str(error))
        self._outbox.settle(outcomes)
        return self._judge(outcomes)

    def sink(self) -> Sink:
        """Return the sink, opened when it is first needed, and again after an error.

        Raises:
            FunnelgateError: it cannot be opened now.
        """
        if self._sink is None:
            self._sink = self._open_sink()
        return self._sink

    def _judge(self, outcomes: list[Outcome]) -> Step:
        self._counts.update(outcome.fate for outcome in outcomes)
        errors: dict[Fate, str] = {}
        for outcome in outcomes:
            errors.setdefault(outcome.fate, outcome.error)
            if outcome.fate in (Fate.POISON, Fate.CONFLICT):
                entry = outcome.entry
                _log.error("put aside (%s): %s %s: %s", outcome.fate, entry.topic, entry.document_id, outcome.error)
        settled = sum(outcome.fate not in (Fate.RETRY, Fate.BLOCKED) for outcome in outcomes)
        if Fate.BLOCKED in errors:
            return Step(Did.BLOCKED, errors[Fate.BLOCKED], settled)
        if Fate.RETRY in errors:
            return Step(Did.RETRY, errors[Fate.RETRY], settled)
        return Step(Did.SHIPPED, settled=settled)

    def drain(
        self,
        *,
        seconds: float | None = None,
        stop: threading.Event | None = None,
        on_step: Callable[[Step], None] = lambda _: None,
    ) -> Step:
        """Ship until nothing waits; return the last step: IDLE when all is shipped.

        Args:
            seconds: give up after so long; None: go on through any outage that time may heal.
            stop: ends it early.
            on_step: called after each batch.
        """
        stop = stop or threading.Event()
        until = None if seconds is None else time.monotonic() + seconds
        failures = 0
        while True:
            step = self.step()
            on_step(step)
            late = until is not None and time.monotonic() >= until
            if step.did in (Did.IDLE, Did.BLOCKED, Did.FOLLOWS) or late or stop.is_set():
                return step
            failures = _failures_after(step, failures)
            if failures:
                wait = backoff_seconds(failures)
                stop.wait(wait if until is None else min(wait, max(0.0, until - time.monotonic())))

    def run(self, stop: threading.Event) -> None:
        """Ship for ever: until `stop` is set."""
        failures = 0
        said = ""
        while not stop.is_set():
            try:
                step = self.step()
            except FunnelgateError as error:  # of the outbox itself: its database was busy or away
                step = Step(Did.RETRY, str(error))
            if step.did in (Did.RETRY, Did.BLOCKED):
                failures = _failures_after(step, failures)
                if step.error != said:  # once for each error, not once for each try
                    _log.warning("shipping waits: %s", step.error)
                said = step.error
                stop.wait(backoff_seconds(failures))
                continue
            if said and step.did in (Did.SHIPPED, Did.IDLE):
                _log.info("shipping goes on")
                failures, said = 0, ""
            if step.did is not Did.SHIPPED:
                stop.wait(IDLE_SECONDS if step.did is Did.IDLE else self._lease_seconds / 4)

    def resign(self) -> None:
        """Let another shipper begin at once."""
        self._outbox.resign(self.owner)

    def report(self) -> ShipReport:
        """Return what was done so far."""
        return ShipReport(
            delivered=self._counts[Fate.DELIVERED],
            stale=self._counts[Fate.STALE],
            poison=self._counts[Fate.POISON],
            conflicts=self._counts[Fate.CONFLICT],
            retries=self._counts[Fate.RETRY] + self._counts[Fate.BLOCKED],
        )


def _failures_after(step: Step, failures: int) -> int:
    """Return how many steps in a row have failed; a busy cluster that takes a part of each batch is not away."""
    if step.did not in (Did.RETRY, Did.BLOCKED):
        return 0
    return 1 if step.settled else failures + 1


def backoff_seconds(failures: int) -> float:
    """Return how long to wait after so many failures in a row: exponential, capped, with full jitter."""
    cap = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 16))
    return random.uniform(0.1, 1.0) * cap  # noqa: S311 - jitter, no secret


class ShipperThread:
    """A shipper beside other work: never blocks it, never ends it.

    Args:
        outbox: where entries wait.
        open_sink: see `Shipper`.
    """

    def __init__(self, outbox: Outbox, open_sink: Callable[[], Sink]):
        self._shipper = Shipper(outbox, open_sink)
        self._told = threading.Event()
        self._flush_seconds = 0.0
        self._last = Step(Did.RETRY, "the shipper ended early; its log says why")
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)

    def _run(self) -> None:
        try:
            self._shipper.run(self._told)
            self._last = self._flush()
        except Exception:  # noqa: BLE001 - logged with its trace
            # A bug here must not take the work down, and must not stay unseen: what waits is still in the outbox.
            _log.exception("the shipper thread ended; `funnelgate records ship` takes over what waits")

    def _flush(self) -> Step:
        """Ship what still waits; by this thread, for the sink is its own."""
        try:
            step = self._shipper.drain(seconds=self._flush_seconds) if self._flush_seconds > 0 else Step(Did.IDLE)
            self._shipper.resign()
        except FunnelgateError as error:
            return Step(Did.RETRY, str(error))
        return step

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, flush_seconds: float = 0.0, *, grace_seconds: float = GRACE_SECONDS) -> Step:
        """End, after shipping what still waits for at most `flush_seconds`; return how that went.

        Args:
            flush_seconds: 0 leaves what waits to the next shipper.
            grace_seconds: for the batch on its way. A request to a cluster that hangs cannot be broken off: its thread
                is then left as a kill would leave it, and the next shipper repeats the batch when the lease is over.
        """
        self._flush_seconds = flush_seconds
        self._told.set()
        self._thread.join(timeout=flush_seconds + grace_seconds)
        if self._thread.is_alive():
            return Step(Did.RETRY, "the other side does not answer; what waits stays queued")
        return self._last
