"""Run the trainer: read settings, set up logs, build, run until a signal says stop; the exit code says how it ended."""

from __future__ import annotations

import signal
import sys
import threading

import structlog

from runtime import logs
from runtime.clock import SystemClock
from runtime.errors import SettingsError, TooManyDeadLetters
from runtime.health import Health
from runtime.metrics import serve
from runtime.settings import load_settings
from trainer.compose import build
from trainer.metrics import TrainerMetrics
from trainer.service import SERVICE
from trainer.settings import TrainerSettings

EXIT_FAILED = 1
EXIT_SETTINGS = 2


def run(settings: TrainerSettings) -> int:
    """Serve until stopped; return the exit code."""
    log = structlog.get_logger()
    clock = SystemClock()
    metrics, health = TrainerMetrics(), Health(clock)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    port = settings.metrics_port
    server = serve(metrics, health, port=port, host=settings.metrics_host) if port else None
    log.info("starting")
    try:
        build(settings, metrics=metrics, health=health, clock=clock).run(stop)
    except TooManyDeadLetters as error:
        log.error("ended", reason=str(error))  # noqa: TRY400  # the trace says nothing more
        return EXIT_FAILED
    finally:
        if server is not None:
            server.close()
    log.info("ended", reason="stopped")
    return 0


def main() -> int:
    """Run as a process; return its exit code."""
    try:
        settings = load_settings(TrainerSettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_SETTINGS
    logs.configure(SERVICE, settings.log_level)
    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
