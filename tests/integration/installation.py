"""A home of the one-machine stack in which tests run the command as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from foretopic import ports
from foretopic.processes import wait_until
from foretopic.stack_state import read_state
from runtime.clock import SystemClock

SECONDS = 600


class Installation:
    """One home with its ports, driven by the command as a person would."""

    def __init__(self, home: Path, **changes: str) -> None:
        taken: set[int] = set()
        for _ in range(3):
            taken.add(ports.free_port(taken))
        names = ("KAFKA", "GATEWAY", "MLFLOW")
        self.home = home
        self.ports = dict(zip(names, sorted(taken), strict=True))
        self.environment = os.environ | {f"FORETOPIC_{name}_PORT": str(port) for name, port in self.ports.items()}
        # No network in tests: whatever looks for prices outside finds a closed door at once, at a port that nobody takes.
        closed = f"http://{ports.LOOPBACK}:9"
        self.environment |= {"FORETOPIC_HOME": str(home), "HTTPS_PROXY": closed, "https_proxy": closed} | changes

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "foretopic.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def succeed(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.returncode == 0, f"{arguments}: {result.stdout}\n{result.stderr}\n{self.logs()}"
        return result.stdout

    def json(self, *arguments: str):
        return json.loads(self.succeed(*arguments, "--json"))

    def logs(self) -> str:
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in (self.home / "logs").glob("*.log"))

    def service(self, name: str) -> dict:
        result = self.run("status", "--json")
        return next(line for line in json.loads(result.stdout)["services"] if line["service"] == name)

    def pids(self) -> list[int]:
        state = read_state(self.home)
        assert state is not None
        found = [state.supervisor.pid, *(entry.process.pid for entry in state.services if entry.process is not None)]
        children = [child.pid for pid in found for child in psutil.Process(pid).children(recursive=True)]
        return sorted({*found, *children})


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended. It may end while it is looked at: that is no error but the answer."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def eventually(condition, seconds: float = 120.0) -> None:
    assert wait_until(condition, clock=SystemClock(), deadline_seconds=seconds)
