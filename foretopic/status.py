"""How a running stack stands, service by service."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from foretopic.errors import NotRunning
from foretopic.stack_state import ServiceEntry, StackState, read_state

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """One line of ``foretopic status``."""

    service: str
    pid: int | None
    state: str
    uptime_seconds: float | None
    restarts: int
    resident_mebibytes: float | None
    port: int | None
    last_end: str


@dataclass(frozen=True, kw_only=True)
class StackStatus:
    """A whole stack; ``is_whole`` means that the supervisor and every service run."""

    phase: str
    gateway_url: str
    is_whole: bool
    services: tuple[ServiceStatus, ...]


def status(home: Path) -> StackStatus:
    """Return how the stack of a home stands; raise ``NotRunning`` when nothing of it runs."""
    state = read_state(home)
    if state is None:
        raise NotRunning(home)
    supervisor = _status_of(
        ServiceEntry(name="supervisor", state="running", process=state.supervisor), is_supervised=True
    )
    lines = tuple(_status_of(entry, is_supervised=supervisor.pid is not None) for entry in state.services)
    if supervisor.pid is None and all(line.pid is None for line in lines):
        raise NotRunning(home)
    return StackStatus(
        phase=_phase(state, is_supervised=supervisor.pid is not None),
        gateway_url=state.gateway_url,
        is_whole=supervisor.pid is not None and all(line.state == "running" for line in lines),
        services=(supervisor, *lines),
    )


def _phase(state: StackState, *, is_supervised: bool) -> str:
    return state.phase if is_supervised else "half dead: the supervisor is gone; `foretopic down` clears up"


def _status_of(entry: ServiceEntry, *, is_supervised: bool) -> ServiceStatus:
    process = entry.process.find() if entry.process is not None else None
    if process is None:
        found = entry.state if entry.process is None and is_supervised else "gone"
        return ServiceStatus(
            service=entry.name,
            pid=None,
            state=found,
            uptime_seconds=None,
            restarts=entry.restarts,
            resident_mebibytes=None,
            port=entry.port,
            last_end=entry.last_end,
        )
    return ServiceStatus(
        service=entry.name,
        pid=process.pid,
        state=entry.state,
        uptime_seconds=max(0.0, time.time() - process.create_time()),
        restarts=entry.restarts,
        resident_mebibytes=_resident(process, with_children=entry.name != "supervisor"),
        port=entry.port,
        last_end=entry.last_end,
    )


def _resident(process: psutil.Process, *, with_children: bool) -> float | None:
    """Return the resident memory of a process and what it started, in MiB; ``None`` when it ended meanwhile."""
    try:
        found = [process, *(process.children(recursive=True) if with_children else ())]
        return float(sum(each.memory_info().rss for each in found)) / _MEBIBYTE
    except psutil.NoSuchProcess:
        return None
