"""The encoded API key: where it comes from, and what is refused without being shown."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from reporting.api_key import encoded_api_key
from reporting.errors import ConfigError


def test_a_section_without_a_key_has_none():
    assert encoded_api_key("elastic", None, None) is None


def test_the_environment_goes_before_the_file_and_blanks_around_are_dropped(tmp_path: Path):
    file = tmp_path / "key"
    file.write_text("ZmlsZQ==\n")
    assert encoded_api_key("kibana", None, file) == "ZmlsZQ=="
    assert encoded_api_key("kibana", SecretStr(" Z2l2ZW4= \n"), file) == "Z2l2ZW4="
    assert encoded_api_key("kibana", SecretStr("Z2l2ZW4="), tmp_path / "none") == "Z2l2ZW4="


@given(st.binary(min_size=1, max_size=60), st.booleans())
def test_whatever_base64_gives_is_a_key(data: bytes, url_safe: bool):
    key = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    assert encoded_api_key("elastic", SecretStr(key), None) == key


@pytest.mark.parametrize(("text", "told"), [
    ("", "is empty; expected one encoded API key"), (" \n ", "is empty"),
    ("Z2VoZWlt\nZ2VoZWlt", "has several lines; expected one encoded API key and nothing else"),
    ("geheim geheim", "is not one encoded API key; take the field `encoded` of what created it"),
    ("id:geheim", "take the field `encoded`"), ("geheim===", "one encoded API key"), ("=geheim", "one encoded API key"),
    ("gehéim", "one encoded API key"), ("ApiKey geheim", "one encoded API key"), ("geheim\x00", "one encoded API key"),
])  # fmt: skip
@pytest.mark.parametrize("section", ["elastic", "kibana"])
def test_what_is_no_key_is_refused_with_its_place_and_not_shown(tmp_path: Path, section: str, text: str, told: str):
    file = tmp_path / "key"
    file.write_text(text, encoding="utf-8")
    for key, path, place in (
        (SecretStr(text), None, f"FUNNELGATE_{section.upper()}__API_KEY: "),
        (None, file, f"{section}.api_key_file: {file}: "),
    ):
        with pytest.raises(ConfigError) as caught:
            encoded_api_key(section, key, path)
        assert str(caught.value).startswith(place)
        assert told in str(caught.value)
        assert "geheim" not in str(caught.value)
        assert "gehéim" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, reason in (("binary", "is not text"), ("gone", "No such file or directory"), ("", "Is a directory")):
        with pytest.raises(ConfigError) as caught:
            encoded_api_key("kibana", None, tmp_path / name)
        assert str(caught.value) == f"kibana.api_key_file: {tmp_path / name}: cannot be read: {reason}"
