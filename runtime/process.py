"""What every service's ``__main__`` does: settings, logs, metrics, work until a signal, exit code."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

import structlog

from runtime import logs
from runtime.clock import SystemClock
from runtime.error_tracker import tracker_of
from runtime.errors import SettingsError
from runtime.health import Health
from runtime.metrics import Metrics, MetricsServer, serve
from runtime.settings import ServiceSettings, load_settings

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_SETTINGS = 2
#: As a shell reports a process that a signal ended while it started.
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: Containers that are made before Python looks for cycles among the new ones; it looks 20 times before at the older.
_COLLECT_AFTER = 20_000

Settings = TypeVar("Settings", bound=ServiceSettings)


class Service(Protocol):
    """Something that works until it is told to stop, e.g. a `runtime.worker.Worker`."""

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        ...


def read_settings(settings: type[Settings]) -> Settings:
    """Return the settings of this process, or tell every fault in plain words and leave with exit code 2.

    Raises:
        SystemExit: A setting cannot be used.
    """
    try:
        return load_settings(settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(EXIT_SETTINGS) from None


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set; a second signal of the kind ends the process as usual."""
    stop = threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in _SIGNALS:
        signal.signal(number, on_signal)
    return stop


def collect_rarely() -> None:
    """Look for cycles of garbage after more work than Python's own 700 containers, and never among what starting made.

    Records are containers by the thousand that live for a while and die without a cycle: looking through them was a
    sixth of the processor time of live rows.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


def start_metrics(settings: ServiceSettings, metrics: Metrics, health: Health) -> MetricsServer | None:
    """Show metrics and health where the settings say; ``None`` when they name no port.

    Raises:
        SystemExit: The port is taken.
    """
    if settings.metrics_port == 0:
        return None
    try:
        return serve(metrics, health, port=settings.metrics_port, host=settings.metrics_host)
    except OSError as error:
        sys.stderr.write(
            f"FORETOPIC_METRICS_PORT was {settings.metrics_port}: {settings.metrics_host}:{settings.metrics_port} "
            f"cannot be listened on ({error.strerror}); choose a free port, or 0 for none\n"
        )
        raise SystemExit(EXIT_SETTINGS) from None


def run_service(
    service: str,
    settings: type[Settings],
    build: Callable[[Settings, Metrics, Health], Service],
    metrics: Metrics | None = None,
) -> int:
    """Run a service as this process and return its exit code.

    0: told to stop, and stopped. 1: a fault, which the log tells. 2: settings that cannot be used.

    Args:
        service: Name in logs and metrics.
        settings: Class of its settings.
        build: Makes the service; what it was given shows in ``/metrics`` and ``/health``.
        metrics: The service's own; plain ones when ``None``.
    """
    loaded = read_settings(settings)
    logs.configure(service, loaded.log_level, tracker_of(service, loaded))
    log = structlog.get_logger()
    stop = stop_on_signals()
    metrics, health = metrics or Metrics(service), Health(SystemClock())
    server = start_metrics(loaded, metrics, health)
    log.info("started", metrics_port=0 if server is None else server.port)
    try:
        built = build(loaded, metrics, health)
        collect_rarely()
        built.run(stop)
    except Exception as error:
        # The shell of the process: whatever it is, the log has it and the process ends.
        health.fail(f"{type(error).__name__}: {error}")
        log.critical("stopped", reason=f"{type(error).__name__}: {error}", exc_info=error)
        return EXIT_FAILED
    finally:
        if server is not None:
            server.close()
    log.info("stopped", reason="told to")
    return EXIT_OK
