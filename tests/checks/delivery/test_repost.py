"""Posting again: what fires stays alive, what is over is said for five minutes, and nobody hears of what is not his."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from checks.deliver import deliver
from checks.incidents import Event, Incident, IncidentState, Severity
from checks.notices import queue_notices
from checks.repost import Reposted, repost
from checks.sinks.opening import open_sinks
from checks.sinks.settings import AlertmanagerSink, LogSink
from reporting.stores.sql import SqlStore
from reporting.stores.sql_work import iso, upsert
from reporting.tables import incident as table
from reporting.testing import MOMENT
from tests.checks.sinks.notice_factory import make_draft, make_incident
from tests.checks.sinks.receiver import Receiver, Reply
from tests.checks.sinks.services import Alertmanager

MINUTE = timedelta(minutes=1)


class World:
    """A store, an Alertmanager that pages only, a log, and a clock."""

    def __init__(self, store: SqlStore, url: str, folder):
        self.store = store
        self.now = MOMENT
        self.settings = (
            AlertmanagerSink(kind="alertmanager", name="am", url=url, interval_seconds=60, severities=("page",)),
            LogSink(kind="log", name="lines", path=Path("lines.log")),
        )
        self.sinks = open_sinks(self.settings, folder, {}, clock=self.clock)

    def clock(self) -> datetime:
        return self.now

    def write(self, one: Incident, event: Event | None = None) -> Incident:
        row = {
            "episode": one.episode,
            "fingerprint": one.fingerprint,
            "date": one.date,
            "state": one.state.value,
            "opened_at": iso(one.opened_at),
            "updated_at": iso(one.updated_at),
            "revision": one.revision,
            "body": one.model_dump_json(),
        }
        with self.store.begin() as work:
            work.connection.execute(upsert(self.store.dialect, table, ["episode"], rises="revision"), row)
            if event is not None:
                queue_notices(work.connection, [make_draft(event, incident=one)], self.settings, self.now)
        return one

    def tick(self) -> Reposted:
        deliver(self.store, self.sinks, self.now)
        return repost(self.store, self.sinks, self.now)


@pytest.fixture
def played(store, tmp_path):
    alertmanager = Alertmanager()
    with Receiver(alertmanager) as receiver:
        yield World(store, receiver.url, tmp_path), alertmanager, receiver
    assert alertmanager.complaints == []


def test_what_fires_stays_alive_from_tick_to_tick_and_ends_when_it_is_resolved(played):
    world, alertmanager, _ = played
    one = world.write(make_incident(), Event.TRIGGER)
    for _ in range(6):
        assert world.tick() == Reposted(1, {})
        world.now += MINUTE
        assert alertmanager.firing(world.now) == [one.episode]
    done = one.changed(world.now, state=IncidentState.RESOLVED, closed_at=world.now)
    world.write(done, Event.RESOLVE)
    world.tick()
    assert alertmanager.firing(world.now) == []


def test_what_is_over_is_posted_for_five_minutes_more_so_that_a_restart_loses_no_end(played):
    world, alertmanager, receiver = played
    one = world.write(make_incident(), Event.TRIGGER)
    world.tick()
    world.write(one.changed(world.now, state=IncidentState.RESOLVED, closed_at=world.now), Event.RESOLVE)
    for minute in range(6):
        alertmanager.alerts.clear()  # it restarted
        assert world.tick() == Reposted(1, {}), minute
        assert len(alertmanager.alerts) == 1
        assert alertmanager.firing(world.now) == []
        world.now += MINUTE
    before = len(receiver.requests)
    assert world.tick() == Reposted(0, {})
    assert len(receiver.requests) == before


def test_nothing_is_posted_of_what_the_sink_was_not_told(played):
    world, alertmanager, _ = played
    world.write(make_incident("quiet", state=IncidentState.PENDING))
    world.write(make_incident("impact only"))
    world.write(make_incident("warning", severity=Severity.WARN), Event.TRIGGER)
    assert world.tick() == Reposted(0, {})
    assert alertmanager.alerts == {}


def test_an_acknowledged_incident_stays_alive(played):
    world, alertmanager, _ = played
    one = world.write(make_incident(), Event.TRIGGER)
    world.tick()
    world.write(one.changed(world.now, state=IncidentState.ACKNOWLEDGED))
    for _ in range(5):
        world.now += MINUTE
        world.tick()
    assert alertmanager.firing(world.now) == [one.episode]


def test_a_sink_that_fails_is_named_with_its_error(store, tmp_path):
    with Receiver() as receiver:
        world = World(store, receiver.url, tmp_path)
        world.write(make_incident(), Event.TRIGGER)
        world.tick()
        receiver.answer = lambda _: Reply(503, b"starting")
        found = world.tick()
    assert found.posted == 0
    assert found.errors == {"am": f"{receiver.url} answered 503: starting"}
