"""Run the ingestor as a process."""

from __future__ import annotations

import sys

from forecasting.sessions import ask_exchanges_through
from ingestor.compose import build
from ingestor.exchange_sessions import sessions_in_child
from ingestor.settings import SERVICE, IngestorSettings
from runtime.process import run_service


def main() -> int:
    """Run until SIGINT or SIGTERM; return the exit code."""
    ask_exchanges_through(sessions_in_child)
    return run_service(
        SERVICE,
        IngestorSettings,
        lambda settings, metrics, health: build(settings, metrics=metrics, health=health),
    )


if __name__ == "__main__":
    sys.exit(main())
