"""An ingestor that writes so many messages of observations and waits then: it can be killed before it is done."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from ingestor.compose import build
from ingestor.settings import SERVICE, IngestorSettings
from runtime.broker import Broker, OutgoingMessage
from runtime.kafka_broker import KafkaBroker
from runtime.process import run_service
from schemas.topics import OBSERVATIONS

#: The variable that says how many; without it nothing is held.
MOST_BATCHES = "MOST_BATCHES"


class _Held:
    """A broker, or a producer of it, that takes no more observations than it may."""

    def __init__(self, held: Any, allowed: threading.Semaphore) -> None:
        self._held = held
        self._allowed = allowed

    def producer(self) -> Any:
        return _Held(self._held.producer(), self._allowed)

    def send(self, message: OutgoingMessage) -> Any:
        if message.topic.endswith(OBSERVATIONS.name):
            self._allowed.acquire()
        return self._held.send(message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held, name)


def broker_of(settings: IngestorSettings) -> Broker:
    """Return Kafka, held where the variable says so."""
    broker = KafkaBroker(settings.kafka_bootstrap_servers, f"foretopic-{SERVICE}")
    most = os.environ.get(MOST_BATCHES)
    return broker if most is None else _Held(broker, threading.Semaphore(int(most)))  # type: ignore[return-value]


if __name__ == "__main__":
    sys.exit(
        run_service(
            SERVICE,
            IngestorSettings,
            lambda settings, metrics, health: build(
                settings, broker=broker_of(settings), metrics=metrics, health=health
            ),
        )
    )
