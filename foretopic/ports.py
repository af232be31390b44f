"""TCP ports on the loopback address: which are free, and who has the others."""

from __future__ import annotations

import errno
import random
import socket

from foretopic.errors import PortBusy
from foretopic.processes import describe_owner

LOOPBACK = "127.0.0.1"
#: Below the range from which the kernel takes the ports of outgoing connections: a port stays free over a restart.
_FREE_PORTS = range(20_000, 32_000)
_ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Tell whether we could listen on a port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def is_open(port: int) -> bool:
    """Tell whether somebody accepts connections on a port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def free_port(taken: set[int] | None = None) -> int:
    """Return a port that is free now and not in ``taken``."""
    generator = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        port = generator.choice(_FREE_PORTS)
        if port not in (taken or set()) and is_free(port):
            return port
    raise OSError(errno.EADDRINUSE, f"no free port found between {_FREE_PORTS.start} and {_FREE_PORTS.stop}")


def require_free(port: int, *, user: str, variable: str) -> None:
    """Raise ``PortBusy`` unless we could listen on ``port`` now."""
    if not is_free(port):
        raise PortBusy(port, user, variable, describe_owner(port))
