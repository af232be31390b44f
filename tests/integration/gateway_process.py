"""``python -m gateway`` as a process of its own, and a PostgreSQL server for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import postgres
from foretopic.ports import free_port
from tests.unit.gateway.world import wait_until

_START_SECONDS = 120.0


@dataclass(frozen=True)
class Answer:
    status: int
    content: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class GatewayProcess:
    """Starts, kills and asks a gateway."""

    def __init__(self, kafka: str, prefix: str, home: Path, **settings: str) -> None:
        self.port = free_port()
        self.home = home
        self._log = home / "gateway.log"
        self._environment = {
            **os.environ,
            "FORETOPIC_KAFKA_BOOTSTRAP_SERVERS": kafka,
            "FORETOPIC_TOPIC_PREFIX": prefix,
            "FORETOPIC_HOME": str(home),
            "FORETOPIC_GATEWAY_PORT": str(self.port),
            "FORETOPIC_GATEWAY_ACCOUNTS": "local",
            "FORETOPIC_GATEWAY_GRACEFUL_STOP_SECONDS": "3",
            **{f"FORETOPIC_GATEWAY_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, until: str = "/ready") -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway"], env=self._environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self._process.returncode}: {self.log()[-3000:]}")
            try:
                if self.call("GET", until).status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"no 200 of {until} in {_START_SECONDS} s: {self.log()[-3000:]}")

    def kill(self) -> None:
        """``kill -9`` of the process that a supervisor knows; its worker must follow by itself."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(60)

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self.ask_to_stop()
        return self.wait_for_end()

    def ask_to_stop(self) -> None:
        """SIGTERM, and nothing is waited for."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait_for_end(self) -> int:
        """Return the exit code."""
        assert self._process is not None
        try:
            return self._process.wait(120)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 60.0,
    ) -> Answer:
        """Return the answer, whatever its status; ``OSError`` where there is none."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_seconds) as response:
                return Answer(response.status, response.read(), dict(response.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), dict(error.headers))


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yield the URL of a new, empty PostgreSQL server on the loopback address."""
    try:
        with postgres.postgres_server("fsync=off") as url:
            yield url
    except postgres.PostgresMissing as missing:
        pytest.skip(str(missing))


def wait_for(gateway: GatewayProcess, path: str, status: int) -> Answer:
    """Return the answer of ``path`` once it has ``status``."""

    def found() -> Answer | None:
        answer = gateway.call("GET", path)
        return answer if answer.status == status else None

    answer = wait_until(found, f"{status} of {path}")
    assert isinstance(answer, Answer)
    return answer
