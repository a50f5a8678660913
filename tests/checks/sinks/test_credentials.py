"""Secrets: found in the environment or a file, and in no error."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from checks.sinks.credentials import hidden_parts, read_secret, scrub
from reporting.errors import ConfigError


def test_a_secret_comes_from_the_environment_or_a_file_without_its_line_end(tmp_path):
    (tmp_path / "key").write_text("geheim-1\n")
    assert read_secret("w", None, Path("key"), {}, tmp_path) == "geheim-1"
    assert read_secret("w", "KEY", None, {"KEY": " geheim-2 "}, tmp_path) == "geheim-2"


@pytest.mark.parametrize(
    ("variable", "file", "problem"),
    [
        ("KEY", None, "environment variable KEY is not set or empty"),
        ("BLANK", None, "environment variable BLANK is not set or empty"),
        ("TWO", None, "more than one line"),
        (None, "absent", "No such file"),
        (None, "empty", "is empty"),
        (None, "binary", "no UTF-8"),
        (None, "two", "more than one line"),
        (None, None, "names neither"),
    ],
)
def test_what_is_wrong_with_a_secret_is_told_without_it(tmp_path, variable, file, problem):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xffgeheim")
    (tmp_path / "two").write_text("geheim\ngeheim")
    environ = {"BLANK": "  ", "TWO": "geheim\r\nInjected: geheim"}
    with pytest.raises(ConfigError) as caught:
        read_secret("checks.sinks a", variable, None if file is None else Path(file), environ, tmp_path)
    assert problem in str(caught.value)
    assert "checks.sinks a" in str(caught.value)
    assert "geheim" not in str(caught.value)


TEXT = st.text(min_size=0, max_size=30)
SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="*"), min_size=6, max_size=20)


@given(secret=SECRET, before=TEXT, after=TEXT)
def test_a_secret_is_hidden_in_every_form_an_address_writes_it(secret, before, after):
    for form in (secret, quote(secret, safe=""), quote_plus(secret)):
        assume(form not in before + "***" + after)
        assert form not in scrub(f"{before}{form}{after}", [secret])


@settings(max_examples=30)
@given(token=st.text("ABCDEFGHIJ0123456789", min_size=6, max_size=30))
def test_the_secret_parts_of_a_chats_address_are_its_path_query_and_user(token):
    for address in (
        f"https://hooks.example/services/T0/{token}",
        f"https://qyapi.example/cgi-bin/webhook/send?key={token}",
        f"slack://{token}@/x/y",
        f"mailto://me:{token}@mail.example?to=b@c.d",
        f"wecombot://{token}/",
    ):
        shown = scrub(f"POST {address} failed", [address])
        assert token not in shown
        assert token not in scrub(f"token {token} is wrong", hidden_parts(address, with_host=True))


def test_an_address_without_a_path_has_no_parts_to_hide():
    assert hidden_parts("http://alertmanager:9093") == ()
