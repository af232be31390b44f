"""A session that connects to public addresses alone.

A URL that a caller names may lead into our own network: to a metadata service, a database, the gateway itself. So the
address is judged where the connection is made, after the name was looked up and with what it was looked up to: a
literal, a name with several addresses, a redirect and a name that changes its address between two look-ups (DNS
rebinding) all pass this one place. No proxy is used: it would make the connection in our stead.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

#: IPv6 addresses that a gateway translates to the IPv4 address in their last 32 bits (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: For protocols between machines; not every Python knows that.
_PROTOCOLS = ipaddress.IPv4Network("192.0.0.0/24")


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
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and ip not in _PROTOCOLS


@dataclass(frozen=True)
class PublicSession:
    """Makes sessions that refuse what is not public, except for hosts that an operator allows.

    Attributes:
        allowed_hosts: Host names or addresses, lower case, that may lie anywhere.
    """

    allowed_hosts: Collection[str] = ()

    def __call__(self) -> requests.Session:
        """Return a new session."""
        session = requests.Session()
        session.trust_env = False  # neither proxies nor passwords of ~/.netrc
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(frozenset(self.allowed_hosts)))
        return session


class _Adapter(HTTPAdapter):
    def __init__(self, allowed_hosts: Collection[str]) -> None:
        self._allowed_hosts = allowed_hosts
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = _pools(self._allowed_hosts)


def _pools(allowed: Collection[str]) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, allowed)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, allowed)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _connect(connection: HTTPConnection, allowed: Collection[str]) -> socket.socket:
    """Return a socket connected to an address that was judged: the name is not looked up again.

    Raises:
        ForbiddenAddress: One of the host's addresses is not public.
        OSError: No address answers, or the host has none.
    """
    host = connection.host.strip("[]")
    found = socket.getaddrinfo(host, connection.port, type=socket.SOCK_STREAM)
    if host.lower() not in allowed:
        for *_, place in found:
            if not is_public(str(place[0])):
                raise ForbiddenAddress(host)
    failure: OSError = OSError("no address")
    for family, kind, protocol, _, place in found:
        attempt = socket.socket(family, kind, protocol)
        try:
            attempt.settimeout(connection.timeout)
            attempt.connect(place)
        except OSError as error:
            attempt.close()
            failure = error
        else:
            return attempt
    raise failure
