"""A whole stack of its own for a measurement: free ports, an empty home, the sample prices."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

READY_SECONDS = 180.0


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Attributes:
        url: Base URL of the gateway.
        kafka: Bootstrap address of its broker.
        pid: Process id of the supervisor.
        ready_seconds: From the start of ``foretopic up`` to the first 200 of ``/ready``.
    """

    url: str
    kafka: str
    pid: int
    ready_seconds: float

    def call(self, method: str, path: str, body: object | None = None) -> dict[str, object]:
        """Return the JSON answer of the gateway; an error status raises ``urllib.error.HTTPError``."""
        request = urllib.request.Request(  # noqa: S310  # our own loopback address
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310  # the same
            return dict(json.load(response))

    def resident_mebibytes(self) -> dict[str, float]:
        """Return process name -> resident memory in MiB of the supervisor and all that it started."""
        supervisor = psutil.Process(self.pid)
        found: dict[str, float] = {}
        for process in [supervisor, *supervisor.children(recursive=True)]:
            name = _service_name(process)
            found[name] = found.get(name, 0.0) + process.memory_info().rss / 2**20
        return found


def _service_name(process: psutil.Process) -> str:
    command = process.cmdline()
    line = " ".join(command)
    if "kafka.Kafka" in line:
        return "kafka"
    for service in ("mlflow", "ingestor", "trainer", "predictor", "gateway"):
        if service in line:
            return service
    return "supervisor"


def wait_until_ready(url: str, started: float, process: subprocess.Popen[bytes]) -> float:
    """Return the seconds from ``started`` (monotonic) until ``/ready`` answers 200."""
    while time.monotonic() - started < READY_SECONDS:
        if process.poll() is not None:
            raise RuntimeError(f"foretopic up ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=2) as response:  # noqa: S310  # our own loopback address
                if response.status == 200:  # noqa: PLR2004  # HTTP OK
                    return time.monotonic() - started
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.05)
    raise TimeoutError(f"the stack was not ready within {READY_SECONDS:.0f} s")


@contextmanager
def running_stack(home: Path) -> Iterator[Stack]:
    """Start ``foretopic up`` in ``home``, yield it once ready, stop it afterwards; it writes to ``home/up.log``."""
    ports = {name: free_port() for name in ("KAFKA", "GATEWAY", "MLFLOW")}
    environment = os.environ | {f"FORETOPIC_{name}_PORT": str(port) for name, port in ports.items()}
    environment["FORETOPIC_HOME"] = str(home / "foretopic")
    url = f"http://127.0.0.1:{ports['GATEWAY']}"
    started = time.monotonic()
    with (home / "up.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "foretopic.cli", "up"], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            ready = wait_until_ready(url, started, process)
            yield Stack(url=url, kafka=f"127.0.0.1:{ports['KAFKA']}", pid=process.pid, ready_seconds=ready)
        finally:
            process.terminate()
            process.wait(timeout=60)
