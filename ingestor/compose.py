"""Put the ingestor together from its settings."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import structlog

from ingestor.handlers import Fetchers, IngestHandler
from ingestor.registry import fetchers
from ingestor.scheduler import READ, Scheduler
from ingestor.settings import SERVICE, IngestorSettings
from ingestor.state import IngestLog
from runtime.broker import Broker, Message, TopicPartition
from runtime.clock import Clock, SystemClock
from runtime.errors import SettingsError
from runtime.follower import Follower
from runtime.health import Health
from runtime.incoming import Incoming, Outgoing
from runtime.kafka_broker import KafkaBroker
from runtime.metrics import Metrics
from runtime.publisher import Publisher
from runtime.worker import Worker
from schemas.errors import InvalidRecord
from schemas.topics import INGEST_REQUESTS, QUARANTINE

_FOLLOWED = (*READ, QUARANTINE)
#: The whole history of the partitions may have to be read before the first request is handled.
_CATCH_UP_SECONDS = 120.0


def build(
    settings: IngestorSettings,
    *,
    broker: Broker | None = None,
    clock: Clock | None = None,
    sources: Fetchers | None = None,
    metrics: Metrics | None = None,
    health: Health | None = None,
) -> Worker:
    """Return a worker that is not connected yet; ``None`` means the real thing.

    Args:
        settings: Where Kafka is, and what the sources may do.
        broker: The log.
        clock: Stamps what is published and decides which intervals are complete.
        sources: How each source is asked, by name.
        metrics: Where it counts.
        health: Told that work goes on.
    """
    broker = broker or KafkaBroker(settings.kafka_bootstrap_servers, f"foretopic-{SERVICE}")
    clock = clock or SystemClock()
    log = IngestLog()
    owned = _OwnedPartitions(broker, log, clock, settings.topic_prefix)
    handler = IngestHandler(
        fetchers=fetchers(settings) if sources is None else sources,
        log=log,
        announce=_Announcer(broker, clock, settings.topic_prefix),
        clock=clock,
        partitions=owned.partitions,
        topic_prefix=settings.topic_prefix,
    )
    return Worker(
        service=SERVICE,
        broker=broker,
        topics=[INGEST_REQUESTS, QUARANTINE],
        handler=handler,
        prepare=handler.prepare,
        clock=clock,
        topic_prefix=settings.topic_prefix,
        follower=owned.follower,
        on_assigned=owned.take,
        on_revoked=owned.lose,
        on_turn=owned.scheduler.turn,
        metrics=metrics,
        health=health,
        max_messages=1,  # the next request must see what this one has published
        catch_up_timeout_seconds=_CATCH_UP_SECONDS,
    )


class _Announcer:
    """Publishes at once what nobody waits for; connects with its first record."""

    def __init__(self, broker: Broker, clock: Clock, topic_prefix: str) -> None:
        self._broker = broker
        self._clock = clock
        self._topic_prefix = topic_prefix
        self._publisher: Publisher | None = None

    def __call__(self, outgoing: Outgoing) -> None:
        if self._publisher is None:
            self._publisher = Publisher(
                self._broker.producer(), service=SERVICE, clock=self._clock, topic_prefix=self._topic_prefix
            )
        self._publisher.send(outgoing.topic, outgoing.record, traceparent=outgoing.traceparent)


class _OwnedPartitions:
    """Follows what the log says of the partitions that this instance has, from the beginning."""

    def __init__(self, broker: Broker, log: IngestLog, clock: Clock, topic_prefix: str) -> None:
        self._broker = broker
        self._state = log
        self._topic_prefix = topic_prefix
        self._partitions = 0
        self._logger = structlog.get_logger()
        self.follower = Follower(
            broker, topics=_FOLLOWED, topic_prefix=topic_prefix, apply=self._learn, on_invalid=self._ignore
        )
        self.scheduler = Scheduler(
            broker=broker, follower=self.follower, log=log, clock=clock, service=SERVICE, topic_prefix=topic_prefix
        )

    def partitions(self) -> int:
        """Return how many partitions the topics have; known once some are ours."""
        return self._partitions

    def take(self, partitions: Collection[TopicPartition]) -> None:
        """Learn these partitions from the beginning: starting and recovering are the same."""
        numbers = {partition.partition for partition in partitions}
        if not numbers:
            return
        self._partitions = self._require_copartitioned()
        self.scheduler.take(numbers, self._partitions)
        self.follower.add(dict.fromkeys(self._followed(numbers), 0))

    def lose(self, partitions: Collection[TopicPartition]) -> None:
        """Forget these partitions."""
        numbers = {partition.partition for partition in partitions}
        self.follower.remove(self._followed(numbers))
        self._state.forget(numbers)
        self.scheduler.lose(numbers)

    def _learn(self, incoming: Incoming) -> None:
        self._state.learn(incoming)
        self.scheduler.learn(incoming)

    def _followed(self, numbers: Iterable[int]) -> list[TopicPartition]:
        return [
            TopicPartition(topic.full_name(self._topic_prefix), number)
            for number in sorted(numbers)
            for topic in _FOLLOWED
        ]

    def _require_copartitioned(self) -> int:
        """Return how many partitions all topics have; an operator may have created them with any number."""
        names = [INGEST_REQUESTS.full_name(self._topic_prefix)]
        names += [name for topic in _FOLLOWED if (name := topic.full_name(self._topic_prefix)) != names[0]]
        expected = self._broker.partitions(names[0])
        for name in names[1:]:
            found = self._broker.partitions(name)
            if found != expected:
                raise SettingsError(
                    f"topic {name} must have {expected} partitions, has {found}: as many as {names[0]}; "
                    "create it with `foretopic topics create` or let its partitions be"
                )
        return expected

    def _ignore(self, message: Message, error: InvalidRecord) -> None:
        # Dead letters for these topics are written by another service.
        self._logger.warning(
            "ignored", topic=message.topic, partition=message.partition, offset=message.offset, reason=error.reason
        )
