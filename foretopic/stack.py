"""One machine's stack: all processes up together, down together, one at a time on a home."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import psutil

from foretopic import ports
from foretopic.embedded_kafka import EmbeddedKafka
from foretopic.errors import ForetopicError, HomeBusy, NotReady, PortBusy, StartFailed
from foretopic.home import HomeLock
from foretopic.processes import signal_group, wait_until
from foretopic.services import GATEWAY, KAFKA, MLFLOW, NAMES, WORKERS, service_specs
from foretopic.stack_settings import StackSettings
from foretopic.stack_state import Phase, ProcessMark, StackState, read_state, state_path, write_state
from foretopic.supervisor import Supervisor
from runtime.clock import Clock
from runtime.errors import TransientError
from runtime.kafka_broker import KafkaBroker
from runtime.topic_specs import specs as topic_specs

LOCK_NAME = "stack.lock"
_READY_SECONDS = 300.0
_TOPICS_SECONDS = 120.0
_TICK_SECONDS = 0.1
#: Longest that an orderly stop takes: the deadlines of all services, one after the other.
_DOWN_SECONDS = 120.0
_KILL_SECONDS = 10.0

Notice = Callable[[str], None]


class Stack:
    """The stack of one home, run by this process and thread.

    Args:
        settings: Home, ports and topic prefix.
        notice: Told in one line what happens.
    """

    def __init__(self, settings: StackSettings, *, clock: Clock, notice: Notice) -> None:
        self._settings = settings
        self._home = settings.home.absolute()
        self._clock = clock
        self._notice = notice
        #: No event: a signal interrupts the thread that waits, which may hold the lock of the event, and would need it.
        self._is_stopping = False
        self._phase: Phase = "starting"
        self._lock = threading.Lock()
        self._supervisor: Supervisor | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether somebody asked for the end."""
        return self._is_stopping

    def run(self, when_up: Callable[[], None]) -> None:
        """Start everything, supervise until asked to stop, stop everything.

        Args:
            when_up: Called in a thread of its own once the gateway answers.

        Raises:
            StartFailed: Everything that stands in the way of a start, told together; nothing was started.
            ForetopicError: Kafka or a service cannot be started; what had been started is stopped again.
        """
        with ExitStack() as undo:
            lock = HomeLock(self._home, LOCK_NAME)
            lock.acquire()
            undo.callback(lock.release)
            clear_leftovers(self._home, clock=self._clock, notice=self._notice)
            kafka = self._prepare_kafka()
            undo.callback(kafka.release)
            undo.enter_context(_Signals(self._on_signal))
            self._supervisor = Supervisor(
                service_specs(self._settings, kafka), clock=self._clock, notice=self._notice, on_change=self._write
            )
            undo.callback(state_path(self._home).unlink, missing_ok=True)
            undo.callback(self._stop, self._supervisor, kafka)
            self._start(self._supervisor, when_up)
            self._supervise(self._supervisor)

    def note_first_run(self, *, is_ready: bool) -> None:
        """Note whether the first forecast is shown."""
        if not self.is_stopping:
            self._enter("ready" if is_ready else "unready")

    def _prepare_kafka(self) -> EmbeddedKafka:
        """Return Kafka, ready to be started, or tell every fault together."""
        faults: list[ForetopicError] = busy_ports(self._settings)
        kafka = EmbeddedKafka(
            self._home,
            port=self._settings.kafka_port,
            heap_mebibytes=self._settings.kafka_heap_mebibytes,
            notice=self._notice,
            clock=self._clock,
        )
        try:
            kafka.prepare()
        except PortBusy:
            # Told already, with the others.
            pass
        except ForetopicError as error:
            faults.append(error)
        if faults:
            kafka.release()
            raise StartFailed(faults)
        return kafka

    def _start(self, supervisor: Supervisor, when_up: Callable[[], None]) -> None:
        started = self._clock.monotonic()

        def wait_for(*names: str) -> None:
            supervisor.wait_until_ready(names, deadline_seconds=_READY_SECONDS, is_stopped=lambda: self.is_stopping)

        supervisor.start([KAFKA])
        wait_for(KAFKA)
        if self.is_stopping:
            return
        create_topics(self._settings, clock=self._clock)
        self._notice(f"Kafka runs on {ports.LOOPBACK}:{self._settings.kafka_port}.")
        supervisor.start([*WORKERS, GATEWAY])
        wait_for(GATEWAY)
        if self.is_stopping:
            return
        # What it asks for waits in the log until its service is there.
        threading.Thread(target=when_up, name="first-run", daemon=True).start()
        wait_for(*WORKERS)
        # Only the end of a training needs it, and its start would compete with the others'.
        supervisor.start([MLFLOW])
        if not self.is_stopping:
            self._notice(f"All services answer after {self._clock.monotonic() - started:.1f} s.")
            self._enter("running")

    def _supervise(self, supervisor: Supervisor) -> None:
        """Look after the services until somebody asks for the end."""
        while not self.is_stopping:
            supervisor.tick()
            self._clock.sleep(_TICK_SECONDS)

    def _stop(self, supervisor: Supervisor, kafka: EmbeddedKafka) -> None:
        self._is_stopping = True
        self._enter("stopping")
        self._notice("Stopping ...")
        supervisor.stop()
        kafka.keep_archive(exit_code=supervisor.exit_code(KAFKA))
        self._notice("Stopped.")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_stopping and self._supervisor is not None:
            # Asked twice: now.
            self._supervisor.kill()
        self._is_stopping = True

    def _enter(self, phase: Phase) -> None:
        """Note a phase; ``running`` does not undo what the first run has noted already."""
        with self._lock:
            if phase != "running" or self._phase == "starting":
                self._phase = phase
        self._write()

    def _write(self) -> None:
        if self._supervisor is None:
            return
        with self._lock:
            write_state(
                self._home,
                StackState(
                    supervisor=ProcessMark.of(os.getpid()),
                    phase=self._phase,
                    gateway_url=self._settings.gateway_url,
                    services=self._supervisor.entries,
                ),
            )


