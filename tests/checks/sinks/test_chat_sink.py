"""The apprise sink: against a stand-in that says yes, no and why in the log, and against apprise itself where it is."""

from __future__ import annotations

import json
import logging
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from checks.incidents import Event, IncidentState, Severity
from checks.sinks.base import Dead, Retry, Sent
from checks.sinks.chat import AppriseSink
from reporting.errors import ConfigError
from tests.checks.sinks.notice_factory import make_incident, make_notice, make_result
from tests.checks.sinks.receiver import Receiver, Reply

ADDRESS = "slack://geheim-token-1/geheim-token-2/#oncall"


@dataclass
class Service:
    body_maxlen: int = 32_768
    socket_connect_timeout: float = 4.0
    socket_read_timeout: float = 4.0


class NotifyWeComBot(Service):
    pass


@dataclass
class StandIn:
    """The parts of apprise that are used, with its log."""

    sends: bool = True
    says: str = ""
    knows: bool = True
    service: Service = field(default_factory=Service)
    sent: list[dict[str, Any]] = field(default_factory=list)

    def module(self) -> Any:
        outer = self

        class Apprise(list[Service]):
            def __init__(self, asset: Any) -> None:
                super().__init__()
                assert asset.async_mode is False

            def add(self, address: str) -> bool:
                if outer.knows:
                    self.append(outer.service)
                else:
                    logging.getLogger("apprise").error("Unparseable URL %s", address)
                return outer.knows

            def notify(self, **message: Any) -> bool:
                logging.getLogger("apprise").debug("Slack POST URL: %s", ADDRESS)
                outer.sent.append(message)
                if outer.says:
                    logging.getLogger("apprise").warning(outer.says)
                return outer.sends

        found: Any = types.ModuleType("apprise")
        found.Apprise = Apprise
        found.AppriseAsset = types.SimpleNamespace
        return found


@pytest.fixture
def quiet() -> Iterator[None]:
    log = logging.getLogger("apprise")
    state = log.level, log.propagate, list(log.handlers)
    yield
    log.setLevel(state[0])
    log.propagate, log.handlers = state[1], state[2]


@pytest.fixture
def use(monkeypatch, quiet):
    def install(stand_in: StandIn) -> StandIn:
        monkeypatch.setitem(sys.modules, "apprise", stand_in.module())
        return stand_in

    return install


def test_the_message_has_a_title_and_the_facts(use):
    stand_in = use(StandIn())
    assert AppriseSink("chat", ADDRESS).send(make_notice()) == Sent()
    (message,) = stand_in.sent
    assert message["title"].startswith("[PAGE] quality->detect")
    assert "repair: funnelgate run" in message["body"]
    assert (message["notify_type"], message["body_format"]) == ("failure", "text")


@pytest.mark.parametrize(
    ("event", "state", "severity", "kind"),
    [
        (Event.TRIGGER, IncidentState.FIRING, Severity.WARN, "warning"),
        (Event.UPDATE, IncidentState.FIRING, Severity.PAGE, "failure"),
        (Event.ACKNOWLEDGE, IncidentState.ACKNOWLEDGED, Severity.PAGE, "info"),
        (Event.RESOLVE, IncidentState.RESOLVED, Severity.PAGE, "success"),
    ],
)
def test_its_kind_follows_the_incident(use, event, state, severity, kind):
    stand_in = use(StandIn())
    AppriseSink("chat", ADDRESS).send(make_notice(event, incident=make_incident(state=state, severity=severity)))
    assert stand_in.sent[0]["notify_type"] == kind


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ("Failed to send Slack notification: Unauthorized, error=401.", Dead),
        ("Failed to send Slack notification: Page not found, error=404.", Dead),
        ("Failed to send Slack notification: Too many, error=429.", Retry),
        ("Failed to send Slack notification: error=408.", Retry),
        ("Failed to send Slack notification: error=503.", Retry),
        ("A Connection error occurred sending Slack notification.", Retry),
        ("", Retry),
    ],
)
def test_what_its_log_says_decides_whether_it_is_tried_again(use, says, kind):
    use(StandIn(sends=False, says=says))
    fate = AppriseSink("chat", ADDRESS).send(make_notice())
    assert isinstance(fate, kind)
    assert says.rstrip(".") in fate.error


def test_no_secret_leaves_by_an_error_or_a_log(use, caplog):
    use(StandIn(sends=False, says="no channel for geheim-token-2"))
    with caplog.at_level(logging.DEBUG):
        fate = AppriseSink("chat", ADDRESS).send(make_notice())
        assert isinstance(fate, Retry)
        assert fate.error == "no channel for ***"
        use(StandIn(knows=False))
        with pytest.raises(ConfigError, match="does not know this address") as caught:
            AppriseSink("chat", ADDRESS)
    assert "geheim" not in str(caught.value)
    assert "geheim" not in caplog.text


def test_a_long_message_fits_the_service(use):
    result = make_result(reason="鞋" * 9000, sentence="鞋" * 9000)
    notice = make_notice(incident=make_incident(result=result, runbook="https://w.example"))
    for service, limit in ((Service(body_maxlen=1000), 1000), (NotifyWeComBot(), 2048)):
        stand_in = use(StandIn(service=service))
        AppriseSink("chat", ADDRESS).send(notice)
        (message,) = stand_in.sent
        assert len(f"{message['title']}\r\n{message['body']}".encode()) <= limit
        assert message["body"].endswith(f"(cut) funnelgate incidents show {notice.incident.episode}")


def test_the_time_of_the_sink_is_that_of_the_service(use):
    stand_in = use(StandIn())
    AppriseSink("chat", ADDRESS, timeout_seconds=7.5)
    assert (stand_in.service.socket_connect_timeout, stand_in.service.socket_read_timeout) == (7.5, 7.5)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError, match=r"pip install 'funnelgate\[alerts\]'"):
        AppriseSink("chat", ADDRESS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise's own, when it is imported
@pytest.mark.parametrize(("status", "kind"), [(200, Sent), (404, Dead), (500, Retry)])
def test_apprise_itself_sends_to_a_server_of_ours(quiet, status, kind):
    with Receiver(Reply(status, b"ok")) as receiver:
        sink = AppriseSink("chat", f"json://127.0.0.1:{receiver.port}/geheim-token-1", timeout_seconds=5.0)
        assert isinstance(sink.send(make_notice()), kind)
    sent = json.loads(receiver.requests[0].body)
    assert sent["title"].startswith("[PAGE] quality->detect")
    assert "repair: funnelgate run" in sent["message"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise's own, when it is imported
def test_apprise_itself_knows_the_chats_that_are_named_in_the_manual(quiet):
    for address in (
        "slack://TAAAAAAAA/BBBBBBBBB/cccccccccccccccccccccccc/#oncall",
        "mailto://user:password@example.org?to=oncall@example.org",
        "wecombot://abcdef-0123",
        "feishu://abcdef0123",
        "dingtalk://abcdef0123",
        "workflows://host.example:443/workflow0123/signature0123/",
    ):
        AppriseSink("chat", address)
    with pytest.raises(ConfigError):
        AppriseSink("chat", "nosuch://x")
