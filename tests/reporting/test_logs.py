"""Logs: one JSON object a line in ECS names, with the key bound around it, and without secrets."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.logs import EcsFormatter, log_to, logger, redact, run_key
from reporting.testing import make_record

KEY = make_record("embed", category="shoes", subinstance="0003").key
OTHER = make_record("index", planid="other").key


@pytest.fixture
def lines(tmp_path):
    """Send our logs to a file; return a function that reads them."""
    path = tmp_path / "logs" / "funnelgate.log"
    log_to(path, "DEBUG")
    return lambda: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_has_the_ecs_names(lines):
    logger("worker").warning("took %d of %s", 3, "鞋\nline two")
    (line,) = lines()
    assert line["message"] == "took 3 of 鞋\nline two"
    assert line["log.level"] == "warning"
    assert line["log.logger"] == "funnelgate.worker"
    moment = datetime.fromisoformat(line["@timestamp"])
    assert moment.tzinfo is not None
    assert moment.utcoffset() == datetime.now(UTC).utcoffset()


def test_a_line_carries_the_five_parts_of_the_key_bound_around_it(lines):
    log = logger("worker")
    with run_key(KEY):
        log.info("inside")
        with run_key(OTHER):
            log.info("deeper")
        log.info("inside again")
    log.info("outside")
    inside, deeper, again, outside = lines()
    parts = {f"funnelgate.{part}" for part in ("task", "date", "category", "subinstance", "planid")}
    assert {name: inside[name] for name in parts} == {
        "funnelgate.task": "embed",
        "funnelgate.date": "2026-11-01",
        "funnelgate.category": "shoes",
        "funnelgate.subinstance": "0003",
        "funnelgate.planid": "daily",
    }
    assert {name: again[name] for name in parts} == {name: inside[name] for name in parts}
    assert deeper["funnelgate.planid"] == "other"
    assert not parts & set(outside)


def test_the_former_key_comes_back_when_a_block_raises(lines):
    with pytest.raises(ValueError, match="x"), run_key(KEY):
        raise ValueError("x")
    logger("worker").info("after")
    assert "funnelgate.task" not in lines()[0]


def fail_with(message):
    raise OSError(message)


def test_an_exception_is_its_type_message_and_trace(lines):
    try:
        fail_with("disk full, token=abc123")
    except OSError:
        logger("worker").exception("could not write")
    (line,) = lines()
    assert (line["error.type"], line["error.message"]) == ("OSError", "disk full, token=***")
    assert "fail_with" in line["error.stack_trace"]
    assert "abc123" not in json.dumps(line)


SECRETS = [
    "postgresql://me:geheim@db.example/x",
    "postgresql://me:ge:heim@db.example/x",
    "postgresql+psycopg://me:geheim@[::1]:5432/x",
    "password=geheim",
    "password='geheim'",
    "PASSWORD: geheim",
    "api_key=geheim",
    "api-key: geheim",
    "ELASTIC_PASSWORD=geheim",
    '{"password": "geheim"}',
    '{"api_key":"geheim"}',
    "Authorization: Bearer geheim",
    "Authorization: ApiKey geheim",
    "secret = geheim",
    'password: "ge heim"',
    "https://host/path?token=geheim&x=1",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_hidden_wherever_it_stands(text):
    assert "heim" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text", ["postgresql://db.example/x", "sqlite:///state/x.db", "took 3 of 4 at 10:20", "mail me@example.org", ""]
)
def test_what_is_no_secret_is_left_as_it_is(text):
    assert redact(text) == text


WORDS = st.text("abcXYZ0189!$%_-", min_size=3, max_size=20)


@given(user=WORDS, password=WORDS)
def test_a_password_in_a_url_is_never_shown(user, password):
    url = f"could not reach postgresql://{user}:{password}@db/x today"
    assert redact(url) == f"could not reach postgresql://{user}:***@db/x today"


def test_arguments_are_redacted_too(lines):
    logger("worker").info("opening %s", "postgresql://me:geheim@db/x")
    assert lines()[0]["message"] == "opening postgresql://me:***@db/x"


def test_levels_below_the_chosen_one_are_not_written(tmp_path, lines):
    path = tmp_path / "second.log"
    log_to(path, "ERROR")
    logger("worker").warning("quiet")
    logger("worker").error("loud")
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()] == ["loud"]
    assert lines() == []  # the former file was let go


def test_without_a_file_lines_go_to_standard_error(capsys, lines):
    log_to(None)
    logger("worker").info("hello")
    captured = capsys.readouterr()
    assert json.loads(captured.err)["message"] == "hello"
    assert captured.out == ""


def test_a_value_that_json_does_not_know_does_not_stop_the_log():
    line = logging.LogRecord("funnelgate.x", logging.INFO, __file__, 1, {"day": KEY}, None, None)
    assert json.loads(EcsFormatter().format(line))["message"].startswith("{'day': RunKey(")
