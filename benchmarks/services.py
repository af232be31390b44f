"""Kafka, ingestor and gateway as processes of their own, and how much memory they take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from benchmarks.stack import free_port
from foretopic.embedded_kafka import EmbeddedKafka
from runtime.kafka_broker import KafkaBroker
from runtime.topic_specs import specs

_READY_SECONDS = 60.0


@dataclass
class PeakMemory:
    """Watches how much memory processes, with all that they start, take at most; a context manager.

    Attributes:
        processes: Name -> process id.
        every_seconds: How often it looks; a look at all processes of the machine takes some milliseconds.
        mebibytes: Name -> largest resident size so far, in MiB. Pages that a parent and its child share count twice.
    """

    processes: dict[str, int]
    every_seconds: float
    mebibytes: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def at_once(self) -> float:
        """Return the largest size of all of them at one moment, in MiB."""
        return self.mebibytes["at once"]

    def __enter__(self) -> Self:
        self._look()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self.every_seconds):
            self._look()

    def _look(self) -> None:
        sizes = {name: _resident(pid) for name, pid in self.processes.items()}
        sizes["at once"] = sum(sizes.values())
        for name, size in sizes.items():
            self.mebibytes[name] = max(size, self.mebibytes.get(name, 0.0))


def _resident(pid: int) -> float:
    process = psutil.Process(pid)
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # it has ended meanwhile
    return total / 2**20


@dataclass(frozen=True, kw_only=True)
class Services:
    """What runs.

    Attributes:
        kafka: Bootstrap address of the broker.
        url: Base URL of the gateway.
        pids: Process id of each service.
    """

    kafka: str
    url: str
    pids: dict[str, int]

    def processor_seconds(self) -> dict[str, float]:
        """Return what each service, and Kafka, has used of processors so far, children that have ended included."""
        found = {}
        for name, pid in self.pids.items():
            processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            found[name] = sum(sum(process.cpu_times()[:4]) for process in processes)
        return found


@contextmanager
def running_services(home: Path) -> Iterator[Services]:
    """Start Kafka, a gateway and an ingestor below ``home``; stop them afterwards. They log to ``home``/NAME.log."""
    files = home / "files"
    files.mkdir()
    with ExitStack() as stack:
        kafka = stack.enter_context(EmbeddedKafka(home / "kafka"))
        broker = KafkaBroker(kafka.bootstrap_servers, "foretopic-bench")
        broker.ensure_topics(specs())
        broker.close()
        port = free_port()
        variables = {
            "FORETOPIC_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "FORETOPIC_HOME": str(home),
            "FORETOPIC_GATEWAY_PORT": str(port),
            "FORETOPIC_GATEWAY_ACCOUNTS": "local",
            "FORETOPIC_GATEWAY_FILES_DIRECTORY": str(files),
            "FORETOPIC_INGESTOR_FILES_DIRECTORY": str(files),
        }
        processes = {
            name: stack.enter_context(_service(name, home, os.environ | variables)) for name in ("ingestor", "gateway")
        }
        url = f"http://127.0.0.1:{port}"
        _wait_until_up(url, processes["gateway"])
        yield Services(
            kafka=kafka.bootstrap_servers,
            url=url,
            pids={"kafka": kafka.pid(), **{name: process.pid for name, process in processes.items()}},
        )


@contextmanager
def _service(name: str, home: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (home / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", name], env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until gateway and ingestor work; `/ready` would wait for a model too."""
    deadline = time.monotonic() + _READY_SECONDS
    states: dict[str, str] = {}
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the gateway ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/status", timeout=2) as answer:  # noqa: S310  # our own loopback address
                states = {service["name"]: service["state"] for service in json.load(answer)["services"]}
        except (urllib.error.URLError, OSError):
            pass
        if states.get("gateway") == states.get("ingestor") == "up":
            return
        time.sleep(0.1)
    raise TimeoutError(f"gateway and ingestor were not up within {_READY_SECONDS:.0f} s: {states}")
