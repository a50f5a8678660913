"""The cluster of the settings as a sink, and shipping to it beside other work.

Here and not in `sink.py`: a sink is handed its client, so that tests and commands decide what it is connected to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reporting.errors import FunnelgateError
from reporting.outbox import Outbox
from reporting.settings import ElasticSettings
from reporting.shipper import Did, Shipper, ShipperThread, Step

if TYPE_CHECKING:
    from reporting.elastic.effective import Registry
    from reporting.elastic.sink import ElasticSink
    from reporting.stores.sql import SqlStore

FLUSH_SECONDS = 10.0
"""How long work that is done waits for what it queued last: a day's tail takes less than one."""
_LAST_ANSWER_SECONDS = 2.0
"""For the batch on its way when the time is over."""
_TRIES_AT_THE_END = 3
"""Refusals in a row that end the waiting early: a cluster that is down does not come back within seconds."""


def open_sink(settings: ElasticSettings, registry: Registry | None = None) -> ElasticSink:
    """Connect to the cluster of the settings, and check that it can take what is shipped.

    Args:
        settings: the section `elastic`; paths are relative to the current folder.
        registry: where the plans are known, usually the SQL store; None: the cluster itself, where a planid that
            nobody registered counts as an open daily plan.

    Raises:
        ConfigError: no or a wrong URL, key or certificate; a server of another major version; not set up.
        StoreError: the cluster cannot be reached.
    """
    from reporting.elastic.client import check, connect
    from reporting.elastic.setup import require_setup
    from reporting.elastic.sink import ElasticSink
    from reporting.stores.elastic import ElasticStore

    client = connect(settings)
    try:
        check(client)
        names = require_setup(client, settings.prefix)
    except BaseException:
        client.close()
        raise
    own = ElasticStore(client, settings.prefix, names) if registry is None else registry
    return ElasticSink(client, settings.prefix, names, own, implicit_plans=registry is None)


@contextmanager
def shipping(
    store: SqlStore, settings: ElasticSettings, tell: Callable[[str], None], *, flush_seconds: float = FLUSH_SECONDS
) -> Iterator[None]:
    """Ship what the store queues, from a thread, for as long as the block runs.

    Nothing that happens to the cluster reaches the block: it waits in the outbox, and the log says why. Without a
    cluster in the settings, or with `elastic.ship: false`, nothing is started.

    Args:
        store: whose outbox; must have been opened with `ships`.
        settings: the section `elastic`, with absolute paths.
        tell: gets one line at the end where something still waits or was put aside.
        flush_seconds: how long the end may take; an interrupted block does not wait.
    """
    if settings.url is None or not settings.ship:
        yield
        return
    from reporting.outbox_sql import SqlOutbox

    outbox = SqlOutbox(store)

    def opened() -> ElasticSink:
        return open_sink(settings, store)

    thread = ShipperThread(outbox, opened)
    thread.start()
    patience = flush_seconds
    try:
        yield
    except KeyboardInterrupt:
        patience = 0.0
        raise
    finally:
        left = what_is_left(outbox, _end(thread, Shipper(outbox, opened), patience), settings.url)
        if left:
            tell(left)


def what_is_left(outbox: Outbox, last: Step, url: str) -> str:
    """Return one line about what an outbox still holds after the shipper's last step, or nothing when it is empty."""
    try:
        status = outbox.status()
    except FunnelgateError as error:
        return f"what waits to be shipped to {url} is not known: {error}"
    parts = []
    if status.pending:
        one = status.pending == 1
        waits = f"{status.pending} {'entry waits' if one else 'entries wait'} to be shipped to {url}"
        why = f" ({' '.join(last.error.split())})" if last.error else ""
        remedy = "" if last.did is Did.FOLLOWS else f"; `funnelgate records ship` ships {'it' if one else 'them'}"
        parts.append(f"{waits}{why}{remedy}")
    if status.quarantined:
        parts.append(
            f"{status.quarantined} refused for good and put aside; `funnelgate records status` tells them and why"
        )
    return "; ".join(parts)


def _end(thread: ShipperThread, rest: Shipper, seconds: float) -> Step:
    """End a thread, then ship the rest; for `seconds` in all, and what the batch on its way takes longer."""
    until = time.monotonic() + seconds
    step = thread.stop(grace_seconds=max(seconds, _LAST_ANSWER_SECONDS))
    left = until - time.monotonic()
    if step.did is not Did.IDLE or left <= 0:
        return step
    return _within(left + _LAST_ANSWER_SECONDS, lambda: _flush(rest, left))


def _flush(shipper: Shipper, seconds: float) -> Step:
    """Ship until nothing waits, the time is over, or the cluster has refused some times in a row."""
    tired = threading.Event()
    failures = 0

    def look(step: Step) -> None:
        nonlocal failures
        failures = failures + 1 if step.did is Did.RETRY and not step.settled else 0
        if failures >= _TRIES_AT_THE_END:
            tired.set()

    try:
        step = shipper.drain(seconds=seconds, stop=tired, on_step=look)
        shipper.resign()
    except FunnelgateError as error:  # of the store: what it still holds is asked, and told, next
        return Step(Did.RETRY, str(error))
    return step


def _within(seconds: float, act: Callable[[], Step]) -> Step:
    """Return what `act` returns; after `seconds` leave it behind, as `ShipperThread.stop` does and for its reason."""
    done: list[Step] = []
    acting = threading.Thread(target=lambda: done.append(act()), name="shipper's end", daemon=True)
    acting.start()
    acting.join(seconds)
    return done[0] if done else Step(Did.RETRY, "the other side does not answer; what waits stays queued")
