"""Begins what is due in the partitions that this instance owns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

import structlog

from ingestor.planning import PartitionPlan
from ingestor.state import IngestLog
from runtime.broker import Broker, TopicPartition, partition_for
from runtime.clock import Clock
from runtime.errors import TransientError
from runtime.follower import Follower
from runtime.incoming import Incoming
from runtime.publisher import Publisher
from schemas.ingests import IngestRequested
from schemas.record import Record
from schemas.schedules import RunPlanned
from schemas.topics import (
    INGEST_EVENTS,
    INGEST_REQUESTS,
    INGEST_SCHEDULES,
    OBSERVATIONS,
    TRAINING_REQUESTS,
    Topic,
)
from schemas.trainings import TrainingRequested

#: What says which runs and trainings are due and which have been begun.
READ = (INGEST_SCHEDULES, INGEST_REQUESTS, INGEST_EVENTS, TRAINING_REQUESTS, OBSERVATIONS)
_TOPIC_OF: Mapping[type[Record], Topic] = {
    IngestRequested: INGEST_REQUESTS,
    TrainingRequested: TRAINING_REQUESTS,
    RunPlanned: INGEST_EVENTS,
}
_DELIVERY_SECONDS = 30.0
_LOG = structlog.get_logger()


class Scheduler:
    """Writes an `IngestRequested` for each due run and a `TrainingRequested` for each due training, once.

    Consumes `ingest-schedules`, `ingest-requests`, `ingest-events`, `training-requests` and `observations` of the
    partitions that it is given, through a follower that others share; produces `ingest-requests`, `training-requests`
    and, for people, `RunPlanned` to `ingest-events`. All that it knows stands in the log: after a restart or a
    rebalance it is read from there, and runs that were missed meanwhile are made up for by one. Belongs to the thread
    that polls.
    """

    def __init__(
        self, *, broker: Broker, follower: Follower, log: IngestLog, clock: Clock, service: str, topic_prefix: str = ""
    ) -> None:
        self._broker = broker
        self._follower = follower
        self._log = log
        self._clock = clock
        self._service = service
        self._topic_prefix = topic_prefix
        self._plans: dict[int, PartitionPlan] = {}
        self._partitions = 0
        self._publisher: Publisher | None = None

    def take(self, numbers: Collection[int], partitions: int) -> None:
        """Begin to plan these partitions, of so many; what they say is learned from their beginning."""
        self._partitions = partitions
        for number in numbers:
            self._plans[number] = PartitionPlan(
                partition=number,
                view=partial(self._log.view, number),
                has_ended=partial(self._log.has_ended, number),
                as_of=self._ends_of,
            )

    def lose(self, numbers: Iterable[int]) -> None:
        """Forget these partitions."""
        for number in numbers:
            self._plans.pop(number, None)

    def learn(self, incoming: Incoming) -> None:
        """Take in a record, after the `IngestLog` has."""
        plan = self._plans.get(incoming.message.partition)
        if plan is not None:
            plan.learn(incoming)

    def turn(self) -> None:
        """Begin what is due now.

        Raises:
            TransientError: The log does not take it now; the next turn looks at what stands in it.
        """
        now = self._clock.now()
        waiting = [number for number, plan in self._plans.items() if plan.has_work(now)]
        for number in self._current(waiting):
            plan = self._plans[number]
            try:
                self._write(plan.due(now))
            except TransientError:
                plan.retry()
                raise

    def close(self) -> None:
        """Let go of the broker."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

    def _current(self, numbers: Sequence[int]) -> list[int]:
        """Return the partitions that are read to their end, our own writes included; others could be begun twice."""
        if not numbers:
            return []
        places = {number: [TopicPartition(t.full_name(self._topic_prefix), number) for t in READ] for number in numbers}
        ends = self._broker.end_offsets([place for found in places.values() for place in found])
        positions = self._follower.positions()
        return [
            number
            for number, found in places.items()
            if all(positions.get(place, -1) >= ends[place] for place in found)
        ]

    def _write(self, records: Sequence[Record]) -> None:
        if not records:
            return
        publisher = self._opened_publisher()
        for record in records:
            publisher.send(_TOPIC_OF[type(record)], record)
        publisher.flush(_DELIVERY_SECONDS)
        for record in records:
            if isinstance(record, IngestRequested):
                _LOG.info("run_due", series_id=record.series_id, ingest_id=record.ingest_id)
            elif isinstance(record, TrainingRequested):
                _LOG.info("training_due", model=record.model, training_id=record.training_id, cause=record.cause)

    def _ends_of(self, series_ids: Sequence[str]) -> dict[str, int]:
        name = OBSERVATIONS.full_name(self._topic_prefix)
        numbers = sorted({partition_for(series_id.encode(), self._partitions) for series_id in series_ids})
        ends = self._broker.end_offsets([TopicPartition(name, number) for number in numbers])
        return {str(place.partition): end for place, end in ends.items()}

    def _opened_publisher(self) -> Publisher:
        if self._publisher is None:
            self._publisher = Publisher(
                self._broker.producer(), service=self._service, clock=self._clock, topic_prefix=self._topic_prefix
            )
        return self._publisher
