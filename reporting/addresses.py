"""Which hosts are this machine, so that nothing sent there leaves it."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, ip_address
from typing import Final

_IPV4: Final = IPv4Network("127.0.0.0/8")  # RFC 1122, 3.2.1.3
_IPV6: Final = IPv6Address("::1")  # RFC 4291, 2.5.3


def is_loopback(host: str) -> bool:
    """Tell whether a host is of this machine alone, whatever the resolver says.

    It holds of 127.0.0.0/8, ::1 and the name `localhost`, and of nothing else: not of other names that a resolver
    may lead here or elsewhere (`localhost.`, `ip6-localhost`), of short forms that only some libraries read (`127.1`),
    of an IPv4 address inside an IPv6 one, nor of an address with a zone. `is_loopback` of `ipaddress` differs between
    releases of Python there: `::ffff:127.0.0.1` is one for it from 3.13 on.

    Args:
        host: A name or an address, without brackets and port, as `urlsplit(url).hostname` gives it; "" is none.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, True, False)
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return address in _IPV4 or address == _IPV6
