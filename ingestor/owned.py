"""What the log says of the partitions that this instance owns, followed from their beginning."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import structlog

from ingestor.scheduler import READ, Scheduler
from ingestor.state import IngestLog
from runtime.broker import Broker, Message, TopicPartition
from runtime.clock import Clock
from runtime.errors import SettingsError, TransientError
from runtime.follower import Follower
from runtime.incoming import Incoming
from schemas.errors import InvalidRecord
from schemas.topics import INGEST_EVENTS, INGEST_REQUESTS, OBSERVATIONS, QUARANTINE

_FOLLOWED = (*READ, QUARANTINE)
#: What an ingest is decided from.
_DECIDED_FROM = (OBSERVATIONS, INGEST_EVENTS, QUARANTINE)
#: The whole history of the partitions may have to be read before the first request is handled.
_CATCH_UP_SECONDS = 120.0
_LOG = structlog.get_logger()


class OwnedPartitions:
    """Follows these partitions, and schedules what is due in them.

    Args:
        broker: The log.
        log: Learns what stands in it.
        clock: Says what is due.
        service: Who writes what is due.
        topic_prefix: The installation's prefix.
    """

    def __init__(self, *, broker: Broker, log: IngestLog, clock: Clock, service: str, topic_prefix: str) -> None:
        self._broker = broker
        self._state = log
        self._topic_prefix = topic_prefix
        self._partitions = 0
        self.follower = Follower(
            broker,
            topics=_FOLLOWED,
            topic_prefix=topic_prefix,
            apply=self._learn,
            on_invalid=_ignore,
            clock=clock,
        )
        self.scheduler = Scheduler(
            broker=broker, follower=self.follower, log=log, clock=clock, service=service, topic_prefix=topic_prefix
        )

    def partitions(self) -> int:
        """Return how many partitions the topics have; known once connected."""
        return self._partitions

    def connect(self) -> None:
        """Look at the topics.

        Raises:
            SettingsError: They have different numbers of partitions.
            TransientError: They are not there yet.
        """
        self._partitions = self._require_copartitioned()

    def take(self, numbers: Collection[int]) -> None:
        """Learn these partitions from the beginning: starting and recovering are the same."""
        self.scheduler.take(numbers, self._partitions)
        self.follower.add(dict.fromkeys(self._followed(numbers), 0))

    def lose(self, numbers: Collection[int]) -> None:
        """Forget these partitions."""
        self.follower.remove(self._followed(numbers))
        self._state.forget(numbers)
        self.scheduler.lose(numbers)

    def know_all(self, numbers: Iterable[int]) -> None:
        """Read all that says what is known of the series of these partitions.

        Raises:
            TransientError: Not now.
        """
        names = [topic.full_name(self._topic_prefix) for topic in _DECIDED_FROM]
        places = [TopicPartition(name, number) for number in sorted(set(numbers)) for name in names]
        self._catch_up(self._broker.end_offsets(places))

    def know_quarantine(self, messages: Iterable[Message]) -> None:
        """Read what stands before these decisions: what they are about.

        Raises:
            TransientError: Not now.
        """
        name = QUARANTINE.full_name(self._topic_prefix)
        followed = self.follower.positions()
        until: dict[TopicPartition, int] = {}
        for message in messages:
            place = TopicPartition(message.topic, message.partition)
            if message.topic == name and place in followed:
                until[place] = max(until.get(place, 0), message.offset)
        self._catch_up(until)

    def _catch_up(self, until: dict[TopicPartition, int]) -> None:
        positions = self.follower.positions()
        behind = {place: end for place, end in until.items() if positions[place] < end}
        if behind:
            self.follower.catch_up(behind, _CATCH_UP_SECONDS)

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
        if expected == 0:
            raise TransientError(f"topic {names[0]} is not there; `foretopic topics create` creates it")
        for name in names[1:]:
            found = self._broker.partitions(name)
            if found != expected:
                raise SettingsError(
                    f"topic {name} must have {expected} partitions, has {found}: as many as {names[0]}; "
                    "create it with `foretopic topics create` or let its partitions be"
                )
        return expected


def _ignore(message: Message, error: InvalidRecord) -> None:
    # Dead letters for these topics are written by another service.
    _LOG.warning(
        "ignored", topic=message.topic, partition=message.partition, offset=message.offset, reason=error.reason
    )
