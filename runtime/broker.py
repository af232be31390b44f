"""The broker as the services see it: messages in partitions, read by offset, written with acknowledgement.

Adapters may not vary in this:

- A partition is a sequence; offsets ascend, and may skip numbers (compaction, transactions).
- The partition of a message without an explicit one is ``murmur2(key)`` as in Kafka's default partitioner.
- ``Producer.send`` does not block; a message is in the log for sure only once its delivery is acknowledged.
  Messages of one producer to one partition are appended in the order of their ``send``.
- A group gives each partition to one of its members. Committed offsets are the *next* offset to read.
- A member that loses a partition hears of it in ``on_revoked`` before another member gets it; the callbacks run inside
  ``poll`` or ``close``. A member that vanished silently loses its partitions without a call; its commits are refused.
  Callbacks are quick and use of the consumer only ``assignment`` and ``pause``; ``on_revoked`` may run in another
  thread while the one that polls waits. They are called with at least one partition, and never a second time.
- A poll may outlast its timeout by half a second while its group rebalances.
- A reader goes on with what is left where old messages were deleted; beyond the end of the log it raises
  ``TransientError`` and never begins anew by itself.
- Consumers and readers belong to one thread; producers may be shared.
- What the broker cannot do now raises ``TransientError``; bad arguments raise ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

from kafka.partitioner.default import murmur2

Headers = tuple[tuple[str, bytes], ...]


class TopicPartition(NamedTuple):
    """One partition; ``topic`` is the full name in the broker, prefix included."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes as they stand in the log."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    #: The broker's time in milliseconds since the epoch; never used in a decision.
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """Bytes on their way; ``partition`` ``None`` lets the key decide."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """What a topic is to be; ``retention_ms`` ``None`` is for ever."""

    name: str
    partitions: int
    replication_factor: int = 1
    min_insync_replicas: int = 1
    retention_ms: int | None = None
    is_compacted: bool = False
    max_message_bytes: int = 1024 * 1024


class Delivery(Protocol):
    """The fate of one sent message."""

    def result(self, timeout_seconds: float) -> tuple[int, int]:
        """Wait for the acknowledgement and return ``(partition, offset)``.

        Raises:
            DeliveryFailed: Not acknowledged in time, or refused by the broker.
        """
        ...


class Producer(Protocol):
    """Append messages: idempotent within its life, acknowledged by all in-sync replicas."""

    def send(self, message: OutgoingMessage) -> Delivery:
        """Queue a message. Raises ``ValueError`` when it is larger than the topic takes."""
        ...

    def flush(self, timeout_seconds: float) -> None:
        """Wait until everything sent is acknowledged; raise ``DeliveryFailed`` when something is not."""
        ...

    def close(self) -> None:
        """Send what is queued, then let go of the broker."""
        ...


PartitionsCallback = Callable[[Collection[TopicPartition]], None]


class Consumer(Protocol):
    """A member of a consumer group: reads the partitions that the group gives it."""

    def poll(self, timeout_seconds: float, max_messages: int = 500) -> Sequence[Message]:
        """Return the next messages, in offset order a partition; empty after ``timeout_seconds`` without any."""
        ...

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store the next offsets to read.

        Raises:
            TransientError: Not stored; for one the group moved on and the partition is no longer ours.
        """
        ...

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that this member has now."""
        ...

    def position(self, partition: TopicPartition) -> int:
        """Return the offset that the next ``poll`` reads."""
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from ``offset``."""
        ...

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Stop delivering these partitions; membership goes on while ``poll`` is called."""
        ...

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver these partitions again."""
        ...

    def close(self) -> None:
        """Leave the group; uncommitted messages are delivered again to whoever is next."""
        ...


class Reader(Protocol):
    """Reads chosen partitions from chosen offsets, outside any group; commits nothing."""

    def poll(self, timeout_seconds: float, max_messages: int = 500) -> Sequence[Message]:
        """Return the next messages, in offset order a partition; empty after ``timeout_seconds`` without any."""
        ...

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these partitions, each from its offset."""
        ...

    def position(self, partition: TopicPartition) -> int:
        """Return the offset that the next ``poll`` reads."""
        ...

    def close(self) -> None:
        """Let go of the broker."""
        ...


class Broker(Protocol):
    """Everything that a process may ask of the event log."""

    def producer(self) -> Producer:
        """Return a new producer."""
        ...

    def consumer(
        self,
        *,
        group: str,
        topics: Sequence[str],
        on_assigned: PartitionsCallback | None = None,
        on_revoked: PartitionsCallback | None = None,
    ) -> Consumer:
        """Return a new member of ``group``; a group without a committed offset starts at the beginning."""
        ...

    def reader(self, positions: Mapping[TopicPartition, int]) -> Reader:
        """Return a reader of these partitions, each from its offset."""
        ...

    def partitions(self, topic: str) -> int:
        """Return how many partitions ``topic`` has; 0 when it does not exist."""
        ...

    def begin_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset of each partition."""
        ...

    def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset after the last committed message of each partition."""
        ...

    def offsets_at(self, partitions: Iterable[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        """Return for each partition the first offset whose time is at or after ``timestamp_ms``, else its end."""
        ...

    def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the committed offsets of a group; partitions without one are left out."""
        ...

    def members(self, group: str) -> int:
        """Return how many members a group has now; 0 when it does not exist."""
        ...

    def ensure_topics(self, specs: Iterable[TopicSpec]) -> None:
        """Create the topics that do not exist; raise ``ValueError`` when one exists with other partitions."""
        ...

    def close(self) -> None:
        """Let go of the broker's administration connection."""
        ...


@lru_cache(maxsize=16_384)
def partition_for(key: bytes, partitions: int) -> int:
    """Return the partition of ``key`` under Kafka's default partitioner, ``toPositive(murmur2(key)) % partitions``.

    >>> partition_for(b"market/AAPL@1d", 12) in range(12)
    True
    """
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
