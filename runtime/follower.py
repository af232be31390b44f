"""Reads whole partitions outside any group and applies each record: how a service rebuilds and keeps its state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from runtime.batch import partition_of
from runtime.broker import Broker, Message, Reader, TopicPartition
from runtime.clock import Clock, SystemClock
from runtime.errors import TransientError
from runtime.incoming import Incoming, decode_message
from schemas.errors import InvalidRecord
from schemas.topics import Topic

#: A gap at the end of a partition wakes nobody, so a wait looks at the position again after so long.
_POLL_SECONDS = 0.05
#: While messages come without a pause, the positions are compared with the reader's after so long.
_LOOK_SECONDS = 0.5


class Follower:
    """Follows partitions of some topics, each message once and in order.

    Belongs to one thread. When ``apply`` raises, the message counts as not read: the next `poll` begins with it.

    Args:
        broker: Where the topics are.
        topics: What may be followed.
        topic_prefix: The installation's prefix.
        apply: Called with every record.
        on_invalid: Called with every message that is no record; reading goes on after it.
        clock: Measures the timeouts.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        topics: Sequence[Topic],
        topic_prefix: str,
        apply: Callable[[Incoming], None],
        on_invalid: Callable[[Message, InvalidRecord], None],
        clock: Clock | None = None,
    ) -> None:
        self._broker = broker
        self._topics = {topic.full_name(topic_prefix): topic for topic in topics}
        self._apply = apply
        self._on_invalid = on_invalid
        self._clock: Clock = clock or SystemClock()
        self._positions: dict[TopicPartition, int] = {}
        self._reader: Reader | None = None
        self._must_assign = True
        self._next_look = 0.0

    def assign(self, partitions: Mapping[TopicPartition, int]) -> None:
        """Follow exactly these partitions, each from its offset (0 is the beginning)."""
        for partition, offset in partitions.items():
            if partition.topic not in self._topics:
                raise ValueError(f"topic {partition.topic} is not one of {', '.join(sorted(self._topics))}")
            if offset < 0:
                raise ValueError(f"offset of {partition} must be >= 0, was {offset}")
        self._positions = dict(partitions)
        self._must_assign = True

    def add(self, partitions: Mapping[TopicPartition, int]) -> None:
        """Follow these partitions too; one that is followed already starts again from its new offset."""
        self.assign({**self._positions, **partitions})

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        """Stop following these partitions; one that is not followed is left out."""
        gone = set(partitions)
        self.assign({key: offset for key, offset in self._positions.items() if key not in gone})

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset to read of each partition: everything below it has been applied."""
        return dict(self._positions)

    def poll(self, timeout_seconds: float, max_messages: int = 500) -> int:
        """Apply the messages that are there, waiting at most ``timeout_seconds`` for the first; return how many.

        Raises:
            TransientError: The broker cannot be read now.
        """
        if not self._positions:
            return 0
        reader = self._assigned_reader()
        messages = reader.poll(timeout_seconds, max_messages)
        # Until all is applied the reader is ahead of us: should `apply` raise, we go back to our own positions.
        self._must_assign = True
        for message in messages:
            self._take(message)
        if not messages or self._clock.monotonic() >= self._next_look:
            self._look_past_gaps(self._positions)
        self._must_assign = False
        return len(messages)

    def take(self, incoming: Incoming) -> None:
        """Apply a record that somebody has with its place already, where it is the next of its partition.

        Otherwise it is left to `poll`: something that is not applied yet stands before it, or nobody follows it.
        """
        place = partition_of(incoming.message)
        if self._positions.get(place) == incoming.message.offset:
            self._apply(incoming)
            self._positions[place] += 1
            self._must_assign = True

    def catch_up(self, until: Mapping[TopicPartition, int] | None, timeout_seconds: float) -> None:
        """Read until every partition of ``until`` has reached its offset.

        Args:
            until: Next offset to read of each partition; ``None``: the end of every followed partition now.
            timeout_seconds: How long it may take.

        Raises:
            TransientError: Not reached in time.
            ValueError: A partition of ``until`` is not followed.
        """
        goal = self._broker.end_offsets(self._positions) if until is None else dict(until)
        unknown = sorted(goal.keys() - self._positions.keys())
        if unknown:
            raise ValueError(f"not followed: {', '.join(f'{topic}-{number}' for topic, number in unknown)}")
        deadline = self._clock.monotonic() + timeout_seconds
        while behind := {key: end for key, end in goal.items() if self._positions[key] < end}:
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                partition, end = next(iter(behind.items()))
                raise TransientError(
                    f"{partition.topic}-{partition.partition} is read up to {self._positions[partition]}, "
                    f"{end} was to be reached in {timeout_seconds} s"
                )
            if self.poll(min(remaining, _POLL_SECONDS)):
                self._look_past_gaps(behind)

    def close(self) -> None:
        """Let go of the broker."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
            self._must_assign = True

    def _look_past_gaps(self, partitions: Iterable[TopicPartition]) -> None:
        """Take over where the reader stands: it also moves past offsets that hold no message.

        Asking is dear (kafka-python looks at all partitions for the position of one), so it is done when there is
        nothing else to do, and now and then.
        """
        assert self._reader is not None
        for partition in partitions:
            self._positions[partition] = max(self._positions[partition], self._reader.position(partition))
        self._next_look = self._clock.monotonic() + _LOOK_SECONDS

    def _assigned_reader(self) -> Reader:
        if self._reader is None:
            self._reader = self._broker.reader(self._positions)
        elif self._must_assign:
            self._reader.assign(self._positions)
        self._must_assign = False
        return self._reader

    def _take(self, message: Message) -> None:
        partition = partition_of(message)
        topic = self._topics[message.topic]
        try:
            incoming = decode_message(topic, message)
        except InvalidRecord as error:
            self._on_invalid(message, error)
        else:
            self._apply(incoming)
        self._positions[partition] = message.offset + 1
