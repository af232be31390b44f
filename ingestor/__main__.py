"""Run the ingestor: read settings, set up logs, build, run, tell by the exit code how it ended."""

from __future__ import annotations

import signal
import sys
import threading

import structlog

from ingestor.compose import build
from ingestor.settings import SERVICE, IngestorSettings
from runtime.errors import RuntimeFault, SettingsError
from runtime.health import Health
from runtime.logs import configure
from runtime.metrics import Metrics, serve
from runtime.settings import load_settings

EXIT_FAILED = 1
EXIT_SETTINGS = 2


def main() -> int:
    """Run until SIGINT or SIGTERM; return the exit code."""
    try:
        settings = load_settings(IngestorSettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_SETTINGS
    configure(SERVICE, settings.log_level)
    log = structlog.get_logger()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    metrics, health = Metrics(SERVICE), Health()
    server = (
        serve(metrics, health, port=settings.metrics_port, host=settings.metrics_host)
        if settings.metrics_port
        else None
    )
    log.info("starting")
    try:
        build(settings, metrics=metrics, health=health).run(stop)
    except RuntimeFault as fault:
        log.error("ended", reason=str(fault))  # noqa: TRY400  # the reason says it all
        return EXIT_FAILED
    finally:
        if server is not None:
            server.close()
    log.info("ended", reason="stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
