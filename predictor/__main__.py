"""Run the predictor: read settings, set up logs, build, run, tell by the exit code how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import structlog
from aiokafka.errors import KafkaError

from predictor.compose import build, partitions_of
from predictor.settings import SERVICE, PredictorSettings
from predictor.worker import Ending
from runtime.error_tracker import tracker_of
from runtime.errors import TransientError
from runtime.health import Health
from runtime.kafka_broker import KafkaBroker
from runtime.logs import configure
from runtime.metrics import Metrics
from runtime.process import read_settings, start_metrics


def _partitions(settings: PredictorSettings) -> int:
    broker = KafkaBroker(settings.kafka_bootstrap_servers, f"foretopic-{SERVICE}-start")
    try:
        return partitions_of(settings, broker)
    finally:
        broker.close()


async def _run(settings: PredictorSettings) -> Ending:
    metrics, health = Metrics(SERVICE), Health()
    server = start_metrics(settings, metrics, health)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log = structlog.get_logger()
    log.info("starting")
    try:
        worker = build(settings, metrics=metrics, health=health, partitions=_partitions(settings))
        ending = await worker.run(stop)
    except (KafkaError, TransientError) as error:
        # The broker is away; whoever supervises us starts us again.
        log.error("cannot_start_or_go_on", error=repr(error))  # noqa: TRY400  # the trace says nothing more
        ending = Ending.FAILED
    finally:
        if server is not None:
            server.close()
    log.info("ended", reason=ending.name.lower())
    return ending


def main() -> int:
    """Run until stopped; return the exit code."""
    settings = read_settings(PredictorSettings)
    tracker = tracker_of(SERVICE, settings)
    configure(SERVICE, settings.log_level, tracker)
    code = int(asyncio.run(_run(settings)))
    sys.stdout.flush()
    if code:
        if tracker is not None:
            tracker.close()
        # A thread of the driver may hang where we could not go on, and would keep the process.
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
