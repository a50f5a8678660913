"""Post again what still fires, to sinks whose alerts end by themselves: `checks watch` calls it each tick."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable

from sqlalchemy import or_, select

from checks.incidents import OPEN_STATES, Incident
from checks.notices import NoticeState
from checks.sinks.alertmanager import RESOLVED_FOR
from checks.sinks.base import Fate, Sent, Sink
from reporting.logs import logger
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import iso
from reporting.tables import incident, notice

_log = logger("deliver")


@runtime_checkable
class Reposting(Protocol):
    """A sink whose alerts end unless they are posted again."""

    def post(self, incidents: Sequence[Incident]) -> Fate:
        """Post incidents as they are now."""


class Reposted(NamedTuple):
    """What one call came to."""

    posted: int
    """Incidents, once for each sink."""
    errors: dict[str, str]
    """Sink to what kept it from taking them."""


def repost(store: SqlStore, sinks: Sequence[Sink], now: datetime) -> Reposted:
    """Post what is open, and what has ended less than five minutes ago, to the sinks that were told of it.

    Idempotent: any number of processes may do it at once. What a sink has not been told yet is left to `deliver`.

    Args:
        store: Where incidents and notices are.
        sinks: All; those that need no repetition are left alone.
        now: Aware.
    """
    posted, errors = 0, {}
    for sink in sinks:
        if not isinstance(sink, Reposting):
            continue
        incidents = told_incidents(store, sink.name, now)
        fate = sink.post(incidents)
        if isinstance(fate, Sent):
            posted += len(incidents)
        else:
            errors[sink.name] = fate.error
            _log.warning("sink %s: posting %d incidents again: %s", sink.name, len(incidents), fate.error)
    return Reposted(posted, errors)


def told_incidents(store: SqlStore, sink: str, now: datetime) -> list[Incident]:
    """Return the incidents a sink has been told of that are open or ended within five minutes, the oldest first."""
    since = now - RESOLVED_FOR
    told = select(notice.c.episode).where(notice.c.sink == sink, notice.c.state == NoticeState.SENT.value)
    recent = or_(
        incident.c.state.in_([state.value for state in OPEN_STATES]),
        incident.c.updated_at >= iso(since),
    )
    statement = select(incident.c.body).where(incident.c.episode.in_(told), recent).order_by(incident.c.episode)
    with store.read() as connection:
        found = [Incident.model_validate_json(body) for body in connection.execute(statement).scalars()]
    current = [one for one in found if one.is_open or (one.closed_at is not None and one.closed_at >= since)]
    return sorted(current, key=lambda one: (one.opened_at, one.episode))
