"""Bodies as they come over a real connection: slow, without a length, too large."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from foretopic.ports import free_port
from tests.unit.gateway.world import wait_until

pytestmark = pytest.mark.loopback
BODY_SECONDS = 3.0
_HEAD = "POST /api/v1/projects HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder, port = tmp_path_factory.mktemp("bodies"), free_port()
    environment = {
        **os.environ,
        "FORETOPIC_HOME": str(folder),
        "FORETOPIC_GATEWAY_PORT": str(port),
        "FORETOPIC_GATEWAY_ACCOUNTS": "local",
        "FORETOPIC_GATEWAY_BODY_SECONDS": str(BODY_SECONDS),
        "FORETOPIC_GATEWAY_MAX_BODY_BYTES": "4096",
        "FORETOPIC_GATEWAY_GRACEFUL_STOP_SECONDS": "1",
    }
    log = folder / "log"
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "tests.integration.memory_gateway"]
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, cwd=Path.cwd())
    try:
        wait_until(lambda: _is_up(process, port), f"the gateway, {log}")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _is_up(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None
    try:
        return b" 200 OK" in exchange(port, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    except OSError:
        return False


def exchange(port: int, sent: bytes) -> bytes:
    """Return what comes back until there is a whole answer, or the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        return received(connection)


def received(connection: socket.socket) -> bytes:
    found = b""
    while chunk := connection.recv(65536):
        found += chunk
        head, _, body = found.partition(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if length and len(body) >= int(length[0].split(b":")[1]):
            break
    return found


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_a_body_without_a_length_is_read(port: int) -> None:
    head = f"{_HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()

    answer = exchange(port, head + chunked(b'{"name":"in pieces"}', 5))

    assert answer.startswith(b"HTTP/1.1 201 "), answer


def test_a_body_without_a_length_that_is_too_large_is_refused(port: int) -> None:
    head = f"{_HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()

    answer = exchange(port, head + chunked(b'{"name":"' + b"x" * 10_000 + b'"}', 1000))

    assert answer.startswith(b"HTTP/1.1 413 "), answer
    assert b"/problems/body-too-large" in answer


def test_a_body_that_drips_is_cut_off(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"{_HEAD}Content-Length: 1000\r\n\r\n".encode())
        is_over = threading.Event()

        def drip() -> None:
            while not is_over.wait(0.1):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        answer = received(connection)
        is_over.set()
        dripping.join()

    # Red without `limit_time` in `limits.hooks`: each byte comes in time, the body never.
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert b"/problems/request-timeout" in answer
