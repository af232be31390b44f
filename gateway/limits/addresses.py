"""What counts as one address of somebody who has not signed in."""

from __future__ import annotations

import ipaddress

#: A provider gives each customer so many bits of an IPv6 address to themselves.
_CUSTOMER_BITS = 64


def network_of(address: str) -> str:
    """Return what counts as one address.

    >>> network_of("2001:db8::1:2"), network_of("192.0.2.7"), network_of("::ffff:192.0.2.7")
    ('2001:db8::/64', '192.0.2.7', '192.0.2.7')
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        # As a socket for both families shows IPv4: all of them would be one network.
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _CUSTOMER_BITS), strict=False))
