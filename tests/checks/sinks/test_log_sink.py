"""The log sink: one ECS line a notice, with what an index of logs can filter by."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from checks.incidents import Event, IncidentState, Severity
from checks.sinks.base import Retry, Sent
from checks.sinks.log import LogSink
from reporting.logs import log_to
from reporting.testing import MOMENT
from tests.checks.sinks.notice_factory import make_incident, make_notice, make_result


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_has_the_ecs_names_and_the_key(tmp_path):
    path = tmp_path / "logs" / "incidents.log"
    key = make_result().key.model_copy(update={"group": {"category": "鞋"}})
    notice = make_notice(incident=make_incident(result=make_result(key=key)))
    assert LogSink("lines", path).send(notice) == Sent()
    (line,) = lines_of(path)
    expected = {
        "log.level": "error",
        "log.logger": "funnelgate.incidents",
        "event.kind": "alert",
        "event.action": "trigger",
        "event.id": notice.notice_id,
        "event.start": "2026-11-01T06:00:00+00:00",
        "rule.id": "funnel-edges",
        "funnelgate.task": "detect",
        "funnelgate.date": "2026-11-01",
        "funnelgate.planid": "daily",
        "funnelgate.category": "鞋",
        "funnelgate.incident.episode": notice.incident.episode,
        "funnelgate.incident.where": "93 % of 41,207 missing images: subinstance=0017",
    }
    assert {name: line.get(name) for name in expected} == expected
    assert line["message"].startswith("[PAGE] quality->detect")
    assert "event.end" not in line


@pytest.mark.parametrize(
    ("state", "severity", "level"),
    [
        (IncidentState.FIRING, Severity.PAGE, "error"),
        (IncidentState.FIRING, Severity.WARN, "warning"),
        (IncidentState.RESOLVED, Severity.PAGE, "info"),
    ],
)
def test_the_level_is_that_of_the_incident(tmp_path, state, severity, level):
    path = tmp_path / "incidents.log"
    incident = make_incident(state=state, severity=severity)
    LogSink("lines", path).send(make_notice(Event.UPDATE, incident=incident))
    (line,) = lines_of(path)
    assert line["log.level"] == level
    ended = (MOMENT + timedelta(hours=2)).isoformat() if state is IncidentState.RESOLVED else None
    assert line.get("event.end") == ended


def test_lines_are_added_and_never_broken(tmp_path):
    path = tmp_path / "incidents.log"
    sink = LogSink("lines", path)
    for number in range(1, 4):
        incident = make_incident(result=make_result(reason="a\nb\r\n\x1b[2J"))
        sink.send(make_notice(Event.UPDATE, number, incident=incident))
    assert [line["event.id"].split("|")[2] for line in lines_of(path)] == ["1", "2", "3"]


def test_a_file_that_cannot_be_written_is_tried_again(tmp_path):
    (tmp_path / "file").write_text("")
    fate = LogSink("lines", tmp_path / "file" / "below.log").send(make_notice())
    assert isinstance(fate, Retry)


@pytest.fixture
def product_log(tmp_path):
    path = tmp_path / "funnelgate.log"
    log_to(path)
    return path


def test_without_a_file_it_writes_into_the_log_of_funnelgate(product_log):
    assert LogSink("lines", None).send(make_notice()) == Sent()
    (line,) = lines_of(product_log)
    assert line["message"].startswith("[PAGE] quality->detect")
    assert line["log.logger"] == "funnelgate.incidents"
