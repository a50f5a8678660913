"""One POST against a real server on the loopback: every answer, every silence, and never a secret shown."""

from __future__ import annotations

import logging
import ssl
import time

import pytest
import trustme

from checks.sinks.base import Dead, Retry, Sent
from checks.sinks.posting import MAX_ANSWER_BYTES, Answer, Target, checked_target, fate_of, post, retry_after
from reporting.errors import ConfigError
from tests.checks.sinks.receiver import Receiver, Reply, closed_port

KEY = "geheim-4711-schluessel"


def target(url: str, seconds: float = 10.0, **changes) -> Target:
    return Target(f"{url}/hook/{KEY}", seconds, secrets=(f"/hook/{KEY}", KEY), **changes)


def sent_to(receiver: Receiver, seconds: float = 10.0, **changes):
    goal = target(receiver.url, seconds, **changes)
    answer = post(goal, b'{"a": 1}', {"idempotency-key": "n1"})
    return answer if isinstance(answer, Retry) else fate_of(answer, goal)


def test_what_is_posted_arrives_as_it_is():
    with Receiver() as receiver:
        assert sent_to(receiver, headers={"x-team": "vision"}) == Sent()
    (request,) = receiver.requests
    assert (request.method, request.path, request.body) == ("POST", f"/hook/{KEY}", b'{"a": 1}')
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "n1"
    assert request.headers["x-team"] == "vision"


FATES = {
    200: Sent, 201: Sent, 202: Sent, 204: Sent,
    300: Retry, 302: Retry, 304: Retry, 308: Retry,
    400: Dead, 401: Dead, 403: Dead, 404: Dead, 405: Dead, 410: Dead, 413: Dead, 422: Dead,
    408: Retry, 425: Retry, 429: Retry,
    500: Retry, 502: Retry, 503: Retry, 504: Retry, 599: Retry,
}  # fmt: skip


def test_a_status_decides_whether_time_may_heal_it():
    goal = target("https://hooks.example")
    assert {status: type(fate_of(Answer(status), goal)) for status in FATES} == FATES


def test_the_servers_own_words_are_in_the_error_cut_and_without_secrets():
    said = f"no such hook {KEY}\n\x1b[31m" + "x" * 5000
    with Receiver(Reply(404, said.encode())) as receiver:
        fate = sent_to(receiver)
    assert isinstance(fate, Dead)
    assert fate.error.startswith(f"{receiver.url} answered 404: no such hook ***")
    assert fate.error.isprintable()
    assert len(fate.error) < 400


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "9" * 400}, 999_999_999.0),
        ({"retry-after": "Sun, 01 Nov 2026 06:02:00 GMT", "date": "Sun, 01 Nov 2026 06:00:00 GMT"}, 120.0),
        ({"retry-after": "Sun, 01 Nov 2026 05:00:00 GMT", "date": "Sun, 01 Nov 2026 06:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 01 Nov 2026 06:02:00 GMT"}, None),
        ({"retry-after": "Sun, 01 Nov 2026 06:02:00", "date": "Sun, 01 Nov 2026 06:00:00 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "²"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_by_the_servers_clock(headers, seconds):
    assert retry_after(Answer(429, headers)) == seconds


def test_the_wait_that_a_server_asks_for_is_handed_on():
    with Receiver(Reply(429, headers={"Retry-After": "77"})) as receiver:
        fate = sent_to(receiver)
    assert isinstance(fate, Retry)
    assert fate.after == 77.0


@pytest.mark.parametrize("manner", ["silent", "dripping head", "cut"])
def test_without_an_answer_in_time_it_is_tried_again(manner):
    with Receiver(Reply(manner=manner)) as receiver:
        started = time.monotonic()
        fate = sent_to(receiver, seconds=0.3)
        took = time.monotonic() - started
    assert isinstance(fate, Retry)
    assert KEY not in fate.error
    assert receiver.url in fate.error
    # The one limit that matters: a drip every 20 ms would keep a limit between bytes from ever being reached.
    assert took < 60


def test_an_answer_whose_body_never_comes_has_decided_by_its_status():
    with Receiver(Reply(202, b'{"ok"', manner="hanging body")) as receiver:
        assert sent_to(receiver, seconds=0.3) == Sent()


def test_of_a_large_answer_only_the_beginning_is_read():
    with Receiver(Reply(500, b"x" * 10_000_000)) as receiver:
        answer = post(target(receiver.url), b"{}")
    assert isinstance(answer, Answer)
    assert len(answer.body) <= MAX_ANSWER_BYTES + 1_000_000


def test_a_server_that_is_not_there_is_tried_again():
    fate = post(target(f"http://127.0.0.1:{closed_port()}"), b"{}")
    assert isinstance(fate, Retry)
    assert KEY not in fate.error


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_method_is_followed_on_the_same_server(status):
    def answer(request):
        moved = request.path.startswith("/hook")
        return Reply(status, headers={"Location": "/new"}) if moved else Reply(200)

    with Receiver(answer) as receiver:
        assert sent_to(receiver) == Sent()
    assert [request.path for request in receiver.requests] == [f"/hook/{KEY}", "/new"]
    assert receiver.requests[1].body == b'{"a": 1}'


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_is_ever_sent_to_another_server(status):
    with Receiver() as other:
        place = other.url.replace("127.0.0.1", "localhost")
        with Receiver(Reply(status, headers={"Location": f"{place}/{KEY}"})) as receiver:
            fate = sent_to(receiver)
    assert other.requests == []
    assert len(receiver.requests) == 1
    assert isinstance(fate, Retry)
    assert place in fate.error
    assert KEY not in fate.error


def test_redirects_in_a_circle_end():
    with Receiver(lambda request: Reply(307, headers={"Location": request.path})) as receiver:
        assert isinstance(sent_to(receiver), Retry)
    assert len(receiver.requests) <= 5


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def serving(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def test_a_certificate_of_the_named_authority_is_trusted_and_no_other(tmp_path, authority):
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with Receiver(tls=serving(authority, "127.0.0.1")) as receiver:
        assert sent_to(receiver, ca_certs=file) == Sent()
        stranger = sent_to(receiver)
    assert isinstance(stranger, Retry)
    assert "certificate" in stranger.error.lower()
    with Receiver(tls=serving(authority, "other.example")) as impostor:
        assert isinstance(sent_to(impostor, ca_certs=file), Retry)
    assert impostor.requests == []


def test_no_log_line_of_any_library_shows_the_address(caplog):
    with Receiver() as receiver, caplog.at_level(logging.DEBUG):
        sent_to(receiver)
    assert receiver.requests
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": {"authorization": "Bearer schlüssel"}},
        {"url": "https://\ud800/"},
    ],
)
def test_what_can_never_be_sent_is_told_before(changes):
    with pytest.raises(ConfigError, match="characters") as caught:
        checked_target(Target(**{"url": "https://h.example", "seconds": 1.0, **changes}), "checks.sinks a")
    assert "schl" not in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_certificates_that_cannot_be_read_are_told_before(tmp_path):
    (tmp_path / "bad.pem").write_text("no certificate")
    for name in ("absent.pem", "bad.pem"):
        with pytest.raises(ConfigError, match=name):
            checked_target(Target("https://h.example", 1.0, ca_certs=tmp_path / name), "checks.sinks a")


def test_a_proxy_of_the_environment_is_used_but_never_for_this_machine(monkeypatch):
    from checks.sinks import posting

    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    choose = vars(posting)["_proxy"]
    assert choose("https://events.example/x") == "http://proxy.example:3128"
    assert choose("https://inside.example/x") is None
    assert choose("https://127.0.0.1/x") is None
