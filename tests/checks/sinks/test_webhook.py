"""Webhooks: JSON by default, what a template makes, the robots of five chats, and refusals of status 200."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from checks.incidents import Incident
from checks.sinks.base import Dead, Retry, Sent
from checks.sinks.posting import Target
from checks.sinks.robots import ROBOTS, refusal
from checks.sinks.webhook import WebhookSink, read_template, render
from reporting.errors import ConfigError
from tests.checks.sinks.notice_factory import make_incident, make_notice, make_result
from tests.checks.sinks.receiver import Receiver, Reply

KEY = "geheim-4711-schluessel"
LINKS = {"kibana": "https://k.example/{task}"}


def sink_at(url: str, **changes) -> WebhookSink:
    return WebhookSink("hook", Target(f"{url}/{KEY}", 10.0, secrets=(KEY,)), links=LINKS, **changes)


def posted(notice=None, reply: Reply | None = None, **changes):
    with Receiver(reply) as receiver:
        fate = sink_at(receiver.url, **changes).send(notice or make_notice())
    return fate, [request.json() for request in receiver.requests]


def test_by_default_the_body_is_the_incident():
    notice = make_notice()
    fate, (body,) = posted(notice)
    assert fate == Sent()
    assert Incident.model_validate(body["incident"]) == notice.incident
    assert (body["event"], body["number"], body["notice_id"]) == ("trigger", 1, notice.notice_id)
    assert body["links"] == {"kibana": "https://k.example/detect"}


def test_a_notice_carries_its_id_so_that_the_other_side_knows_it_again():
    with Receiver() as receiver:
        for _ in range(2):
            sink_at(receiver.url).send(make_notice())
    assert {request.headers["idempotency-key"] for request in receiver.requests} == {make_notice().notice_id}


def template_of(tmp_path, text: str):
    (tmp_path / "hook.json.j2").write_text(text)
    return read_template(tmp_path / "hook.json.j2", "checks.sinks hook")


def test_a_template_writes_the_body(tmp_path):
    text = (
        '{"text": {{ title | tojson }}, "who": {{ incident.owner | tojson }}, "all": {{ lines | join("; ") | tojson }}}'
    )
    fate, (body,) = posted(template=template_of(tmp_path, text))
    assert fate == Sent()
    assert body["text"].startswith("[PAGE] quality->detect")
    assert body["who"] is None
    assert "size: 41,207 images missing" in body["all"]


@settings(max_examples=40)
@given(reason=st.text(max_size=100))
def test_no_reason_breaks_out_of_a_template(tmp_path_factory, reason):
    template = template_of(tmp_path_factory.mktemp("t"), '{"why": {{ incident.result.reason | tojson }}}')
    incident = make_incident(result=make_result(reason=reason))
    assert json.loads(render(template, make_notice(incident=incident), {})) == {"why": reason}


BAD_TEMPLATES = [
    "{{ title.__class__.__mro__ }}",
    "{{ ''.__class__.__base__.__subclasses__() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ lines.append('x') }}",
    "{{ incident.update({'episode': 'x'}) }}",
    "{{ incdent.episode | tojson }}",
    "{{ 1 / 0 }}",
    "{{ range(10000000) | list | tojson }}",
    '{"open": ',
    "not json",
    '"{% for i in range(99999) %}xxxxxxxxxxxxxxxx{% endfor %}"',
]


@pytest.mark.parametrize("text", BAD_TEMPLATES)
def test_a_template_reaches_nothing_and_makes_json_or_the_notice_is_put_aside(tmp_path, text):
    fate, bodies = posted(template=template_of(tmp_path, text))
    assert isinstance(fate, Dead)
    assert bodies == []


def test_a_template_that_is_none_is_told_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"hook\.json\.j2:2: no template"):
        template_of(tmp_path, '{\n"a": {{ title | }}\n}')
    with pytest.raises(ConfigError, match="cannot be read"):
        read_template(tmp_path / "absent", "checks.sinks hook")


# Written from the chats' own pages: WeCom 91770, Feishu "custom bot", DingTalk "custom robot", Slack "incoming
# webhooks", Teams "post a workflow when a webhook request is received" with Adaptive Cards 1.4.
TEXT = {"type": "string", "minLength": 1}


def an_object(**properties):
    return {
        "type": "object",
        "required": sorted(properties),
        "additionalProperties": False,
        "properties": properties,
    }


CARD = {
    "type": "object",
    "required": ["type", "version", "body"],
    "properties": {
        "type": {"const": "AdaptiveCard"},
        "body": {"type": "array", "minItems": 1, "items": {"required": ["type", "text"]}},
        "actions": {"type": "array", "items": {"required": ["type", "title", "url"]}},
    },
}
CARDS = {"type": "array", "minItems": 1, "items": {"required": ["contentType"], "properties": {"content": CARD}}}
SCHEMAS = {
    "slack": an_object(text=TEXT),
    "wecom": an_object(msgtype={"const": "markdown"}, markdown=an_object(content=TEXT)),
    "feishu": an_object(msg_type={"const": "text"}, content=an_object(text=TEXT)),
    "dingtalk": an_object(msgtype={"const": "markdown"}, markdown=an_object(title=TEXT, text=TEXT)),
    "teams": an_object(type={"const": "message"}, attachments=CARDS),
}
LIMITS = {"slack": 40_000 * 4, "wecom": 4096, "feishu": 20 * 1024, "dingtalk": 20_000, "teams": 28 * 1024}
TAKEN = {"wecom": b'{"errcode":0,"errmsg":"ok"}', "feishu": b'{"code":0,"data":{},"msg":"success"}'}
TAKEN |= {"dingtalk": TAKEN["wecom"], "slack": b"ok", "teams": b""}
REFUSED = {"wecom": b'{"errcode":45009,"errmsg":"freq"}', "feishu": b'{"code":19024,"msg":"Key Words Not Found"}'}
REFUSED |= {"dingtalk": b'{"errcode":310000,"errmsg":"keywords not in content"}'}


@pytest.mark.parametrize("chat", sorted(ROBOTS))
def test_a_robot_gets_what_it_documents(chat):
    fate, (body,) = posted(format=chat, reply=Reply(200, TAKEN[chat]))
    assert fate == Sent()
    assert list(Draft202012Validator(SCHEMAS[chat]).iter_errors(body)) == []
    assert "93 % of 41,207 missing images" in json.dumps(body)


@pytest.mark.parametrize("chat", sorted(REFUSED))
def test_a_refusal_with_status_200_is_no_success(chat):
    fate, _ = posted(format=chat, reply=Reply(200, REFUSED[chat]))
    assert isinstance(fate, Retry)
    assert "answered 200 but" in fate.error


def size_of(chat: str, body) -> int:
    whole = json.dumps(body, ensure_ascii=False).encode()
    inner = {"wecom": ("markdown", "content"), "dingtalk": ("markdown", "text")}.get(chat)
    return len(whole) if inner is None else len(body[inner[0]][inner[1]].encode())


@pytest.mark.parametrize("chat", sorted(ROBOTS))
@pytest.mark.parametrize("letter", ["x", "鞋", "<", '"', "\\"])
def test_a_message_of_any_length_fits(chat, letter):
    result = make_result(reason=letter * 20_000, sentence=letter * 20_000, repair=letter * 20_000)
    notice = make_notice(incident=make_incident(result=result))
    assert size_of(chat, ROBOTS[chat].body(notice, LINKS)) <= LIMITS[chat]


@pytest.mark.parametrize("chat", ["slack", "wecom", "feishu", "dingtalk"])
@pytest.mark.parametrize("call", ["<!channel>", '<at user_id="all">all</at>', "<@all>"])
def test_no_reason_wakes_a_whole_room(chat, call):
    notice = make_notice(incident=make_incident(result=make_result(reason=f"failed: {call}", sentence=call)))
    assert "<" not in json.dumps(ROBOTS[chat].body(notice, LINKS), ensure_ascii=False)


@pytest.mark.parametrize(
    ("body", "expected", "why"),
    [
        (b'{"errcode": 0}', {"errcode": 0}, None),
        (b'{"errcode": 0, "more": 1}', {"errcode": 0}, None),
        (b"anything", {}, None),
        (b'{"errcode": 1}', {"errcode": 0}, "errcode is 1, expected 0"),
        (b'{"errcode": false}', {"errcode": 0}, "errcode is False, expected 0"),
        (b'{"ok": 1}', {"ok": True}, "ok is 1, expected True"),
        (b"{}", {"errcode": 0}, "errcode is missing, expected 0"),
        (b"[0]", {"errcode": 0}, "the answer is no JSON object"),
        (b"<html>", {"errcode": 0}, "the answer is no JSON object"),
        (b'{"errcode": 0', {"errcode": 0}, "the answer is no JSON object"),
        (b"\xff", {"errcode": 0}, "the answer is no JSON object"),
        (b"[" * 60_000, {"errcode": 0}, "the answer is no JSON object"),
    ],
)
def test_an_answer_must_hold_what_is_expected_of_it(body, expected, why):
    assert refusal(body, expected) == why


def test_the_settings_may_expect_more_of_an_answer():
    fate, _ = posted(answer={"ok": True}, reply=Reply(200, b'{"ok": false, "error": "geheim-4711-schluessel"}'))
    assert isinstance(fate, Retry)
    assert KEY not in fate.error
