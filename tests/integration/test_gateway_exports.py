"""A long export under the real server: others are served meanwhile."""

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
from sqlalchemy import insert

from foretopic.ports import free_port
from gateway.migrations.upgrade import upgrade
from gateway.store import open_engine
from gateway.tables import FORECAST_REQUESTS
from tests.unit.gateway.world import wait_until

pytestmark = pytest.mark.loopback
ROWS = 30_000
_EXPORT = b"GET /api/v1/forecasts?format=%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
_SMALL = b"GET /api/v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def fill(folder: Path) -> None:
    engine = open_engine(f"sqlite:///{folder}/gateway.db")
    upgrade(engine)
    rows = [
        {
            "request_id": f"r{number:06d}",
            "series_id": "market/AAPL@1d",
            "time_ms": 1_750_000_000_000 + number,
            "project": "market",
            "requester": "",
            "organisation_id": "",
            "cause": "user",
            "tenant": "market/",
            "model": "market/AAPL-1d",
            "status": "pending",
            "horizon": 1,
        }
        for number in range(ROWS)
    ]
    with engine.begin() as connection:
        connection.execute(insert(FORECAST_REQUESTS), rows)
    engine.dispose()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder, port = tmp_path_factory.mktemp("exports"), free_port()
    fill(folder)
    environment = {
        **os.environ,
        "FORETOPIC_HOME": str(folder),
        "FORETOPIC_GATEWAY_PORT": str(port),
        "FORETOPIC_GATEWAY_ACCOUNTS": "local",
        "FORETOPIC_GATEWAY_GRACEFUL_STOP_SECONDS": "1",
    }
    with (folder / "log").open("wb") as stream:
        command = [sys.executable, "-m", "tests.integration.memory_gateway"]
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, cwd=Path.cwd())
    try:
        wait_until(lambda: _is_up(process, port), f"the gateway, {folder / 'log'}")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _is_up(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None
    try:
        return b" 200 OK" in exchange(port, _SMALL)
    except OSError:
        return False


def exchange(port: int, sent: bytes) -> bytes:
    """Return all that comes until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        found = bytearray()
        while chunk := connection.recv(1 << 20):
            found += chunk
        return bytes(found)


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_an_export_does_not_hold_up_others(port: int, format_: str) -> None:
    """Red with a pause of 0 s in `exports`: one thread serves all, and a fast reader keeps it."""
    exported: list[bytes] = []
    reader = threading.Thread(target=lambda: exported.append(exchange(port, _EXPORT % format_.encode())))
    reader.start()
    served = 0
    while reader.is_alive():
        assert b" 200 OK" in exchange(port, _SMALL)
        served += reader.is_alive()
    reader.join()

    assert served >= 3
    assert b" 200 OK" in exported[0]
    if format_ == "csv":
        assert exported[0].count(b",market/AAPL@1d,") == ROWS
