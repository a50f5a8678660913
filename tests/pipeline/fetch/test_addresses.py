"""Which addresses are refused: each row of the table at both its ends, the neighbours, and embedded IPv4."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fetch.addresses import REFUSED_NETWORKS, refusal


@pytest.mark.parametrize(("network", "why"), REFUSED_NETWORKS, ids=[str(row[0]) for row in REFUSED_NETWORKS])
def test_both_ends_of_each_network_are_refused_for_its_reason(network, why):
    assert refusal(str(network.network_address)) == why
    assert refusal(str(network.broadcast_address)) == why


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "223.255.255.255",
        "2606:2800:220:1:248:1893:25c8:1946",
        "2a00::1",
        "::ffff:93.184.216.34",
        "64:ff9b::5db8:d822",
        "2002:5db8:d822::1",
    ],
)
def test_public_neighbours_of_refused_networks_are_allowed(address):
    assert refusal(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "::1",
        "::",
        "0.0.0.0",
        "255.255.255.255",
        "169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::1",
        "fe80::1%eth0",
        "ff02::1",
        "239.255.255.250",
    ],
)
def test_known_ways_inside_are_refused(address):
    assert refusal(address) is not None


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_ipv6_disguise(address):
    number = int(address)
    expected = refusal(str(address))
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | number)
    nat64 = ipaddress.IPv6Address((0x64FF9B << 96) | number)
    six_to_four = ipaddress.IPv6Address((0x2002 << 112) | (number << 80))
    assert [refusal(str(disguise)) for disguise in (mapped, nat64, six_to_four)] == [expected] * 3


@given(st.ip_addresses())
def test_whatever_the_standard_library_calls_not_global_is_refused(address):
    embeds_ipv4 = address.version == 6 and (address.ipv4_mapped or address.sixtofour)
    if not address.is_global and not embeds_ipv4:
        assert refusal(str(address)) is not None


def test_what_is_no_address_is_an_error_and_never_allowed():
    with pytest.raises(ValueError, match="does not appear to be"):
        refusal("localhost")
