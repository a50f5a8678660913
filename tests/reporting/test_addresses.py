"""Which hosts are this machine: the same for settings, keys, proxies and both servers."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.addresses import is_loopback


@pytest.mark.parametrize(("host", "is_ours"), [
    ("127.0.0.1", True), ("127.0.0.0", True), ("127.9.9.9", True), ("127.255.255.255", True),
    ("::1", True), ("0:0:0:0:0:0:0:1", True), ("0000:0000:0000:0000:0000:0000:0000:0001", True),
    ("localhost", True), ("LOCALHOST", True),
    ("126.255.255.255", False), ("128.0.0.0", False), ("0.0.0.0", False), ("10.0.0.1", False), ("::", False),
    ("::2", False), ("::1%lo", False), ("::1%1", False), ("::ffff:127.0.0.1", False), ("::127.0.0.1", False),
    ("[::1]", False), ("127.0.0.1:80", False), ("127.1", False), ("2130706433", False), ("0x7f000001", False),
    ("127.0.0.01", False), ("127.0.0.1.", False), (" 127.0.0.1", False), ("", False),
    ("localhost.", False), ("localhost.localdomain", False), ("ip6-localhost", False), ("sub.localhost", False),
    ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("pages.example", False),
])  # fmt: skip
def test_only_what_no_resolver_can_lead_elsewhere_is_this_machine(host: str, is_ours: bool):
    assert is_loopback(host) is is_ours


@pytest.mark.parametrize("url", ["http://LOCALHOST:80/x", "http://127.0.0.2", "http://[::1]:9200/", "http://u:p@[::1]"])
def test_the_host_of_a_url_is_taken_as_it_is_split(url: str):
    assert is_loopback(urlsplit(url).hostname or "")


@given(st.ip_addresses(v=4))
def test_of_ipv4_it_is_the_first_byte_that_decides(address):
    assert is_loopback(str(address)) is (address.packed[0] == 127)


@given(st.ip_addresses(v=6))
def test_of_ipv6_it_is_one_address(address):
    assert is_loopback(str(address)) is (address.packed == bytes(15) + b"\x01")


@given(st.text(max_size=12))
def test_any_text_has_an_answer(host: str):
    is_loopback(host)
