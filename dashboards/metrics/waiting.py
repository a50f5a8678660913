"""What waits: documents for Elasticsearch, and units of work."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from dashboards.metrics.families import QUEUE_STATES

if TYPE_CHECKING:
    from reporting.outbox import OutboxStatus
    from reporting.stores.sql import SqlStore


class QueueDepth(NamedTuple):
    """Units of work that are not done."""

    units: Mapping[str, int]
    """By state: all of `QUEUE_STATES`."""
    expired: int
    """Running, with a lease that has run out."""


def outbox_status(store: SqlStore) -> OutboxStatus:
    """Return how much of the outbox waits.

    Raises:
        StoreError: the store cannot be read.
    """
    from reporting.outbox_sql import SqlOutbox

    return SqlOutbox(store).status()


def queue_depth(store: SqlStore, now: datetime) -> QueueDepth:
    """Return how much work is not done; what is done is not counted, for that grows with every day.

    Raises:
        StoreError: the store cannot be read.
    """
    from sqlalchemy import func, select

    from reporting import tables as t

    c = t.instance.c
    by_state = select(c.state, func.count()).where(c.state.in_(QUEUE_STATES)).group_by(c.state)
    late = select(func.count()).where(c.state == "running", c.lease_until < now.timestamp())
    with store.read() as connection:
        found = {state: int(count) for state, count in connection.execute(by_state)}
        expired = int(connection.execute(late).scalar_one())
    return QueueDepth({state: found.get(state, 0) for state in QUEUE_STATES}, expired)
