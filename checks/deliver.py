"""Take waiting notices to their sinks: at least once, in order within an episode, and no sink waits for another.

A sink is led by one deliverer at a time (a lease, renewed before each notice). A crash between sending and noting it
sends the notice again, with the same id: pagers and Alertmanager see one and the same alert, webhooks an
`Idempotency-Key` they know; only a chat may show a line twice.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import ValidationError

from checks import notices
from checks.notices import NoticeState
from checks.sinks.base import Dead, Fate, Retry, Sent, Sink
from reporting.logs import logger
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import iso

FIRST_BACKOFF_SECONDS = 10.0
MAX_BACKOFF_SECONDS = 3600.0
GIVE_UP_AFTER = timedelta(hours=24)
LEAST_ATTEMPTS = 5
"""Before a notice is given up for its age: one that nobody tried to send for a day is not dead for that."""
LEASE_MARGIN_SECONDS = 30.0
"""Over the time of one notice: for the store, and for clocks that differ."""
MAX_FAILURES = 3
"""In a row, after which a sink is left alone for this time: an outage is not met once for each notice that waits."""
MAX_TURN_SECONDS = 60.0
"""After which a slow sink goes on in the next call: whoever calls has other things to do."""
MAX_SINKS_AT_ONCE = 8
_GONE = "no sink of this name is in the settings any more"
_log = logger("deliver")


class Delivered(NamedTuple):
    """What one call came to."""

    sent: int = 0
    retried: int = 0
    """Failed and to be tried again."""
    dead: int = 0
    """Put aside: refused, too old, or for a sink that is gone."""


def deliver(
    store: SqlStore, sinks: Sequence[Sink], now: datetime, limit: int = 500, *, clock: Callable[[], float] = time.time
) -> Delivered:
    """Send what is due; return what became of it. Safe in any number of processes at once.

    Args:
        store: Where notices wait.
        sinks: Who is told; each in a thread of its own.
        now: What is available later is not due; an attempt counts as made then. Aware.
        limit: Attempts for each sink.
        clock: Seconds since the epoch, for the leases alone.

    Raises:
        StoreError: the store failed. What other sinks have sent is noted all the same.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    runs = [_Run(store, sink, owner, now, limit, clock) for sink in sinks]
    total: Counter[str] = Counter()
    with ThreadPoolExecutor(max(1, min(MAX_SINKS_AT_ONCE, len(runs))), thread_name_prefix="sink") as pool:
        futures = [pool.submit(run.all_due) for run in runs]
    with store.begin() as work:
        names = {sink.name for sink in sinks}
        total["dead"] += notices.bury_orphans(work.connection, names, now - GIVE_UP_AFTER, _GONE)
    errors = [(run.sink.name, error) for run, one in zip(runs, futures, strict=True) if (error := one.exception())]
    for name, error in errors:
        _log.error("sink %s: %s", name, error)
    if errors:
        raise errors[0][1]
    for one in futures:
        total.update(one.result())
    return Delivered(**total)


def backoff_seconds(attempts: int, asked: float | None = None) -> float:
    """Return how long a notice waits after so many failed attempts.

    Args:
        attempts: >= 1: 10 s after the first, doubled with each, at most an hour.
        asked: Seconds the other side asked for; the longer wait counts, at most an hour too.

    Example:
        >>> [backoff_seconds(n) for n in (1, 2, 3, 20)]
        [10.0, 20.0, 40.0, 3600.0]
    """
    own = FIRST_BACKOFF_SECONDS * 2.0 ** min(attempts - 1, 16)
    return float(min(MAX_BACKOFF_SECONDS, max(own, asked or 0.0)))


@dataclass
class _Run:
    """One sink's turn within one call."""

    store: SqlStore
    sink: Sink
    owner: str
    now: datetime
    limit: int
    clock: Callable[[], float]
    counts: Counter[str] = field(default_factory=Counter)

    def all_due(self) -> Counter[str]:
        """Send until nothing is due, the limit or a minute is reached, or the sink has failed too often."""
        failures, until = 0, self.clock() + MAX_TURN_SECONDS
        try:
            for _ in range(self.limit):
                if self.clock() > until:
                    break
                row = self._next()
                if row is None:
                    break
                fate = self._sent(row)
                if not self._settled(row, fate):
                    break  # another deliverer was here: the lease ran out while the sink was slow
                failures = failures + 1 if isinstance(fate, Retry) else 0
                if failures >= MAX_FAILURES or (isinstance(fate, Retry) and fate.after is not None):
                    break
        finally:
            with self.store.begin() as work:
                notices.resign(work.connection, self._lease, self.owner)
        return self.counts

    @property
    def _lease(self) -> str:
        return f"deliver:{self.sink.name}"

    def _next(self) -> Any | None:
        """Return the next row that is ours to send; None where nothing is due, or another deliverer is at work."""
        with self.store.begin() as work:
            seconds = self.sink.timeout_seconds + LEASE_MARGIN_SECONDS
            if not notices.lead(work.connection, self._lease, self.owner, seconds, self.clock()):
                return None
            return notices.next_of(work.connection, self.sink.name, self.now)

    def _sent(self, row: Any) -> Fate:
        try:
            notice = notices.notice_of(row)
        except ValidationError as error:  # written by another version of funnelgate
            return Dead(f"the notice cannot be read: {error.errors(include_url=False, include_input=False)[0]['msg']}")
        return self.sink.send(notice)

    def _settled(self, row: Any, fate: Fate) -> bool:
        with self.store.begin() as work:
            if isinstance(fate, Sent):
                values: dict[str, Any] = {"state": NoticeState.SENT.value, "sent_at": iso(self.now), "error": None}
            elif isinstance(fate, Dead) or self._is_too_old(row):
                values = {"state": NoticeState.DEAD.value, "error": fate.error}
            else:
                wait = backoff_seconds(row.attempts + 1, fate.after)
                values = {"available_at": self.now.timestamp() + wait, "error": fate.error}
                if fate.after is not None:
                    asked = min(MAX_BACKOFF_SECONDS, fate.after)
                    notices.hold_back(work.connection, self.sink.name, self.now.timestamp() + asked)
            if not notices.settle(work.connection, row, **values):
                return False
        self._say(row, fate, values.get("state", NoticeState.WAITING.value))
        return True

    def _is_too_old(self, row: Any) -> bool:
        age = self.now - datetime.fromisoformat(row.created_at)
        return age >= GIVE_UP_AFTER and row.attempts + 1 >= LEAST_ATTEMPTS

    def _say(self, row: Any, fate: Fate, state: str) -> None:
        if isinstance(fate, Sent):
            self.counts["sent"] += 1
            return
        if state == NoticeState.DEAD.value:
            self.counts["dead"] += 1
            _log.error("notice %s is put aside: %s", row.notice_id, fate.error)
            return
        self.counts["retried"] += 1
        _log.warning("notice %s waits, attempt %d: %s", row.notice_id, row.attempts + 1, fate.error)
