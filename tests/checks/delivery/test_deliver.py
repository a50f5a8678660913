"""Delivery: at least once, in order within an episode, patient with outages, and no sink waits for another."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from checks.deliver import Delivered, backoff_seconds, deliver
from checks.incidents import Event
from checks.notices import queue_notices
from checks.sinks.base import Dead, Fate, Notice, Retry, Sent
from checks.sinks.settings import LogSink
from reporting.errors import StoreError
from reporting.stores import open_store
from reporting.tables import lease, notice
from reporting.testing import MOMENT
from tests.checks.sinks.notice_factory import make_draft, make_incident

HOUR = timedelta(hours=1)
LIFE = (Event.TRIGGER, Event.UPDATE, Event.ACKNOWLEDGE, Event.RESOLVE)


class Scripted:
    """A sink that answers by a script, then with Sent; it keeps what it was sent."""

    timeout_seconds = 1.0

    def __init__(self, *script: Fate, name: str = "pager"):
        self.name = name
        self.script = list(script)
        self.seen: list[Notice] = []

    def send(self, notice: Notice) -> Fate:
        self.seen.append(notice)
        return self.script.pop(0) if self.script else Sent()

    def said(self) -> list[tuple[str, str]]:
        return [(one.incident.result.instance, one.event.value) for one in self.seen]


def queue(store, *edges: str, events=LIFE, sinks=("pager",), now=MOMENT) -> None:
    incidents = [make_incident(edge) for edge in edges]
    drafts = [make_draft(event, incident=one) for event in events for one in incidents]
    with store.begin() as work:
        queue_notices(work.connection, drafts, [LogSink(kind="log", name=name) for name in sinks], now)


def rows(store):
    with store.read() as connection:
        return connection.execute(select(notice).order_by(notice.c.seq)).all()


def states(store) -> Counter[str]:
    return Counter(row.state for row in rows(store))


def test_everything_is_sent_once_and_in_order(store):
    queue(store, "a", "b")
    sink = Scripted()
    assert deliver(store, [sink], MOMENT) == Delivered(sent=8)
    assert [event for edge, event in sink.said() if edge == "a"] == [event.value for event in LIFE]
    assert deliver(store, [sink], MOMENT + HOUR) == Delivered()
    assert len(sink.seen) == 8
    assert {(row.state, row.attempts, row.sent_at) for row in rows(store)} == {
        ("sent", 1, "2026-11-01T06:00:00.000000+00:00")
    }


def test_a_resolve_never_overtakes_its_trigger_and_others_go_on(store):
    queue(store, "a", "b")
    sink = Scripted(Retry("busy"))
    assert deliver(store, [sink], MOMENT) == Delivered(sent=4, retried=1)
    assert sink.said() == [("a", "trigger"), *(("b", event.value) for event in LIFE)]
    assert deliver(store, [sink], MOMENT + timedelta(seconds=9)) == Delivered()
    assert deliver(store, [sink], MOMENT + timedelta(seconds=10)) == Delivered(sent=4)
    assert sink.said()[-4:] == [("a", event.value) for event in LIFE]


def test_what_was_tried_before_says_so(store):
    queue(store, "a", events=(Event.TRIGGER,))
    sink = Scripted(Retry("busy"), Retry("busy"))
    for hour in range(3):
        deliver(store, [sink], MOMENT + hour * HOUR)
    assert [one.attempts for one in sink.seen] == [0, 1, 2]
    assert len({one.notice_id for one in sink.seen}) == 1


def test_waits_double_up_to_an_hour_and_a_longer_wish_counts_up_to_an_hour_too():
    assert [backoff_seconds(n) for n in range(1, 12)] == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert backoff_seconds(10_000) == 3600
    assert backoff_seconds(1, asked=77.0) == 77
    assert backoff_seconds(5, asked=3.0) == 160
    assert backoff_seconds(1, asked=1e9) == 3600


def test_a_sink_that_asks_to_be_left_alone_is(store):
    queue(store, "a", "b", "c", events=(Event.TRIGGER,))
    sink = Scripted(Retry("too many", after=600.0))
    assert deliver(store, [sink], MOMENT) == Delivered(retried=1)
    assert deliver(store, [sink], MOMENT + timedelta(seconds=599)) == Delivered()
    assert len(sink.seen) == 1
    assert deliver(store, [sink], MOMENT + timedelta(seconds=600)) == Delivered(sent=3)


def test_an_outage_is_not_met_once_for_each_notice(store):
    queue(store, *(f"edge {n}" for n in range(20)), events=(Event.TRIGGER,))
    sink = Scripted(*[Retry("no answer")] * 100)
    assert deliver(store, [sink], MOMENT) == Delivered(retried=3)


def test_what_is_refused_is_put_aside_and_the_episode_goes_on(store):
    queue(store, "a")
    sink = Scripted(Dead("answered 400"))
    assert deliver(store, [sink], MOMENT) == Delivered(sent=3, dead=1)
    first = rows(store)[0]
    assert (first.event, first.state, first.error) == ("trigger", "dead", "answered 400")


def test_after_a_day_of_outage_a_notice_is_given_up(store):
    queue(store, "a", events=(Event.TRIGGER,))
    sink = Scripted(*[Retry("no answer")] * 1000)
    now, attempts = MOMENT, 0
    while states(store)["waiting"]:
        attempts += deliver(store, [sink], now).retried
        now = datetime.fromtimestamp(rows(store)[0].available_at, UTC)
    assert timedelta(hours=24) <= now - MOMENT <= timedelta(hours=26)
    assert 20 <= attempts <= 40
    assert rows(store)[0].error == "no answer"


def test_a_notice_that_nobody_tried_for_days_still_gets_its_tries(store):
    queue(store, "a", events=(Event.TRIGGER,))
    sink = Scripted(*[Retry("no answer")] * 100)
    found = [deliver(store, [sink], MOMENT + timedelta(days=3) + n * HOUR) for n in range(6)]
    assert found == [Delivered(retried=1)] * 4 + [Delivered(dead=1), Delivered()]


def test_what_waits_for_a_sink_that_is_gone_is_put_aside_after_a_day(store):
    queue(store, "a", sinks=("pager", "gone"), events=(Event.TRIGGER,))
    assert deliver(store, [Scripted()], MOMENT + 23 * HOUR) == Delivered(sent=1)
    assert deliver(store, [Scripted()], MOMENT + 25 * HOUR) == Delivered(dead=1)
    assert [(row.sink, row.state) for row in rows(store)] == [("pager", "sent"), ("gone", "dead")]
    assert "no sink of this name" in rows(store)[1].error


def test_a_limit_holds_for_each_sink(store):
    queue(store, "a", "b", "c", sinks=("one", "two"), events=(Event.TRIGGER,))
    sinks = [Scripted(name="one"), Scripted(name="two")]
    assert deliver(store, sinks, MOMENT, limit=2) == Delivered(sent=4)
    assert deliver(store, sinks, MOMENT, limit=2) == Delivered(sent=2)


class Waiting(Scripted):
    """A sink that hangs until it is let go."""

    def __init__(self, name: str):
        super().__init__(name=name)
        self.reached = threading.Event()
        self.release = threading.Event()

    def send(self, notice: Notice) -> Fate:
        self.reached.set()
        assert self.release.wait(60)
        return super().send(notice)


class Releasing(Scripted):
    """A sink that lets another one go once it has sent all of its own."""

    def __init__(self, other: Waiting, count: int):
        super().__init__(name="quick")
        self.other = other
        self.count = count

    def send(self, notice: Notice) -> Fate:
        fate = super().send(notice)
        if len(self.seen) == self.count:
            self.other.release.set()
        return fate


def test_a_sink_that_hangs_holds_up_no_other(store):
    """The hanging sink is let go by the other's last notice: were the two in a row, this would not end."""
    queue(store, "a", sinks=("slow", "quick"))
    slow = Waiting("slow")
    quick = Releasing(slow, len(LIFE))
    assert deliver(store, [slow, quick], MOMENT) == Delivered(sent=8)


