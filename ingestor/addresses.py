"""A session that connects to public addresses alone.

`runtime.addresses` judges them where the connection is made. No proxy is used: it would make the connection in our
stead.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

from runtime.addresses import is_public, look_up


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
    may_lie_anywhere = host.lower() in allowed
    found = look_up(host, connection.port or 0, lambda address: may_lie_anywhere or is_public(address))
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
