"""Reminders: what pages and is left alone is told again, once an interval, to each sink that was told of it.

As Alertmanager's `repeat_interval`: counted from what the sink was last told of the incident, and ended by an
acknowledgement (reference 6.4: "un-acked after T"). A reminder is a row of the outbox like every notice, numbered by
those before it: the row that a crash, or another watcher, has written already is not written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, func, select

from checks.incidents import Event, Incident, IncidentState, NoticeDraft
from checks.notices import NoticeState, row_of
from checks.sinks.settings import AlertmanagerSink, SinkSettings
from checks.telling import wants_reminder
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import insert_new
from reporting.tables import incident, notice


class Heard(NamedTuple):
    """What a sink has heard of an episode."""

    last: datetime
    """When it was last told: when the notice was taken, or written if it was put aside."""
    waiting: bool
    """Something of it has still to be sent: there is nothing yet to remind of."""
    reminders: int
    """How many there were."""


def remind(store: SqlStore, sinks: Sequence[SinkSettings], now: datetime, after: timedelta | None) -> int:
    """Queue the reminders that are due, in a transaction; return how many there are.

    Args:
        store: Where incidents and notices are kept.
        sinks: Those of the settings.
        now: Aware.
        after: For how long an incident may be left alone, > 0; None: nobody is reminded.

    Raises:
        StoreError: the store cannot be reached.
    """
    reminded = [sink for sink in sinks if is_reminded(sink)]
    if after is None or not reminded:
        return 0
    with store.begin() as work:
        return queue_reminders(work.connection, reminded, now, after)


def is_reminded(sink: SinkSettings) -> bool:
    """Tell whether a sink wants reminders: Alertmanager repeats by itself, as long as an alert is posted again."""
    return not isinstance(sink, AlertmanagerSink)


def queue_reminders(connection: Connection, sinks: Sequence[SinkSettings], now: datetime, after: timedelta) -> int:
    """Write the reminders that are due in the caller's transaction; return how many there are."""
    firing = select(incident.c.body).where(incident.c.state == IncidentState.FIRING.value).order_by(incident.c.episode)
    found = [Incident.model_validate_json(body) for body in connection.execute(firing).scalars()]
    alone = [one for one in found if wants_reminder(one, now)]
    rows = due_reminders(alone, _heard(connection, [one.episode for one in alone]), sinks, now, after)
    if rows:
        connection.execute(insert_new(connection.dialect.name, notice), rows)
    return len(rows)


def due_reminders(
    incidents: Iterable[Incident],
    heard: Mapping[tuple[str, str], Heard],
    sinks: Sequence[SinkSettings],
    now: datetime,
    after: timedelta,
) -> list[dict[str, Any]]:
    """Return the rows of the reminders that are due, in the order of incidents and sinks. Pure.

    Args:
        incidents: Those that want one, see `telling.wants_reminder`.
        heard: What was told before, by (sink, episode); what is not in it was never told, and is not reminded of.
        sinks: Of the settings.
        now: Aware.
        after: For how long an incident may be left alone.
    """
    rows = []
    for one in incidents:
        for sink in sinks:
            before = heard.get((sink.name, one.episode))
            if before is None or before.waiting or now - before.last < after or not is_reminded(sink):
                continue
            draft = NoticeDraft(episode=one.episode, event=Event.REMIND, number=before.reminders + 1, incident=one)
            rows.append(row_of(draft, sink.name, now))
    return rows


def _heard(connection: Connection, episodes: Sequence[str]) -> dict[tuple[str, str], Heard]:
    if not episodes:
        return {}
    c = notice.c
    statement = (
        select(
            c.sink,
            c.episode,
            func.max(func.coalesce(c.sent_at, c.created_at)).label("last"),
            func.sum(case((c.state == NoticeState.WAITING.value, 1), else_=0)).label("waiting"),
            func.sum(case((c.event == Event.REMIND.value, 1), else_=0)).label("reminders"),
        )
        .where(c.episode.in_(episodes))
        .group_by(c.sink, c.episode)
    )
    return {
        (row.sink, row.episode): Heard(datetime.fromisoformat(row.last), bool(row.waiting), int(row.reminders))
        for row in connection.execute(statement)
    }