def test_a_sink_is_led_by_one_deliverer_at_a_time(store):
    queue(store, "a", "b")
    slow = Waiting("pager")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(deliver, store, [slow], MOMENT)
        assert slow.reached.wait(60)
        second = Scripted()
        assert deliver(store, [second], MOMENT) == Delivered()
        slow.release.set()
        assert first.result() == Delivered(sent=8)
    assert second.seen == []


def test_many_deliverers_at_once_send_each_notice_once(store):
    queue(store, *(f"edge {n}" for n in range(10)))
    sink = Scripted()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: deliver(store, [sink], MOMENT, limit=15), range(12)))
    total = sum(one.sent for one in found) + deliver(store, [sink], MOMENT).sent
    assert total == 40
    assert max(Counter(one.notice_id for one in sink.seen).values()) == 1


def test_a_deliverer_that_died_is_followed_when_its_lease_is_over(store):
    queue(store, "a")
    sink = Scripted()
    with store.begin() as work:
        work.connection.execute(lease.insert().values(name="deliver:pager", owner="dead", until=1000.0))
    assert deliver(store, [sink], MOMENT, clock=lambda: 999.0) == Delivered()
    assert deliver(store, [sink], MOMENT, clock=lambda: 1000.0) == Delivered(sent=4)


def test_a_deliverer_that_lost_its_lease_while_sending_stops_and_settles_nothing(store):
    queue(store, "a", "b")

    class Slow(Scripted):
        def send(self, notice: Notice) -> Fate:
            with store.begin() as work:  # another one took over, sent it, and is at the next
                work.connection.execute(update(lease).values(owner="other", until=1e12))
            deliver(other_store, [Scripted()], MOMENT, clock=lambda: 2e12)
            return super().send(notice)

    other_store = open_store(store.url)
    with other_store:
        slow = Slow()
        assert deliver(store, [slow], MOMENT) == Delivered()
    assert len(slow.seen) == 1
    assert states(store) == {"sent": 8}


