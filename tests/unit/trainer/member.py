"""A trainer on the in-memory broker that trains within the call, and what a reader finds in the log afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from forecasting.training import train
from runtime.broker import TopicPartition
from runtime.incoming import decode_message
from runtime.memory_broker import MemoryBroker
from runtime.memory_consumer import MemoryConsumer
from schemas.codec import record_id
from schemas.record import Record
from schemas.topics import OBSERVATIONS, TRAINING_EVENTS, TRAINING_REQUESTS, Topic
from schemas.trainings import FINAL_TRAINING_STATES, TrainingEvent, TrainingRequested
from tests.factories import SERIES, observation_batch, outgoing_message, training_request
from trainer.compose import build
from trainer.execution import Execution, Recorder
from trainer.in_process import InProcessRunner
from trainer.metrics import TrainerMetrics
from trainer.service import TrainerService
from trainer.settings import TrainerSettings

Kind = TypeVar("Kind", bound=Record)


def wave(rows: int) -> dict[str, tuple[float | None, ...]]:
    """Return a close that moves up and down without a rule that a baseline knows."""
    return {"close": tuple(100.0 + 0.1 * row + (row * 7919 % 13) / 5 for row in range(rows))}


@dataclass
class Log:
    """What clients of the broker write and read."""

    broker: MemoryBroker

    def write(self, topic: Topic, record: Record, *, partition: int | None = None) -> tuple[int, int]:
        message = outgoing_message(topic, record, partition=partition)
        return self.broker.producer().send(message).result(1)

    def history(self, *, series_id: str = SERIES, rows: int = 200) -> dict[str, int]:
        """Write a history and return the ``as_of`` that pins it."""
        batch = observation_batch(series_id=series_id, rows=rows, columns=wave(rows))
        partition, offset = self.write(OBSERVATIONS, batch)
        return {str(partition): offset + 1}

    def request(self, training_id: str = "training-1", **changes: object) -> TrainingRequested:
        """Write a request for a model that is quickly trained."""
        fields = {"algorithm": "drift", "horizon": 2, "window_size": 5, "levels": (80.0,)}
        request = training_request(training_id, **(fields | changes))
        self.write(TRAINING_REQUESTS, request)
        return request

    def records(self, topic: Topic, kind: type[Kind]) -> list[Kind]:
        """Return what a reader finds that drops repeats by id."""
        reader = self.broker.reader(
            {TopicPartition(topic.name, n): 0 for n in range(self.broker.partitions(topic.name))}
        )
        found: dict[str, Kind] = {}
        while messages := reader.poll(0):
            for message in messages:
                record = decode_message(topic, message).record
                assert isinstance(record, kind)
                known = found.setdefault(record_id(record), record)
                assert known == record, "one id stands over one content"
        return list(found.values())

    def committed(self) -> int:
        """Return how many messages of the requests' topic are committed."""
        keys = [TopicPartition(TRAINING_REQUESTS.name, number) for number in range(12)]
        return sum(self.broker.committed("trainer", keys).values())


def new_trainer(
    broker: MemoryBroker,
    recorder: Recorder | None = None,
    *,
    metrics: TrainerMetrics | None = None,
    **settings: object,
) -> TrainerService:
    """Return a trainer without child processes; with a ``recorder``, one that records runs."""
    execution = Execution(broker, topic_prefix="", train=train, recorder=recorder, max_rows=10_000)
    values = {"mlflow_tracking_uri": "recorded" if recorder else "", **settings}
    return build(
        TrainerSettings(**values),  # type: ignore[arg-type]
        broker=broker,
        runner=InProcessRunner(execution),
        metrics=metrics,
        clock=broker.clock,
    )


def turn(trainer: TrainerService) -> None:
    for _ in trainer.steps():
        pass


def work_until_ended(trainer: TrainerService, log: Log, *training_ids: str, turns: int = 200) -> None:
    """Let the trainer work until each of the trainings has ended and its request is committed."""
    for _ in range(turns):
        turn(trainer)
        ended = {e.training_id for e in log.records(TRAINING_EVENTS, TrainingEvent) if e.state in FINAL_TRAINING_STATES}
        if ended >= set(training_ids):
            turn(trainer)
            return
    raise AssertionError(f"not ended in {turns} turns: {set(training_ids) - ended}")


def crash(broker: MemoryBroker, trainer: TrainerService) -> None:
    """Let a trainer vanish without a goodbye; the broker notices."""
    consumer = trainer._consumer
    if isinstance(consumer, MemoryConsumer):
        broker.expire(consumer)
