"""Reading whole topics and single messages of the log, for the commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from runtime.broker import Broker, Message, TopicPartition
from runtime.clock import Clock
from runtime.errors import BrokerUnavailable
from schemas.topics import Topic

_POLL_SECONDS = 0.5
_SILENCE_SECONDS = 15.0


def topic_partitions(broker: Broker, topic: Topic, prefix: str) -> tuple[TopicPartition, ...]:
    """Return the partitions of a topic.

    Raises:
        BrokerUnavailable: The topic does not exist.
    """
    name = topic.full_name(prefix)
    count = broker.partitions(name)
    if count == 0:
        raise BrokerUnavailable(
            f"topic {name} does not exist; create it with `foretopic topics create`, or set FORETOPIC_TOPIC_PREFIX"
        )
    return tuple(TopicPartition(name, partition) for partition in range(count))


def read_to_end(broker: Broker, partitions: Sequence[TopicPartition], *, clock: Clock) -> Iterator[Message]:
    """Yield every message that the partitions hold now.

    Raises:
        BrokerUnavailable: The broker falls silent before their end.
    """
    begins, ends = broker.begin_offsets(partitions), broker.end_offsets(partitions)
    wanted = {partition: begins[partition] for partition in partitions if begins[partition] < ends[partition]}
    yield from read_range(broker, wanted, {partition: ends[partition] for partition in wanted}, clock=clock)


def read_range(
    broker: Broker, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int], *, clock: Clock
) -> Iterator[Message]:
    """Yield the messages from ``starts`` up to ``ends``, exclusive; both name the same partitions.

    Raises:
        BrokerUnavailable: The broker falls silent before the ends.
    """
    if not starts:
        return
    reader = broker.reader(starts)
    try:
        silent_seconds = 0.0
        while any(reader.position(partition) < end for partition, end in ends.items()):
            asked_at = clock.monotonic()
            messages = reader.poll(_POLL_SECONDS)
            # What the caller does with a message between two polls is no silence of the broker.
            silent_seconds = 0.0 if messages else silent_seconds + clock.monotonic() - asked_at
            if silent_seconds > _SILENCE_SECONDS:
                raise BrokerUnavailable(f"Kafka gave nothing for {_SILENCE_SECONDS:.0f} s, before the end of the topic")
            for message in messages:
                if message.offset < ends[TopicPartition(message.topic, message.partition)]:
                    yield message
    finally:
        reader.close()
