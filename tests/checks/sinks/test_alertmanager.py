"""Alertmanager, played by a server that keeps alerts by their labels and ends them by their `endsAt`."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.incidents import Event, IncidentState, Severity
from checks.sinks.alertmanager import AlertmanagerSink
from checks.sinks.base import Dead, Retry, Sent
from checks.sinks.posting import Target
from reporting.testing import MOMENT
from tests.checks.sinks.notice_factory import make_incident, make_notice, make_result
from tests.checks.sinks.receiver import Receiver, Reply
from tests.checks.sinks.services import POSTABLE_ALERTS, Alertmanager, faults

LATER = timedelta(hours=1)
LINKS = {"page": "https://x.example/{episode}", "kibana": "https://k.example/{task}"}


class Clock:
    def __init__(self) -> None:
        self.now = MOMENT

    def __call__(self) -> datetime:
        return self.now


def sink_at(url: str, clock: Clock, **changes) -> AlertmanagerSink:
    target = Target(f"{url}/api/v2/alerts", 10.0)
    return AlertmanagerSink("am", target, interval_seconds=300.0, links=LINKS, clock=clock, **changes)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    alertmanager = Alertmanager()
    with Receiver(alertmanager) as receiver:
        yield receiver, alertmanager
    assert alertmanager.complaints == []


def test_an_incident_fires_until_it_is_resolved(server, clock):
    receiver, alertmanager = server
    sink = sink_at(receiver.url, clock)
    incident = make_incident()
    assert sink.send(make_notice(incident=incident)) == Sent()
    assert alertmanager.firing(clock.now) == [incident.episode]
    clock.now += LATER
    done = incident.changed(clock.now, state=IncidentState.RESOLVED, closed_at=clock.now)
    assert sink.send(make_notice(Event.RESOLVE, incident=done)) == Sent()
    assert alertmanager.firing(clock.now) == []
    assert len(alertmanager.alerts) == 1


def test_what_is_not_posted_again_ends_after_twice_the_interval_and_not_before(server, clock):
    receiver, alertmanager = server
    incident = make_incident()
    sink = sink_at(receiver.url, clock)
    sink.send(make_notice(incident=incident))
    assert alertmanager.firing(MOMENT + timedelta(seconds=599)) == [incident.episode]
    assert alertmanager.firing(MOMENT + timedelta(seconds=601)) == []
    for tick in range(1, 20):
        clock.now = MOMENT + tick * timedelta(seconds=300)
        sink.post([incident])
        assert alertmanager.firing(clock.now + timedelta(seconds=599)) == [incident.episode]


def test_the_labels_hold_nothing_that_changes_within_an_episode(server, clock):
    receiver, alertmanager = server
    sink = sink_at(receiver.url, clock, labels={"team": "vision"})
    first = make_incident(severity=Severity.WARN)
    worse = first.changed(
        MOMENT + LATER,
        severity=Severity.PAGE,
        planids=("daily", "rerun-1"),
        result=make_result(reason="now much worse", sentence="", value=1),
    )
    for event, incident in ((Event.TRIGGER, first), (Event.UPDATE, worse), (Event.ACKNOWLEDGE, worse)):
        assert sink.send(make_notice(event, incident=incident)) == Sent()
    ((labels, alert),) = alertmanager.alerts.items()
    assert dict(labels) == {
        "alertname": "funnelgate_reconcile",
        "check": "funnel-edges",
        "instance": "quality->detect",
        "task": "detect",
        "source": "quality",
        "date": "2026-11-01",
        "episode": first.episode,
        "team": "vision",
    }
    assert alert["annotations"]["severity"] == "page"
    assert alert["annotations"]["summary"] == "now much worse"
    assert alert["generatorURL"] == "https://k.example/detect"


def test_our_own_labels_win_over_those_of_the_settings(clock):
    sink = sink_at("http://127.0.0.1:1", clock, labels={"episode": "fake", "severity": "critical"})
    labels = sink.alert(make_incident(), MOMENT)["labels"]
    assert labels["episode"] == make_incident().episode
    assert labels["severity"] == "critical"


def test_many_incidents_go_in_several_requests(server, clock):
    receiver, alertmanager = server
    incidents = [make_incident(f"edge {n}") for n in range(501)]
    assert sink_at(receiver.url, clock).post(incidents) == Sent()
    assert [len(request.json()) for request in receiver.requests] == [500, 1]
    assert len(alertmanager.firing(clock.now)) == 501


def test_nothing_to_post_is_no_request(server, clock):
    receiver, _ = server
    assert sink_at(receiver.url, clock).post([]) == Sent()
    assert receiver.requests == []


@settings(max_examples=40)
@given(
    reason=st.text(min_size=1, max_size=80),
    category=st.text(min_size=1, max_size=20),
    dimension=st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=8),
    opened=st.integers(-10_000, 10_000),
    closed=st.one_of(st.none(), st.integers(-10_000, 10_000)),
)
def test_every_alert_is_as_documented(reason, category, dimension, opened, closed):
    """Clocks that differ, plans of odd names and reasons of any text included."""
    key = make_result().key.model_copy(update={"group": {f"d{dimension}": category}})
    state = IncidentState.FIRING if closed is None else IncidentState.RESOLVED
    incident = make_incident(
        result=make_result(reason=reason, key=key),
        opened_at=MOMENT + timedelta(seconds=opened),
        state=state,
        runbook="https://wiki.example",
    )
    if closed is not None:
        incident = incident.model_copy(update={"closed_at": MOMENT + timedelta(seconds=closed)})
    alert = sink_at("http://127.0.0.1:1", Clock()).alert(incident, MOMENT)
    assert faults(POSTABLE_ALERTS, [alert]) == []
    assert alert["startsAt"] <= alert["endsAt"]
    assert (alert["endsAt"] <= "2026-11-01T06:00:00.000Z") is (closed is not None)


@pytest.mark.parametrize(("status", "kind"), [(400, Dead), (500, Retry), (503, Retry), (429, Retry)])
def test_what_it_answers_decides_the_notices_fate(clock, status, kind):
    with Receiver(Reply(status, b"why")) as receiver:
        fate = sink_at(receiver.url, clock).send(make_notice())
    assert isinstance(fate, kind)
    assert f"answered {status}: why" in fate.error
