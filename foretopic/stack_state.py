"""What a running stack says of itself in its home, for `status`, `down` and the next `up`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
import psutil

#: `starting` until every service answers, then `running`; `ready` once the first forecast is shown, `unready` when
#: there was none.
Phase = Literal["starting", "running", "ready", "unready", "stopping"]
ServiceState = Literal["starting", "running", "waiting", "stopped"]
_SLACK_SECONDS = 0.05


class ProcessMark(msgspec.Struct, frozen=True):
    """One process, named so that another with a recycled id is not taken for it."""

    pid: int
    created_at: float

    @classmethod
    def of(cls, pid: int) -> ProcessMark:
        """Return the mark of a process that runs now; of one that is gone, a mark that fits none."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return cls(pid, 0.0)

    def find(self) -> psutil.Process | None:
        """Return the process if it still runs."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created_at) > _SLACK_SECONDS:
                return None
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.NoSuchProcess:
            return None


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One supervised service."""

    name: str
    state: ServiceState
    process: ProcessMark | None = None
    port: int | None = None
    restarts: int = 0
    #: How it last ended, e.g. `exit code 1`; empty when it never did.
    last_end: str = ""


class StackState(msgspec.Struct, frozen=True, kw_only=True):
    """A whole stack."""

    supervisor: ProcessMark
    phase: Phase
    gateway_url: str
    services: tuple[ServiceEntry, ...]


def state_path(home: Path) -> Path:
    """Return where the state of a home's stack stands."""
    return home / "stack.json"


def write_state(home: Path, state: StackState) -> None:
    """Replace the state of a home in one step."""
    path = state_path(home)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
    draft.replace(path)


def read_state(home: Path) -> StackState | None:
    """Return the state of a home's stack, or ``None`` where there is none that can be read."""
    with suppress(FileNotFoundError, msgspec.DecodeError):
        return msgspec.json.decode(state_path(home).read_bytes(), type=StackState)
    return None
