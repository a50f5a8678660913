"""PagerDuty, played by a server that checks each event against the documented schema and keeps alerts by their key."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.incidents import Event, IncidentState, Severity
from checks.sinks.base import Dead, Retry, Sent
from checks.sinks.pagerduty import PagerDutySink
from checks.sinks.posting import Target
from tests.checks.sinks.notice_factory import make_incident, make_notice, make_result
from tests.checks.sinks.receiver import Receiver, Reply
from tests.checks.sinks.services import EVENT, MAX_EVENT_BYTES, PagerDuty, faults

KEY = "R0123456789abcdef0123456789abcde"
LINKS = {"kibana": "https://k.example/{task}"}


def sink_at(url: str) -> PagerDutySink:
    target = Target(f"{url}/v2/enqueue", 10.0, secrets=(KEY,))
    return PagerDutySink("pager", target, routing_key=KEY, source="vision-prod", links=LINKS)


@pytest.fixture
def server():
    pagerduty = PagerDuty(KEY)
    with Receiver(pagerduty) as receiver:
        yield receiver, pagerduty
    assert pagerduty.complaints == []


def test_one_alert_an_episode_goes_through_its_life(server):
    receiver, pagerduty = server
    sink = sink_at(receiver.url)
    incident = make_incident()
    seen = []
    for event in (Event.TRIGGER, Event.UPDATE, Event.ACKNOWLEDGE, Event.UPDATE, Event.RESOLVE):
        now = incident if event is not Event.RESOLVE else make_incident(state=IncidentState.RESOLVED)
        assert sink.send(make_notice(event, incident=now)) == Sent()
        seen.append(pagerduty.state[incident.episode])
    assert seen == ["triggered", "triggered", "acknowledged", "acknowledged", "resolved"]
    assert pagerduty.opened == [incident.episode]
    assert pagerduty.dropped == []


def test_a_notice_that_is_sent_twice_opens_nothing_new(server):
    receiver, pagerduty = server
    sink = sink_at(receiver.url)
    for _ in range(3):
        assert sink.send(make_notice()) == Sent()
    assert len(pagerduty.opened) == 1


def test_a_storms_summary_is_a_trigger_like_another(server):
    receiver, pagerduty = server
    storm = make_incident(members=("a", "b"))
    assert sink_at(receiver.url).send(make_notice(Event.SUMMARY, incident=storm)) == Sent()
    assert pagerduty.state == {storm.episode: "triggered"}


def test_the_event_says_what_the_pager_shows(server):
    receiver, _ = server
    sink_at(receiver.url).send(make_notice(incident=make_incident(severity=Severity.WARN)))
    event = receiver.requests[0].json()
    payload = event["payload"]
    assert (payload["severity"], payload["source"], payload["component"]) == ("warning", "vision-prod", "detect")
    assert payload["summary"].startswith("[warn] quality->detect on 2026-11-01: 93 % of 41,207 missing images")
    assert payload["custom_details"]["repair"].startswith("funnelgate run --kind rerun")
    assert event["links"] == [{"href": "https://k.example/detect", "text": "kibana"}]


@settings(max_examples=40)
@given(reason=st.text(min_size=1, max_size=3000), sentence=st.text(max_size=3000), instance=st.text(max_size=2000))
def test_every_event_is_as_documented_whatever_the_texts(reason, sentence, instance):
    result = make_result(instance or "x", reason=reason, sentence=sentence)
    incident = make_incident(result=result)
    event = sink_at("http://127.0.0.1:1").event(make_notice(incident=incident))
    assert faults(EVENT, event) == []


def test_an_event_that_would_be_too_large_keeps_all_but_its_details(server):
    receiver, pagerduty = server
    causes = tuple(
        make_result()
        .explain[0]
        .model_copy(update={"where": {"subinstance": tuple(f"{n:04}" * 20 for n in range(900))}})
        for _ in range(9)
    )
    incident = make_incident(result=make_result(explain=causes))
    assert sink_at(receiver.url).send(make_notice(incident=incident)) == Sent()
    assert len(receiver.requests[0].body) < MAX_EVENT_BYTES
    assert pagerduty.state == {incident.episode: "triggered"}


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(400, b'{"status":"invalid event","errors":["Length of routing_key is incorrect"]}'), Dead),
        (Reply(429), Retry),
        (Reply(500), Retry),
    ],
)
def test_what_it_answers_decides_the_notices_fate(reply, kind):
    with Receiver(reply) as receiver:
        fate = sink_at(receiver.url).send(make_notice())
    assert isinstance(fate, kind)
    assert KEY not in fate.error


def test_an_answer_that_repeats_the_key_does_not_show_it():
    with Receiver(Reply(400, f'{{"message": "unknown key {KEY}"}}'.encode())) as receiver:
        fate = sink_at(receiver.url).send(make_notice())
    assert isinstance(fate, Dead)
    assert "unknown key ***" in fate.error
