"""What pages and nobody takes is told again, once an interval; nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from checks.deliver import deliver
from checks.incidents import Event, Incident, IncidentState, Notified, Said, Severity, Snooze
from checks.notices import notice_of, queue_notices
from checks.reminders import remind
from checks.sinks.base import Fate, Notice, Retry, Sent
from checks.sinks.message import title
from checks.sinks.settings import AlertmanagerSink, LogSink, SinkSettings
from reporting.stores.sql_work import iso, upsert
from reporting.tables import incident as incident_table
from reporting.tables import notice
from reporting.testing import MOMENT
from tests.checks.sinks.notice_factory import make_draft, make_incident

HOUR = timedelta(hours=1)
AFTER = 4 * HOUR
PAGER = LogSink(kind="log", name="pager")
PAGES = LogSink(kind="log", name="pages", severities=("page",))
ALERTS = AlertmanagerSink(kind="alertmanager", name="alerts", url="http://localhost:9093")
ALL: tuple[SinkSettings, ...] = (PAGER, PAGES, ALERTS)
TOLD = Notified(severity=Severity.PAGE, size=None)


def put(store, one: Incident, event: Event | None = Event.TRIGGER, now: datetime = MOMENT) -> Incident:
    """Write an incident as the lifecycle leaves it, with a notice of it."""
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
    with store.begin() as work:
        work.connection.execute(upsert(store.dialect, incident_table, ["episode"]), row)
        if event is not None:
            queue_notices(work.connection, [make_draft(event, incident=one)], ALL, now)
    return one


class Quiet:
    """A sink that takes everything, unless it is down."""

    timeout_seconds = 1.0

    def __init__(self, name: str):
        self.name = name
        self.down = False

    def send(self, _: Notice) -> Fate:
        return Retry("no answer") if self.down else Sent()


SINKS = [Quiet(one.name) for one in ALL]


def tick(store, now: datetime, sinks: Sequence[Quiet] = SINKS) -> int:
    found = remind(store, ALL, now, AFTER)
    deliver(store, sinks, now, clock=now.timestamp)
    return found


def reminders(store) -> list[tuple[str, int, datetime]]:
    """Return (sink, number, when it was sent) of each."""
    with store.read() as connection:
        rows = connection.execute(select(notice).where(notice.c.event == "remind").order_by(notice.c.seq)).all()
    return [(row.sink, notice_of(row).number, datetime.fromisoformat(row.sent_at)) for row in rows]


def test_what_nobody_takes_is_told_again_once_an_interval_and_not_by_alertmanager(store):
    put(store, make_incident(notified=TOLD))
    for number in range(26):
        tick(store, MOMENT + number * HOUR / 2)
    assert reminders(store) == [
        (sink, hours // 4, MOMENT + hours * HOUR) for hours in (4, 8, 12) for sink in ("pager", "pages")
    ]


def test_a_reminder_says_that_nobody_has_it():
    found = Notice(
        notice_id="n",
        sink="pager",
        event=Event.REMIND,
        number=2,
        incident=make_incident(notified=TOLD),
        created_at=MOMENT,
    )
    assert title(found).startswith("[PAGE, nobody has it] quality->detect on ")


BY = Said(by="anna", at=MOMENT)
ASLEEP = Snooze(until=MOMENT + 100 * HOUR, by="anna", at=MOMENT, severity=Severity.PAGE)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": IncidentState.ACKNOWLEDGED, "acknowledged": BY},
        {"acknowledged": BY},
        {"snooze": ASLEEP},
        {"severity": Severity.WARN},
        {"state": IncidentState.RECOVERING},
        {"state": IncidentState.RESOLVED},
        {"state": IncidentState.PENDING},
        {"cause": "another-episode"},
        {"storm": "a-summary"},
        {"notified": None},
    ],
    ids=" ".join,
)
def test_nobody_is_reminded_of_what_somebody_has_or_nobody_was_told_of_alone(one_store, changes):
    with one_store.begin() as work:
        work.connection.execute(delete(notice))
        work.connection.execute(delete(incident_table))
    put(one_store, make_incident(**{"notified": TOLD, **changes}))
    assert tick(one_store, MOMENT) == 0
    assert tick(one_store, MOMENT + 50 * HOUR) == 0


def test_a_summary_of_many_is_reminded_of_and_its_members_are_not(store):
    storm = put(store, make_incident("storm", notified=TOLD, members=("a", "b")))
    put(store, make_incident("a", notified=TOLD, storm=storm.episode), None)
    tick(store, MOMENT)
    assert tick(store, MOMENT + AFTER) == 2
    with store.read() as connection:
        told = connection.execute(select(notice.c.episode).where(notice.c.event == "remind")).scalars().all()
    assert set(told) == {storm.episode}


def test_a_snooze_that_is_over_lets_reminders_go_on(store):
    put(store, make_incident(notified=TOLD, snooze=ASLEEP.model_copy(update={"until": MOMENT + 6 * HOUR})))
    tick(store, MOMENT)
    assert [tick(store, MOMENT + hours * HOUR) for hours in (4, 5.9, 6)] == [0, 0, 2]


def test_what_was_told_meanwhile_puts_the_reminder_off(store):
    one = put(store, make_incident(notified=TOLD))
    tick(store, MOMENT)
    put(store, one, Event.UPDATE, MOMENT + 3 * HOUR)
    tick(store, MOMENT + 3 * HOUR)
    assert [tick(store, MOMENT + hours * HOUR) for hours in (4, 6.9, 7)] == [0, 0, 2]


def test_a_sink_that_was_not_reached_is_reminded_only_after_it_was(store):
    put(store, make_incident(notified=TOLD))
    pager = Quiet("pager")
    pager.down = True
    sinks = [pager, *SINKS[1:]]
    found = [tick(store, MOMENT + hours * HOUR, sinks) for hours in (0, 4, 5)]
    pager.down = False
    found += [tick(store, MOMENT + hours * HOUR, sinks) for hours in (6.5, 8, 10.4, 10.5)]
    assert found == [0, 1, 0, 0, 1, 0, 1]
    assert reminders(store) == [
        ("pages", 1, MOMENT + 4 * HOUR),
        ("pages", 2, MOMENT + 8 * HOUR),
        ("pager", 1, MOMENT + 10.5 * HOUR),
    ]


def test_a_sink_that_has_never_heard_of_it_is_not_reminded(store):
    put(store, make_incident(notified=TOLD))
    tick(store, MOMENT)
    new = LogSink(kind="log", name="new")
    assert remind(store, (new,), MOMENT + AFTER, AFTER) == 0


def test_without_an_interval_nobody_is_reminded(store):
    put(store, make_incident(notified=TOLD))
    tick(store, MOMENT)
    assert remind(store, ALL, MOMENT + 100 * HOUR, None) == 0
    assert remind(store, (ALERTS,), MOMENT + 100 * HOUR, AFTER) == 0


def test_the_longest_name_of_a_reminder_fits_the_table(store):
    longest = LogSink(kind="log", name="s" * 40)
    one = put(store, make_incident(notified=TOLD))
    with store.begin() as work:
        queue_notices(work.connection, [make_draft(Event.REMIND, 999_999, incident=one)], (longest,), MOMENT)
    with store.read() as connection:
        assert max(map(len, connection.execute(select(notice.c.notice_id)).scalars())) <= 128


@pytest.fixture(scope="module")
def one_store(migrated_file, tmp_path_factory):
    from shutil import copy

    from reporting.stores import open_store

    with open_store(f"sqlite:///{copy(migrated_file, tmp_path_factory.mktemp('reminders') / 'store.db')}") as found:
        yield found


STEPS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 3), st.booleans()), max_size=12)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_however_often_somebody_looks_there_is_one_reminder_in_each_interval(one_store, steps):
    """Against a clock beside the page: it rings when four hours have gone by since it last rang.

    Args:
        one_store: Emptied.
        steps: Minutes to the next look, how many look at once, and whether something new was told just before.
    """
    with one_store.begin() as work:
        work.connection.execute(delete(notice))
        work.connection.execute(delete(incident_table))
    one = put(one_store, make_incident(notified=TOLD))
    tick(one_store, MOMENT)
    now = last = MOMENT
    rung, updates = [], 0
    for minutes, watchers, worse in steps:
        now += timedelta(minutes=minutes)
        if worse:
            updates += 1
            with one_store.begin() as work:
                queue_notices(work.connection, [make_draft(Event.UPDATE, updates, incident=one)], ALL, now)
            last = now
        elif now - last >= AFTER:
            rung.append(now)
            last = now
        for _ in range(watchers):
            remind(one_store, ALL, now, AFTER)
        with one_store.begin() as work:  # all is sent at once
            waits = notice.c.state == "waiting"
            work.connection.execute(update(notice).where(waits).values(state="sent", sent_at=iso(now)))
    expected = [(sink, number, moment) for number, moment in enumerate(rung, 1) for sink in ("pager", "pages")]
    assert reminders(one_store) == expected
