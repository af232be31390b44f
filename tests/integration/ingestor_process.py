"""An ingestor as a process on a real Kafka, and what its clients write and read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.broker import Message, OutgoingMessage, TopicPartition
from runtime.clock import SystemClock
from runtime.follower import Follower
from runtime.incoming import Incoming
from runtime.kafka_broker import KafkaBroker
from runtime.topic_specs import specs
from schemas.dead_letters import DeadLetter
from schemas.ingests import IngestEvent, IngestRequested
from schemas.observations import ObservationBatch
from schemas.topics import (
    COPARTITIONED,
    DEAD_LETTERS,
    INGEST_EVENTS,
    INGEST_REQUESTS,
    INGEST_SCHEDULES,
    OBSERVATIONS,
    QUARANTINE,
)
from tests.factories import ingest_request, outgoing_message, schedule
from tests.integration.held_ingestor import MOST_BATCHES

_TOPICS = (INGEST_REQUESTS, OBSERVATIONS, INGEST_EVENTS, QUARANTINE, DEAD_LETTERS)


JUNK = b"junk"


class Client:
    """Writes requests and follows what comes of them."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.prefix = prefix
        self.clock = SystemClock()
        self.batches: list[ObservationBatch] = []
        self.events: list[IngestEvent] = []
        self.letters: list[DeadLetter] = []
        self.runs: list[IngestRequested] = []
        self._broker = KafkaBroker(bootstrap_servers, client_id="test")
        names = {topic.full_name(prefix) for topic in (*_TOPICS, *COPARTITIONED)}
        self._broker.ensure_topics([spec for spec in specs(prefix) if spec.name in names])
        self._producer = self._broker.producer()
        self._follower = Follower(
            self._broker, topics=_TOPICS, topic_prefix=prefix, apply=self._learn, on_invalid=self._refuse
        )
        self._follower.assign(
            {TopicPartition(topic.full_name(prefix), n): 0 for topic in _TOPICS for n in range(topic.partitions)}
        )

    def close(self) -> None:
        self._follower.close()
        self._producer.close()
        self._broker.close()

    def ask(self, ingest_id: str, **changes: object) -> None:
        self._producer.send(
            outgoing_message(INGEST_REQUESTS, ingest_request(ingest_id, **changes), prefix=self.prefix)
        ).result(60)

    def schedule(self, number: int, series_id: str, **changes: object) -> None:
        record = schedule(f"schedule-{number}", series_id=series_id, **changes)
        self._producer.send(outgoing_message(INGEST_SCHEDULES, record, prefix=self.prefix)).result(60)

    def junk(self) -> None:
        topic = INGEST_REQUESTS.full_name(self.prefix)
        self._producer.send(OutgoingMessage(topic=topic, key=b"x", value=JUNK)).result(60)

    def final(self, ingest_id: str) -> IngestEvent | None:
        return next((e for e in self.events if e.ingest_id == ingest_id and e.state != "running"), None)

    def wait_until(self, holds: Callable[[], object], what: str, seconds: float = 120.0) -> None:
        deadline = self.clock.monotonic() + seconds
        while not holds():
            assert self.clock.monotonic() < deadline, f"not within {seconds} s: {what}"
            self._follower.poll(0.02)

    def wait_for_end(self, ingest_id: str) -> IngestEvent:
        self.wait_until(lambda: self.final(ingest_id), f"the end of {ingest_id}")
        event = self.final(ingest_id)
        assert event is not None
        self.catch_up()
        return event

    def catch_up(self) -> None:
        """Read all that stands in the log now."""
        self._follower.catch_up(None, 120)

    def times(self, series_id: str) -> list[object]:
        return [time for batch in self.batches if batch.series_id == series_id for time in batch.time]

    def observations_written(self) -> int:
        """Return how many messages stand in `observations`, by the broker."""
        name = OBSERVATIONS.full_name(self.prefix)
        return sum(self._broker.end_offsets([TopicPartition(name, n) for n in range(OBSERVATIONS.partitions)]).values())

    def _learn(self, incoming: Incoming) -> None:
        record = incoming.record
        if isinstance(record, ObservationBatch):
            self.batches.append(record)
        elif isinstance(record, IngestEvent):
            self.events.append(record)
        elif isinstance(record, IngestRequested):
            if record.cause == "schedule":
                self.runs.append(record)
        elif isinstance(record, DeadLetter):
            self.letters.append(record)

    def _refuse(self, message: Message, error: ValueError) -> None:
        if message.value != JUNK:  # what we wrote ourselves is read again by those who follow the requests
            raise AssertionError(f"{message}: {error}")


@contextmanager
def ingestor_process(
    client: Client, folder: Path, module: str = "ingestor", most_batches: int | None = None, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Start an ingestor that cannot reach the world; stop it in the end. What it logs stands in ``folder``.

    With ``most_batches``, which a module with `held_ingestor` heeds, it must be killed: it waits there for ever.
    """
    variables = {
        **{f"FORETOPIC_INGESTOR_{name.upper()}": value for name, value in settings.items()},
        "FORETOPIC_KAFKA_BOOTSTRAP_SERVERS": client.bootstrap_servers,
        "FORETOPIC_TOPIC_PREFIX": client.prefix,
        # A proxy that is not there: Yahoo is away for sure, on every machine.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    if most_batches is not None:
        variables[MOST_BATCHES] = str(most_batches)
    with (folder / f"{client.prefix}ingestor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module], env=os.environ | variables, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise
