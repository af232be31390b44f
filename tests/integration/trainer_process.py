"""A trainer as a process on a real Kafka, and what its clients write and read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import psutil

from runtime.broker import TopicPartition
from runtime.clock import SystemClock
from runtime.follower import Follower
from runtime.incoming import Incoming
from runtime.kafka_broker import KafkaBroker
from runtime.publisher import Publisher
from runtime.topic_specs import specs
from schemas.codec import record_id
from schemas.record import Record
from schemas.topics import (
    DEAD_LETTERS,
    DEPLOYMENTS,
    MODELS,
    OBSERVATIONS,
    TRAINING_EVENTS,
    TRAINING_REQUESTS,
    Topic,
)
from schemas.trainings import FINAL_TRAINING_STATES, TrainingEvent, TrainingRequested
from tests.factories import observation_batch, training_request
from tests.integration.held_child import HOLD
from tests.unit.trainer.member import wave

Kind = TypeVar("Kind", bound=Record)
#: Fits within some seconds, in many small steps of progress.
TINY_LSTM = {
    "algorithm": "lstm",
    "hyperparameters": {"layers": "4", "dense": 0, "epochs": 30, "patience": 30, "refits": 1},
}
_FOLLOWED = (TRAINING_EVENTS, MODELS, DEPLOYMENTS, DEAD_LETTERS)


class Client:
    """Writes requests and follows what comes of them."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.prefix = prefix
        self.broker = KafkaBroker(bootstrap_servers, client_id="test")
        self.broker.ensure_topics(specs(prefix))
        self.clock = SystemClock()
        self._publisher = Publisher(self.broker.producer(), service="test", clock=self.clock, topic_prefix=prefix)
        self._records: dict[tuple[str, str], Record] = {}
        self._follower = Follower(
            self.broker, topics=_FOLLOWED, topic_prefix=prefix, apply=self._learn, on_invalid=self._refuse
        )
        self._follower.assign(
            {
                TopicPartition(topic.full_name(prefix), number): 0
                for topic in _FOLLOWED
                for number in range(topic.partitions)
            }
        )

    def close(self) -> None:
        self._follower.close()
        self._publisher.close()
        self.broker.close()

    def write(self, topic: Topic, record: Record) -> tuple[int, int]:
        return self._publisher.send(topic, record).result(60)

    def history(self, *, rows: int = 200) -> dict[str, int]:
        partition, offset = self.write(OBSERVATIONS, observation_batch(rows=rows, columns=wave(rows)))
        return {str(partition): offset + 1}

    def request(self, training_id: str, **changes: object) -> TrainingRequested:
        fields: dict[str, object] = {"algorithm": "drift", "horizon": 2, "window_size": 5, "levels": (80.0,)}
        request = training_request(training_id, **(fields | changes))
        self.write(TRAINING_REQUESTS, request)
        return request

    def records(self, kind: type[Kind]) -> list[Kind]:
        """Return what was read so far, without repeats."""
        return [record for record in self._records.values() if isinstance(record, kind)]

    def events(self, training_id: str) -> list[TrainingEvent]:
        return [event for event in self.records(TrainingEvent) if event.training_id == training_id]

    def ends(self, training_id: str) -> list[TrainingEvent]:
        return [event for event in self.events(training_id) if event.state in FINAL_TRAINING_STATES]

    def wait_until(self, holds: Callable[[], object], *, what: str, seconds: float = 240.0) -> None:
        deadline = self.clock.monotonic() + seconds
        while not holds():
            assert self.clock.monotonic() < deadline, f"not within {seconds} s: {what}"
            self._follower.poll(0.02)

    def wait_for_end(self, training_id: str) -> TrainingEvent:
        self.wait_until(lambda: self.ends(training_id), what=f"the end of {training_id}")
        # What was acknowledged before it stands in other partitions, which may be read later.
        self._follower.catch_up(None, 120)
        (end,) = self.ends(training_id)
        return end

    def committed(self) -> int:
        """Return how many offsets of the requests' partition are committed."""
        keys = [
            TopicPartition(f"{self.prefix}{TRAINING_REQUESTS.name}", n) for n in range(TRAINING_REQUESTS.partitions)
        ]
        return sum(self.broker.committed(f"{self.prefix}trainer", keys).values())

    def _learn(self, incoming: Incoming) -> None:
        known = self._records.setdefault((incoming.topic.name, record_id(incoming.record)), incoming.record)
        assert known == incoming.record, "one id stands over one content"

    def _refuse(self, message: object, error: ValueError) -> None:
        raise AssertionError(f"{message}: {error}")


class TrainerProcess:
    """``python -m trainer`` in a process group of its own.

    Args:
        client: Says which Kafka and topics.
        folder: Where it runs: a local MLflow store keeps its files there.
        log: What it logs.
        held_at: A moment of `held_child` at which its children wait until `let_go`; empty: they do not.
        settings: Of the trainer.
    """

    def __init__(self, client: Client, folder: Path, log: IO[bytes], held_at: str, **settings: object) -> None:
        self._hold = folder / "hold"
        if held_at:
            self._hold.write_text(held_at)
        variables = {f"FORETOPIC_TRAINER_{name.upper()}": str(value) for name, value in settings.items()}
        variables |= {
            "FORETOPIC_KAFKA_BOOTSTRAP_SERVERS": client.bootstrap_servers,
            "FORETOPIC_TOPIC_PREFIX": client.prefix,
            HOLD: str(self._hold),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.trainer_launcher" if held_at else "trainer"],
            env=os.environ | variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children()

    def let_go(self) -> None:
        """Let the held child go on, and those after it."""
        self._hold.unlink()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(60)

    def interrupt(self, number: int) -> int:
        """Send a signal to the whole process group, as a terminal or a service manager does; return the exit status."""
        os.killpg(self.pid, number)
        return self._process.wait(60)


@contextmanager
def trainer_process(client: Client, folder: Path, *, held_at: str = "", **settings: object) -> Iterator[TrainerProcess]:
    """Start a trainer and stop it in the end; what it logs stands in ``folder``."""
    with (folder / "trainer.log").open("ab") as log:
        process = TrainerProcess(client, folder, log, held_at, **settings)
        try:
            yield process
        finally:
            if process._process.poll() is None:
                process.interrupt(signal.SIGTERM)
