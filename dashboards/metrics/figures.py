"""Reads every figure of `families`, from the same desk that pages are made at."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from dashboards.metrics.books import book_figures
from dashboards.metrics.families import OTHER, OUTCOMES, PARTS, SEVERITIES, WINDOW_PARTS, Figure
from dashboards.metrics.waiting import outbox_status, queue_depth
from reporting.errors import FunnelgateError, StoreError

if TYPE_CHECKING:
    from dashboards.page.desk import Desk
    from dashboards.shelf import Serving

VERDICT_DAYS = 90
MOST_CATEGORIES = 200
_LOG = logging.getLogger("funnelgate.web")


def figures(serving: Serving, days: int) -> list[Figure]:
    """Return every figure; those of a part that cannot be read are absent, and `part_readable` says so.

    Args:
        serving: Of this moment.
        days: How many of the newest planned days have figures of their own, >= 1.

    Raises:
        StoreError: the store itself cannot be read.
    """
    begun = time.perf_counter()
    found: list[Figure] = []
    readers: dict[str, Callable[[], Iterable[Figure]]] = {
        "books": lambda: book_figures(serving, days),
        "incidents": lambda: _incidents(serving.desk),
        "gate": lambda: _gate(serving.desk),
        "release": lambda: _release(serving.desk),
        "window": lambda: _window(serving.desk),
        "outbox": lambda: _outbox(serving),
        "queue": lambda: _queue(serving),
    }
    for part in PARTS:
        try:
            found += list(readers[part]())
        except (FunnelgateError, OSError, ValueError) as error:  # a damaged manifest must not hide the books
            if part == "books" and isinstance(error, StoreError):
                raise
            _LOG.warning("metrics: %s cannot be read: %s", part, error)
            found.append(Figure("part_readable", 0, (part,)))
        else:
            found.append(Figure("part_readable", 1, (part,)))
    return [*found, Figure("collect_seconds", time.perf_counter() - begun)]


def _incidents(desk: Desk) -> Iterator[Figure]:
    counted = Counter(one.severity for one in desk.open_incidents)
    for severity in SEVERITIES:
        yield Figure("incidents_open", counted[severity], (severity,))


def _gate(desk: Desk) -> Iterator[Figure]:
    if not desk.days:
        return
    verdicts = desk.sources.verdicts(desk.days[-1] - timedelta(days=VERDICT_DAYS - 1), desk.days[-1])
    last = max(verdicts, key=lambda one: one.decided_at, default=None)
    if last is None:
        return
    for outcome in OUTCOMES:
        yield Figure("gate_verdict", int(last.outcome == outcome), (outcome,))
    yield Figure("gate_verdict_timestamp_seconds", last.decided_at.timestamp())
    if "hit@10" in last.metrics:
        yield Figure("gate_hit_at_10_ratio", last.metrics["hit@10"])


def _release(desk: Desk) -> Iterator[Figure]:
    current = next((one for one in desk.sources.releases() if "current" in one.marks), None)
    yield Figure("release_number", 0 if current is None else current.number)
    if current is not None:
        yield Figure("release_rows", current.rows)
        if current.created_at is not None:
            yield Figure("release_timestamp_seconds", current.created_at.timestamp())


def _window(desk: Desk) -> Iterator[Figure]:
    rows: Counter[tuple[str, str]] = Counter()
    window, tail = WINDOW_PARTS
    for one in desk.sources.window().days:
        rows[one.category, tail if one.is_tail else window] += one.rows
    known = sorted({category for category, _ in rows})
    for category in known[MOST_CATEGORIES:]:
        for part in WINDOW_PARTS:
            rows[OTHER, part] += rows[category, part]
    for category in dict.fromkeys([*known[:MOST_CATEGORIES], *([OTHER] if known[MOST_CATEGORIES:] else [])]):
        for part in WINDOW_PARTS:
            yield Figure("window_rows", rows[category, part], (category, part))


def _outbox(serving: Serving) -> Iterator[Figure]:
    status = outbox_status(serving.store)
    yield Figure("outbox_waiting_entries", status.pending)
    yield Figure("outbox_oldest_age_seconds", status.oldest_seconds or 0.0)
    yield Figure("outbox_quarantined_entries", status.quarantined)


def _queue(serving: Serving) -> Iterator[Figure]:
    depth = queue_depth(serving.store, serving.desk.now)
    for state, count in depth.units.items():
        yield Figure("queue_units", count, (state,))
    yield Figure("queue_expired_leases", depth.expired)
