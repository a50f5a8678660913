"""Who is let in, and what stands in every answer's head."""

from __future__ import annotations

import logging

import httpx
import pytest

from tests.dashboards.page.no_sources import NoSources
from tests.dashboards.web.served import live

POLICY = {
    "default-src": "'none'", "img-src": "data:", "style-src": "'unsafe-inline'", "base-uri": "'none'",
    "form-action": "'none'", "frame-ancestors": "'none'",
}  # fmt: skip


class Failing(NoSources):
    """Sources with a fault that is not one of ours."""

    def releases(self):
        raise RuntimeError("secret of the house")


def check_head(answer: httpx.Response) -> None:
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "server" not in answer.headers or "uvicorn" in answer.headers["server"]


def test_every_answer_has_the_headers(client):
    answers = [
        client.get("/"), client.head("/"), client.get("/nothing"), client.get("/" + "a" * 700), client.post("/"),
        client.get("/metrics"), client.get("/healthz"), client.get("/", headers={"Host": "evil.example"}),
    ]  # fmt: skip
    assert [one.status_code for one in answers] == [200, 200, 404, 400, 405, 200, 200, 400]
    for answer in answers:
        check_head(answer)
    assert answers[1].content == b""
    assert answers[4].headers["allow"] == "GET, HEAD"


def test_a_fault_is_a_page_without_its_traceback_and_stands_in_the_log(own_file, caplog):
    with caplog.at_level(logging.ERROR, "funnelgate.web"), live(own_file, Failing()) as client:
        answer = client.get("/release.html")
        assert answer.status_code == 500
        assert "secret" not in answer.text
        check_head(answer)
        assert client.get("/incidents.html").status_code == 200
    assert "secret of the house" in caplog.text


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1:8081", 200), ("localhost", 200), ("[::1]:8081", 200), ("LOCALHOST:1", 200), ("pages.example", 400),
    ("127.0.0.1.evil.example", 400), ("", 400), ("evil.example:8081", 400),
])  # fmt: skip
def test_only_names_of_this_machine_are_answered(client, host, status):
    assert client.get("/healthz", headers={"Host": host}).status_code == status


def test_other_names_are_answered_where_other_machines_are_let_in(own_file):
    with live(own_file, allow_remote=True) as client:
        assert client.get("/healthz", headers={"Host": "pages.example"}).status_code == 200
