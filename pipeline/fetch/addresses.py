"""Which IP addresses a download refuses, so that a picture URL cannot reach inside our network (SSRF).

Source: the IANA special-purpose registries for IPv4 (RFC 6890 and its updates) and IPv6, plus the metadata
services of clouds. `ipaddress.is_global` alone misses multicast and addresses embedded in IPv6.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

REFUSED_NETWORKS: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers (RFC 6598); Alibaba's metadata service"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "Azure's host agent, a public address that is not"),
        ("169.254.0.0/16", "link-local; metadata services of AWS, Azure and Google"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments; Oracle's metadata service"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "AMT"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarks"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved; broadcast"),
        ("::/96", "unspecified, loopback, IPv4-compatible"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("100::/64", "discard"),
        ("100:0:0:1::/64", "dummy"),
        ("2001::/23", "protocol assignments; Teredo"),
        ("2001:db8::/32", "documentation"),
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "unique local; AWS's metadata service"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)

# (network, bits to shift right) of IPv6 ranges that carry an IPv4 address, which is judged in its stead.
EMBEDDED_IPV4: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped: the kernel connects to the IPv4 address itself
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)


def refusal(address: str) -> str | None:
    """Return why an address is refused, or None for a public one.

    Args:
        address: An IP address as `getaddrinfo` gives it, without brackets; a zone (`%eth0`) is allowed.

    Raises:
        ValueError: It is not an IP address.

    Example:
        >>> refusal("169.254.169.254")
        'link-local; metadata services of AWS, Azure and Google'
        >>> refusal("::ffff:10.0.0.1")
        'private'
        >>> refusal("93.184.216.34") is None
        True
    """
    parsed: Address = ip_address(address)
    if isinstance(parsed, IPv6Address):
        for embedding, shift in EMBEDDED_IPV4:
            if parsed in embedding:
                parsed = IPv4Address((int(parsed) >> shift) & 0xFFFF_FFFF)
                break
    for network, why in REFUSED_NETWORKS:
        if parsed.version == network.version and parsed in network:
            return why
    # What the registries set aside after this table was written.
    return None if parsed.is_global else "not globally reachable"
