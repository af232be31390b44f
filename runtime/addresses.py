"""Which IP addresses are of the internet, and looking a name up to nothing else.

A URL that a caller names may lead into our own network: to a metadata service, a database, the gateway itself. So the
address is judged where the connection is made, with what the name was looked up to: a literal in whatever notation, a
name with several addresses, a redirect and a name that changes its address between two look-ups (DNS rebinding) all
pass this one place. Who connects uses the addresses that are returned, never the name again.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

#: IPv6 addresses that a gateway translates to the IPv4 address in their last 32 bits (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: Not of the internet, and not every Python knows it.
_FURTHER: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocols between machines
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # metadata and configuration of a large cloud, at a public address
        "64:ff9b:1::/48",  # NAT64 within a network (RFC 8215)
        "100::/64",  # thrown away
        "2001::/23",  # protocols between machines, Teredo among them
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segments of a network (RFC 9602)
        "fec0::/10",  # of a site, as once was
    )
)

#: As `socket.getaddrinfo` returns them: family, kind, protocol, name, place.
Found = tuple[Any, Any, int, str, tuple[Any, ...]]


class ForbiddenAddress(Exception):
    """Say that a host lies at an address that is not public."""


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the internet, not of a machine, a network of ours or a group.

    >>> is_public("93.184.215.14"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1")
    (True, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return (
        ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in network for network in _FURTHER)
    )


def look_up(host: str, port: int, is_allowed: Callable[[str], bool]) -> list[Found]:
    """Return the addresses of ``host``, each of which is allowed.

    Raises:
        ForbiddenAddress: One of them is not allowed.
        OSError: It has none.
    """
    found: list[Found] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, place in found:
        if not is_allowed(str(place[0])):
            raise ForbiddenAddress(host)
    return found
