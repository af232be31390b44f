"""The first contact with a Kafka cluster."""

from __future__ import annotations

import socket

from runtime.errors import BrokerUnavailable

_CONNECT_SECONDS = 5.0


def addresses(bootstrap_servers: str) -> list[tuple[str, int]]:
    """Return the hosts and ports of ``host:port,host:port``.

    Raises:
        ValueError: It is not of this form.
    """
    found = []
    for server in bootstrap_servers.split(","):
        host, colon, port = server.strip().rpartition(":")
        if not colon or not host or not port.isdecimal():
            raise ValueError(f"bootstrap servers must be host:port, separated by commas, were {bootstrap_servers!r}")
        found.append((host.strip("[]"), int(port)))
    return found


def require_reachable(bootstrap_servers: str) -> list[str]:
    """Return the servers as kafka-python wants them, once one of them accepts a connection.

    A client of kafka-python that cannot reach its broker leaves its thread and sockets behind; a service that tries
    again all through an outage would gather them. So one look comes first.

    Raises:
        BrokerUnavailable: None does.
        ValueError: They are not of the form ``host:port``.
    """
    faults = []
    for host, port in addresses(bootstrap_servers):
        try:
            socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            faults.append(f"{host}:{port} {error.strerror or error}")
        else:
            return [server.strip() for server in bootstrap_servers.split(",")]
    raise BrokerUnavailable(f"no Kafka broker accepts a connection: {'; '.join(faults)}")
