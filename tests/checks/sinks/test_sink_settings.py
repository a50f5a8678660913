"""The sinks of funnelgate.yaml: every kind, and errors that say where, what and the nearest name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from checks.incidents import Severity
from checks.sinks.settings import KINDS, Link, Sinks, checked_address
from reporting.errors import ConfigError
from reporting.yaml_source import parse_yaml


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sinks: Sinks = ()


def read(text: str) -> Section:
    return parse_yaml(text, "funnelgate.yaml").to_model(Section)


def one(**fields: Any) -> Any:
    return Section.model_validate({"sinks": [fields]}).sinks[0]


EVERY_KIND = """
sinks:
  - {kind: log, name: lines, path: state/incidents.log}
  - {kind: webhook, name: hook, url_env: HOOK, headers_env: {Authorization: TOKEN}, answer: {errcode: 0}}
  - {kind: alertmanager, name: prometheus, url: "http://alertmanager:9093", labels: {team: vision}}
  - {kind: pagerduty, name: pager, key_file: pager.key, severities: [page]}
  - {kind: apprise, name: mail, url_env: MAIL}
"""


def test_a_file_may_hold_a_sink_of_every_kind():
    found = read(EVERY_KIND).sinks
    assert [sink.kind for sink in found] == list(KINDS)
    assert found[0].severities == ("warn", "page")
    assert found[3].severities == ("page",)


def test_the_severities_are_those_of_incidents():
    with pytest.raises(ValidationError):
        one(kind="log", name="a", severities=["urgent"])
    assert one(kind="log", name="a").severities == tuple(Severity)


FAULTS = [
    ("{kind: logs, name: a}", 2, "unknown kind 'logs'; did you mean log?"),
    ("{name: a}", 2, "unknown kind None"),
    ("{kind: [log], name: a}", 2, "unknown kind ['log']"),
    ("{kind: pagerduty, name: a, key_evn: K}", 2, "unknown key 'key_evn' of a sink of kind pagerduty; did you mean"),
    ("{kind: pagerduty, name: a}", 2, "needs key_env or key_file"),
    ("{kind: pagerduty, name: a, key_env: K, key_file: k}", 2, "needs key_env or key_file, not both"),
    ("{kind: webhook, name: a, url: 'https://h/secret'}", 2, "unknown key 'url' of a sink of kind webhook"),
    ("{kind: pagerduty, name: a, key_env: K, url: 'http://pd/x'}", 2, "url would send in clear text to pd"),
    ("{kind: alertmanager, name: a, url: 'http://am:9093', key_env: K}", 2, "url would send in clear text to am"),
    ("{kind: alertmanager, name: a, url: 'am:9093'}", 2, "url is no address of the form"),
    ("{kind: alertmanager, name: a, url: 'https://am', user: me}", 2, "needs the password"),
    ("{kind: alertmanager, name: a, url: 'https://am/?x=1'}", 2, "url must end with the host or the route prefix"),
    ("{kind: alertmanager, name: a, url: 'https://am', labels: {1x: y}}", 2, "labels.1x"),
    ("{kind: alertmanager, name: a, url: 'https://am', labels: {x: ''}}", 2, "labels.x"),
    ("{kind: webhook, name: a, url_env: U, headers: {'a b': c}}", 2, "'a b' is no name of a header"),
    ("{kind: webhook, name: a, url_env: U, headers: {authorization: geheim}}", 2, "authorization is a secret"),
    ("{kind: webhook, name: a, url_env: U, headers: {X: c}, headers_env: {x: C}}", 2, "stands in both"),
    ("{kind: webhook, name: a, url_env: U, template: t, format: wecom}", 2, "leave `format` out"),
    ("{kind: log, name: A b}", 2, "name"),
    ("{kind: log, name: a, timeout_seconds: 0}", 2, "timeout_seconds"),
    ("{kind: log, name: a, severities: []}", 2, "severities"),
    ("log", 2, "valid dictionary"),
    ("{kind: log, name: a}\n- {kind: log, name: a}", 1, "two sinks are called 'a'"),
]


@pytest.mark.parametrize(("entry", "line", "message"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_is_told_with_its_line_and_the_nearest_name(entry, line, message):
    with pytest.raises(ConfigError) as caught:
        read(f"sinks:\n- {entry}\n")
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"funnelgate.yaml:{line}:")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("name", ["a" * 41, "-a", "a|b", "", "ä"])
def test_a_name_fits_the_id_of_a_notice(name):
    with pytest.raises(ValidationError):
        one(kind="log", name=name)


SAFE = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=4, max_size=12)


@settings(max_examples=30)
@given(user=SAFE, password=SAFE, path=SAFE, scheme=st.sampled_from(["http", "https", "ftp", "mailto"]))
def test_the_fault_of_an_address_never_shows_its_secret_parts(user, password, path, scheme):
    secret = f"{password}XYZ"
    for address in (
        f"{scheme}://{user}:{secret}@host.example/{path}",
        f"{scheme}://[{secret}",
        f"http://h.io/{secret}",
    ):
        with pytest.raises(ValueError) as caught:
            checked_address(address)
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://ho st/geheim", "https://h/geheim\n", "https://h:99999999/geheim", "//h/x", ""]
)
def test_what_is_no_address_is_told(url):
    with pytest.raises(ValueError, match="is no address") as caught:
        checked_address(url)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]:9/x", "https://host/x"])
def test_clear_text_stays_on_this_machine(url):
    assert checked_address(url) == url


def test_there_is_a_schema_for_editors():
    schema = TypeAdapter(Sinks).json_schema()
    assert schema["items"]["discriminator"]["propertyName"] == "kind"
    assert len(schema["items"]["oneOf"]) == len(KINDS)


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("https://kibana/{tsak}", "did you mean task?"),
        ("kibana/{task}", "must begin with https://"),
        ("https://kibana/{task", "without its other half"),
        ("https://kibana/{task}}", "without its other half"),
    ],
)
def test_a_link_names_only_places_that_are_filled_in(link, message):
    with pytest.raises(ValidationError, match=message.replace("?", r"\?")):
        TypeAdapter(Link).validate_python(link)
    assert TypeAdapter(Link).validate_python("https://k/{task}/{date}?e={episode}#a")