def test_a_slow_sink_goes_on_in_the_next_call(store):
    queue(store, "a", "b")
    now = [0.0]

    class Slow(Scripted):
        def send(self, notice: Notice) -> Fate:
            now[0] += 25.0
            return super().send(notice)

    sink = Slow()
    assert deliver(store, [sink], MOMENT, clock=lambda: now[0]) == Delivered(sent=3)
    assert deliver(store, [sink], MOMENT, clock=lambda: now[0]) == Delivered(sent=3)


def test_a_body_that_cannot_be_read_is_put_aside(store):
    queue(store, "a", events=(Event.TRIGGER,))
    with store.begin() as work:
        work.connection.execute(update(notice).values(body='{"episode": "from another version"}'))
    assert deliver(store, [Scripted()], MOMENT) == Delivered(dead=1)
    assert "cannot be read" in rows(store)[0].error


def test_a_fault_in_one_sink_is_raised_after_the_others_have_had_their_turn(store):
    queue(store, "a", sinks=("bad", "good"))

    class Bad(Scripted):
        def send(self, notice: Notice) -> Fate:
            raise StoreError("a fault of ours")

    good = Scripted(name="good")
    with pytest.raises(StoreError, match="a fault of ours"):
        deliver(store, [Bad(name="bad"), good], MOMENT)
    assert len(good.seen) == 4
    with store.begin() as work:
        assert work.connection.execute(select(lease.c.name)).all() == []


@pytest.fixture(scope="module")
def one_store(tmp_path_factory):
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('deliver') / 'store.db'}") as found:
        yield found


FATES = st.sampled_from([Sent(), Sent(), Retry("later"), Retry("wait", after=100.0), Dead("never")])


@pytest.mark.slow
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(FATES, max_size=30),
    batches=st.lists(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, min_size=1), min_size=1, max_size=4),
    hours=st.lists(st.floats(0, 3), min_size=4, max_size=4),
)
def test_whatever_a_sink_answers_all_is_told_in_order_and_once(one_store, script, batches, hours):
    with one_store.begin() as work:
        work.connection.execute(delete(notice))
    sink = Scripted(*script)
    now = MOMENT
    counts: Counter[str] = Counter()
    for event, (edges, hour) in zip(LIFE, zip(batches, hours, strict=False), strict=False):
        queue(one_store, *edges, events=(event,), now=now)
        counts.update(deliver(one_store, [sink], now)._asdict())
        now += hour * HOUR
    for _ in range(40):
        counts.update(deliver(one_store, [sink], now)._asdict())
        now += HOUR / 2
    found = rows(one_store)
    assert {row.state for row in found} <= {"sent", "dead"}
    assert counts["sent"] + counts["dead"] == len(found)
    assert counts["sent"] + counts["retried"] + counts["dead"] == len(sink.seen)
    order = [row.notice_id for row in found]
    for edge in "abc":
        mine = [order.index(one.notice_id) for one in sink.seen if one.incident.result.instance == edge]
        assert mine == sorted(mine)
