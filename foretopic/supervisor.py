"""Keeps child processes running: starts them, starts again what ended, stops all, leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from foretopic.errors import ForetopicError, NotReady, ProcessDied
from foretopic.log_files import rotate
from foretopic.processes import describe_exit, signal_group, start_child, tail
from foretopic.stack_state import ProcessMark, ServiceEntry, ServiceState
from runtime.clock import Clock

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
#: A service that ran so long gets the shortest pause again when it ends.
_STEADY_SECONDS = 60.0
#: So many ends in a row before it was ever ready: it will not get ready by itself.
_HOPELESS_ENDS = 4
_TICK_SECONDS = 0.1
_ROTATE_EVERY_SECONDS = 10.0
_GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """One service to run.

    Attributes:
        command: Returns the command line; asked anew at every start.
        is_ready: Whether it can do its work; asked until it is, at most once a tick.
        explain: Returns why it ended, from its log beginning at a byte and its exit code; else the log's end is told.
        stop_seconds: From the request to end until it is killed.
    """

    name: str
    command: Callable[[], Sequence[str]]
    environment: Mapping[str, str]
    log_path: Path
    is_ready: Callable[[], bool]
    port: int | None = None
    explain: Callable[[int, int | None], ForetopicError] | None = None
    stop_seconds: float = 15.0


@dataclass(kw_only=True)
class _Service:
    spec: ServiceSpec
    state: ServiceState = "stopped"
    process: subprocess.Popen[bytes] | None = None
    mark: ProcessMark | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    restarts: int = 0
    ends_in_a_row: int = 0
    was_ready: bool = False
    last_exit_code: int | None = None
    log_start: int = field(default=0)


class Supervisor:
    """Runs services in their order. Belongs to the thread that made it: the kernel kills the children at its end.

    Args:
        specs: In the order of their start; they are stopped in the reverse order.
        notice: Told in one line of every end and restart.
        on_change: Called after every change of ``entries``.
    """

    def __init__(
        self,
        specs: Sequence[ServiceSpec],
        *,
        clock: Clock,
        notice: Callable[[str], None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._services = {spec.name: _Service(spec=spec) for spec in specs}
        self._clock = clock
        self._notice = notice
        self._on_change = on_change
        self._rotated_at = clock.monotonic()
        self._guard = subprocess.Popen(  # noqa: S603  # our own script
            [sys.executable, "-I", "-S", str(_GUARD)], stdin=subprocess.PIPE, start_new_session=True
        )

    @property
    def entries(self) -> tuple[ServiceEntry, ...]:
        """Return how each service stands."""
        return tuple(
            ServiceEntry(
                name=service.spec.name,
                state=service.state,
                process=service.mark,
                port=service.spec.port,
                restarts=service.restarts,
                last_end="" if service.last_exit_code is None else describe_exit(service.last_exit_code),
            )
            for service in self._services.values()
        )

    def exit_code(self, name: str) -> int | None:
        """Return how a service last ended; ``None`` when it never did."""
        return self._services[name].last_exit_code

    def start(self, names: Collection[str]) -> None:
        """Start services; return without waiting for them."""
        for name in names:
            self._start(self._services[name])
        self._on_change()

    def wait_until_ready(
        self, names: Collection[str], *, deadline_seconds: float, is_stopped: Callable[[], bool]
    ) -> None:
        """Supervise until these services are ready, or ``is_stopped`` says that nobody waits any more.

        Raises:
            ProcessDied: One ended several times without having been ready.
            NotReady: One runs but is not ready at the deadline.
        """
        end = self._clock.monotonic() + deadline_seconds
        while not is_stopped():
            self.tick()
            waiting = [self._services[name] for name in names if not self._services[name].was_ready]
            if not waiting:
                return
            for service in waiting:
                if service.ends_in_a_row >= _HOPELESS_ENDS:
                    raise self._why_it_ended(service)
            if self._clock.monotonic() >= end:
                first = waiting[0].spec
                raise NotReady(first.name, deadline_seconds, f"see {first.log_path}")
            self._clock.sleep(_TICK_SECONDS)

    def tick(self) -> None:
        """Look once after every service; call it a few times a second."""
        now = self._clock.monotonic()
        has_changed = False
        for service in self._services.values():
            before = (service.state, service.mark)
            if service.process is not None and service.process.poll() is not None:
                self._note_end(service, now)
            elif service.state == "waiting" and now >= service.start_at:
                service.restarts += 1
                self._start(service)
            elif service.state == "starting" and service.spec.is_ready():
                service.state, service.was_ready = "running", True
            has_changed |= before != (service.state, service.mark)
        if now - self._rotated_at >= _ROTATE_EVERY_SECONDS:
            self._rotated_at = now
            for service in self._services.values():
                rotate(service.spec.log_path)
        if has_changed:
            self._on_change()

    def stop(self) -> None:
        """Stop all services in reverse order, each with its deadline, then let the guard go."""
        for service in reversed(self._services.values()):
            self._stop(service)
            self._on_change()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()

    def kill(self) -> None:
        """Kill all services at once; ``stop`` must still be called."""
        for service in self._services.values():
            if service.process is not None:
                signal_group(service.process.pid, signal.SIGKILL)

    def _start(self, service: _Service) -> None:
        spec = service.spec
        service.log_start = spec.log_path.stat().st_size if spec.log_path.exists() else 0
        service.process = start_child(spec.command(), log_path=spec.log_path, environment=spec.environment)
        self._tell_guard("+", service.process.pid)
        service.mark = ProcessMark.of(service.process.pid)
        service.started_at = self._clock.monotonic()
        service.state = "starting"

    def _note_end(self, service: _Service, now: float) -> None:
        exit_code = self._reap(service)
        service.last_exit_code = exit_code
        ran_seconds = now - service.started_at
        if ran_seconds >= _STEADY_SECONDS:
            service.ends_in_a_row = 0
        pause = min(_FIRST_PAUSE_SECONDS * 2**service.ends_in_a_row, _LONGEST_PAUSE_SECONDS)
        service.ends_in_a_row += 1
        service.state, service.start_at = "waiting", now + pause
        self._notice(
            f"{service.spec.name} ended with {describe_exit(exit_code)} after {ran_seconds:.0f} s; "
            f"it starts again in {pause:g} s (log: {service.spec.log_path})"
        )

    def _stop(self, service: _Service) -> None:
        if service.process is not None:
            if service.process.poll() is None:
                service.process.terminate()
                try:
                    service.process.wait(service.spec.stop_seconds)
                except subprocess.TimeoutExpired:
                    self._notice(f"{service.spec.name} did not end within {service.spec.stop_seconds:.0f} s: killed")
                    signal_group(service.process.pid, signal.SIGKILL)
            service.last_exit_code = self._reap(service)
        service.state = "stopped"

    def _reap(self, service: _Service) -> int:
        """Take the exit code of an ended service and kill what is left of its process group."""
        if service.process is None:
            raise ValueError(f"{service.spec.name} has no process")
        signal_group(service.process.pid, signal.SIGKILL)
        exit_code = service.process.wait()
        self._tell_guard("-", service.process.pid)
        service.process, service.mark = None, None
        return exit_code

    def _tell_guard(self, sign: str, group: int) -> None:
        if self._guard.stdin is not None:
            try:
                self._guard.stdin.write(f"{sign}{group}\n".encode())
                self._guard.stdin.flush()
            except BrokenPipeError:
                self._notice("the guard process is gone: should this process be killed, services may stay behind")
                self._guard.stdin = None

    def _why_it_ended(self, service: _Service) -> ForetopicError:
        if service.spec.explain is not None:
            return service.spec.explain(service.log_start, service.last_exit_code)
        text = tail(service.spec.log_path, lines=15, after=service.log_start)
        return ProcessDied(service.spec.name, describe_exit(service.last_exit_code), service.spec.log_path, text)