class _Signals:
    """Hands SIGINT and SIGTERM to a handler, and puts the old handlers back."""

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self._handler = handler
        self._old: dict[int, object] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._old[number] = signal.signal(number, self._handler)

    def __exit__(self, *_: object) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)  # type: ignore[arg-type]  # what signal.signal returned


def busy_ports(settings: StackSettings) -> list[ForetopicError]:
    """Return a fault for every port that is taken, and for ports that are wanted twice."""
    wanted = {
        "FORETOPIC_KAFKA_PORT": (settings.kafka_port, "Kafka"),
        "FORETOPIC_GATEWAY_PORT": (settings.gateway_port, "the gateway"),
        "FORETOPIC_MLFLOW_PORT": (settings.mlflow_port, "MLflow"),
    }
    faults: list[ForetopicError] = []
    users: dict[int, str] = {}
    for variable, (port, user) in wanted.items():
        if port in users:
            faults.append(PortBusy(port, user, variable, f"{users[port]} of this stack"))
            continue
        users[port] = user
        try:
            ports.require_free(port, user=user, variable=variable)
        except PortBusy as error:
            faults.append(error)
    return faults


def create_topics(settings: StackSettings, *, clock: Clock) -> None:
    """Create the topics that do not exist in the stack's Kafka.

    On a busy machine it takes longer to make them all than one request may, so it is asked again.

    Raises:
        NotReady: They are not there at the deadline.
    """
    broker = KafkaBroker(f"{ports.LOOPBACK}:{settings.kafka_port}", client_id="foretopic-topics")
    end = clock.monotonic() + _TOPICS_SECONDS
    try:
        while True:
            try:
                broker.ensure_topics(topic_specs(settings.topic_prefix))
            except TransientError as error:
                if clock.monotonic() >= end:
                    raise NotReady("Kafka", _TOPICS_SECONDS, str(error)) from error
                clock.sleep(_TICK_SECONDS)
            else:
                return
    finally:
        broker.close()


def clear_leftovers(home: Path, *, clock: Clock, notice: Notice) -> None:
    """Kill services that an earlier stack of this home left running; only call it while holding the home's lock."""
    state = read_state(home)
    if state is None:
        return
    left = [entry for entry in state.services if entry.process is not None and entry.process.find() is not None]
    for entry in left:
        if entry.process is not None:
            notice(f"{entry.name} of an earlier stack still runs as process {entry.process.pid}: killed.")
            signal_group(entry.process.pid, signal.SIGKILL)
    wait_until(lambda: not _survivors(state), clock=clock, deadline_seconds=_KILL_SECONDS)
    state_path(home).unlink(missing_ok=True)


def _survivors(state: StackState) -> list[psutil.Process]:
    found = (entry.process.find() for entry in state.services if entry.process is not None)
    return [process for process in found if process is not None]


def down(home: Path, *, clock: Clock, notice: Notice) -> bool:
    """Stop the stack of a home, whole or half dead; return whether there was anything to stop.

    Raises:
        NotReady: Something still runs after it was killed.
    """
    state = read_state(home)
    if state is None:
        return _down_without_state(home, clock=clock)
    supervisor = state.supervisor.find()
    if supervisor is not None:
        supervisor.send_signal(signal.SIGTERM)
        if not wait_until(lambda: state.supervisor.find() is None, clock=clock, deadline_seconds=_DOWN_SECONDS):
            notice(f"the supervisor, process {state.supervisor.pid}, did not end: killed")
            supervisor.kill()
            wait_until(lambda: state.supervisor.find() is None, clock=clock, deadline_seconds=_KILL_SECONDS)
    was_running = supervisor is not None or bool(_survivors(state))
    lock = HomeLock(home, LOCK_NAME)
    lock.acquire()
    try:
        clear_leftovers(home, clock=clock, notice=notice)
    finally:
        lock.release()
    if _survivors(state):
        names = ", ".join(NAMES)
        raise NotReady("the end of the stack", _KILL_SECONDS, f"look for processes of {names}")
    return was_running


def _down_without_state(home: Path, *, clock: Clock) -> bool:
    """Stop a stack that has only just begun: it holds the lock and has no state yet."""
    if not (home / LOCK_NAME).exists():
        return False
    try:
        lock = HomeLock(home, LOCK_NAME)
        lock.acquire()
        lock.release()
    except HomeBusy as error:
        if error.pid is None:
            raise
        mark = ProcessMark.of(error.pid)
        os.kill(error.pid, signal.SIGTERM)
        wait_until(lambda: mark.find() is None, clock=clock, deadline_seconds=_DOWN_SECONDS)
        return True
    return False
