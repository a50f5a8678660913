"""From settings to sinks: what is wrong is known early, and keeps no other sink from its notices."""

from __future__ import annotations

import base64
import subprocess
import sys

import pytest
from pydantic import TypeAdapter

from checks.sinks.base import Retry, Sent
from checks.sinks.opening import UnopenedSink, open_sink, open_sinks
from checks.sinks.settings import Sinks
from reporting.errors import ConfigError
from tests.checks.sinks.notice_factory import make_notice
from tests.checks.sinks.receiver import Receiver
from tests.checks.sinks.services import Alertmanager, PagerDuty

ROUTING_KEY = "0123456789abcdef0123456789abcdef"


def settings(*entries):
    return TypeAdapter(Sinks).validate_python(entries)


def opened(entry, tmp_path, **environ):
    return open_sink(settings(entry)[0], tmp_path, environ)


def test_every_service_is_reached_from_its_settings(tmp_path):
    pagerduty, alertmanager = PagerDuty(ROUTING_KEY), Alertmanager()
    (tmp_path / "key").write_text(f"{ROUTING_KEY}\n")
    with Receiver() as hook, Receiver(alertmanager) as prometheus, Receiver(pagerduty) as pager:
        (tmp_path / "hook").write_text(f"{hook.url}/secret?x=1\n")
        entries = settings(
            {"kind": "log", "name": "lines", "path": "incidents.log"},
            {"kind": "webhook", "name": "hook", "url_file": "hook", "headers_env": {"Authorization": "TOKEN"}},
            {"kind": "alertmanager", "name": "am", "url": f"{prometheus.url}/", "user": "me", "key_env": "PASSWORD"},
            {"kind": "pagerduty", "name": "pager", "key_file": "key", "url": f"{pager.url}/v2/enqueue"},
        )
        environ = {"TOKEN": "Bearer t", "PASSWORD": "pässword"}
        sinks = open_sinks(entries, tmp_path, environ, {"kibana": "https://k.example/{task}"})
        assert [sink.send(make_notice(sink=sink.name)) for sink in sinks] == [Sent()] * 4
    assert [sink.name for sink in sinks] == ["lines", "hook", "am", "pager"]
    assert (tmp_path / "incidents.log").read_text().count("\n") == 1
    assert hook.requests[0].path == "/secret?x=1"
    assert hook.requests[0].headers["authorization"] == "Bearer t"
    basic = prometheus.requests[0].headers["authorization"].removeprefix("Basic ")
    assert base64.b64decode(basic).decode() == "me:pässword"
    assert pagerduty.opened
    assert alertmanager.complaints + pagerduty.complaints == []


FAULTS = [
    ({"kind": "webhook", "url_env": "UNSET"}, {}, "environment variable UNSET is not set"),
    ({"kind": "webhook", "url_env": "U"}, {"U": "http://hooks.example/geheim-1"}, "clear text to hooks.example"),
    ({"kind": "webhook", "url_env": "U"}, {"U": "geheim-1"}, "is no address"),
    ({"kind": "webhook", "url_env": "U", "template": "absent"}, {"U": "https://h/geheim-1"}, "cannot be read"),
    ({"kind": "webhook", "url_env": "U", "template": "bad"}, {"U": "https://h/geheim-1"}, "tried on a sample"),
    ({"kind": "webhook", "url_env": "U", "ca_certs": "absent"}, {"U": "https://h/geheim-1"}, "certificates"),
    ({"kind": "webhook", "url_env": "U", "headers_env": {"X": "V"}}, {"U": "https://h/geheim-1"}, "V is not set"),
    ({"kind": "pagerduty", "key_env": "K"}, {"K": "geheim-1"}, "32 letters and digits, this one 8"),
    ({"kind": "pagerduty", "key_env": "K"}, {"K": "geheim-1" * 4}, "32 letters and digits"),
    ({"kind": "alertmanager", "url": "https://a", "key_env": "K"}, {"K": "geheim-1ä"}, "no header may"),
]


@pytest.mark.parametrize(("entry", "environ", "problem"), FAULTS)
def test_what_is_wrong_is_told_when_it_is_opened_and_without_the_secret(tmp_path, entry, environ, problem):
    (tmp_path / "bad").write_text('{"a": {{ titel | tojson }}}')
    with pytest.raises(ConfigError, match=problem) as caught:
        opened({"name": "broken", **entry}, tmp_path, **environ)
    assert "geheim" not in str(caught.value)
    assert "checks.sinks broken" in str(caught.value)


def test_a_sink_that_cannot_be_opened_lets_its_notices_wait_and_stops_no_other(tmp_path):
    entries = settings({"kind": "pagerduty", "name": "pager", "key_env": "UNSET"}, {"kind": "log", "name": "lines"})
    broken, fine = open_sinks(entries, tmp_path, {})
    assert isinstance(broken, UnopenedSink)
    fate = broken.send(make_notice())
    assert isinstance(fate, Retry)
    assert "UNSET is not set" in fate.error
    assert fine.send(make_notice()) == Sent()


def test_the_settings_load_no_heavy_library():
    code = (
        "import sys, checks.sinks.settings\n"
        "print(sorted({'httpx', 'jinja2', 'sqlalchemy', 'apprise', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
