"""Producing and reading: both brokers keep what `runtime.broker` promises."""

from __future__ import annotations

import threading
import time

import pytest

from runtime.broker import Broker, OutgoingMessage, TopicPartition, TopicSpec, partition_for
from runtime.errors import DeliveryFailed, TransientError
from tests.contract.conftest import PARTITIONS, Hands, read_all


def send(broker: Broker, topic: str, *values: bytes, partition: int = 0) -> None:
    producer = broker.producer()
    for value in values:
        producer.send(OutgoingMessage(topic, b"key", value, partition=partition))
    producer.flush(60.0)
    producer.close()


def test_a_producer_keeps_its_order_in_a_partition(broker: Broker, topic: str) -> None:
    producer = broker.producer()
    deliveries = [
        producer.send(OutgoingMessage(topic, b"key", str(number).encode(), partition=1)) for number in range(200)
    ]
    producer.flush(60.0)

    reader = broker.reader({TopicPartition(topic, 1): 0})
    messages = read_all(reader, 200)

    assert [message.value for message in messages] == [str(number).encode() for number in range(200)]
    assert [message.offset for message in messages] == list(range(200))
    assert [delivery.result(60.0) for delivery in deliveries] == [(1, offset) for offset in range(200)]
    reader.close()
    producer.close()


def test_the_key_decides_the_partition_by_murmur2(broker: Broker, topic: str) -> None:
    producer = broker.producer()
    keys = [f"market/S{number}@1d".encode() for number in range(40)]

    found = {key: producer.send(OutgoingMessage(topic, key, b"v")).result(60.0)[0] for key in keys}

    assert found == {key: partition_for(key, PARTITIONS) for key in keys}
    assert len(set(found.values())) == PARTITIONS
    producer.close()


def test_a_message_without_key_and_partition_is_refused(broker: Broker, topic: str) -> None:
    producer = broker.producer()

    with pytest.raises(ValueError, match="a message needs a key or a partition"):
        producer.send(OutgoingMessage(topic, None, b"v"))
    producer.close()


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"k", b"v", (("one", b"1"), ("two", b"\x00\xff"), ("one", b"again"))),
        (None, b"v", ()),
        (b"k", None, (("ce_id", b"x"),)),
        (b"", b"", (("empty", b""),)),
        ("schlüssel/ключ".encode(), "値".encode(), (("naïve", b"x"),)),
    ],
)
def test_bytes_come_back_as_they_went(
    broker: Broker, topic: str, key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...]
) -> None:
    producer = broker.producer()
    producer.send(OutgoingMessage(topic, key, value, headers, partition=2)).result(60.0)

    reader = broker.reader({TopicPartition(topic, 2): 0})
    (message,) = read_all(reader, 1)

    assert (message.key, message.value, message.headers) == (key, value, headers)
    assert abs(message.timestamp_ms - time.time() * 1000) < 60_000
    reader.close()
    producer.close()


def test_offsets_of_begin_end_and_time(broker: Broker, topic: str) -> None:
    one, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    send(broker, topic, b"a", b"b")
    reader = broker.reader({one: 0})
    first, second = read_all(reader, 2)
    reader.close()

    assert broker.begin_offsets([one, other]) == {one: 0, other: 0}
    assert broker.end_offsets([one, other]) == {one: 2, other: 0}
    assert broker.offsets_at([one, other], first.timestamp_ms) == {one: 0, other: 0}
    assert broker.offsets_at([one], second.timestamp_ms + 60_000) == {one: 2}
    assert broker.offsets_at([one], 0) == {one: 0}
    assert broker.end_offsets([]) == {}


def test_a_reader_starts_at_its_offset_and_knows_where_it_is(broker: Broker, topic: str) -> None:
    partition = TopicPartition(topic, 0)
    send(broker, topic, b"a", b"b", b"c")

    reader = broker.reader({partition: 1})
    assert reader.position(partition) == 1
    assert [message.value for message in read_all(reader, 2)] == [b"b", b"c"]
    assert reader.position(partition) == 3

    reader.assign({partition: 0, TopicPartition(topic, 1): 0})
    assert [message.value for message in read_all(reader, 3)] == [b"a", b"b", b"c"]
    reader.close()


def test_a_reader_that_is_assigned_nothing_reads_nothing(broker: Broker, topic: str) -> None:
    send(broker, topic, b"a")
    reader = broker.reader({TopicPartition(topic, 0): 0})
    reader.assign({})

    assert list(reader.poll(0.05)) == []
    reader.close()


def test_a_poll_takes_no_more_than_it_is_told(broker: Broker, topic: str) -> None:
    send(broker, topic, *[b"v"] * 10)
    reader = broker.reader({TopicPartition(topic, 0): 0})

    first = reader.poll(60.0, 3)
    second = reader.poll(60.0, 3)

    assert [message.offset for message in (*first, *second)] == [0, 1, 2, 3, 4, 5]
    assert reader.position(TopicPartition(topic, 0)) == 6
    reader.close()


def test_a_poll_returns_when_a_message_comes_and_does_not_wait_out_its_timeout(broker: Broker, topic: str) -> None:
    reader = broker.reader({TopicPartition(topic, 0): 0})
    assert list(reader.poll(0.1)) == []
    producer = broker.producer()
    timer = threading.Timer(0.2, producer.send, [OutgoingMessage(topic, b"k", b"v", partition=0)])
    timer.start()

    started = time.monotonic()
    messages = reader.poll(200.0)

    assert len(messages) == 1
    assert time.monotonic() - started < 100.0
    timer.join()
    reader.close()
    producer.close()


def test_a_gap_at_the_end_is_passed(broker: Broker, topic: str, hands: Hands) -> None:
    partition = TopicPartition(topic, 0)
    send(broker, topic, b"a")
    skipped = hands.skip_offsets(partition)
    end = 1 + skipped

    assert broker.end_offsets([partition]) == {partition: end}
    reader = broker.reader({partition: 0})
    read_all(reader, 1)
    until = time.monotonic() + 60
    while reader.position(partition) < end:
        assert time.monotonic() < until
        assert list(reader.poll(0.05)) == []
    send(broker, topic, b"b")
    (message,) = read_all(reader, 1)

    assert (message.offset, message.value) == (end, b"b")
    reader.close()


def test_a_reader_whose_offset_was_deleted_goes_on_with_what_is_left(broker: Broker, topic: str, hands: Hands) -> None:
    partition = TopicPartition(topic, 0)
    send(broker, topic, b"a", b"b", b"c")
    hands.delete_before(partition, 2)

    reader = broker.reader({partition: 0})

    assert [message.offset for message in read_all(reader, 1)] == [2]
    assert broker.begin_offsets([partition]) == {partition: 2}
    reader.close()


def test_a_reader_beyond_the_end_says_so_and_does_not_begin_anew(broker: Broker, topic: str) -> None:
    send(broker, topic, b"a")
    reader = broker.reader({TopicPartition(topic, 0): 1_000})

    with pytest.raises(TransientError, match="was it deleted and made anew"):
        read_all(reader, 1)
    reader.close()


def test_a_message_that_is_too_large_is_refused_at_once(broker: Broker, topic_prefix: str) -> None:
    name = f"{topic_prefix}small"
    broker.ensure_topics([TopicSpec(name=name, partitions=1, max_message_bytes=10_000)])
    producer = broker.producer()

    with pytest.raises(ValueError, match="may have 10000 bytes, this one has up to"):
        producer.send(OutgoingMessage(name, b"k", bytes(10_000)))
    producer.send(OutgoingMessage(name, b"k", bytes(9_000))).result(60.0)

    assert broker.end_offsets([TopicPartition(name, 0)]) == {TopicPartition(name, 0): 1}
    producer.close()


def test_a_message_of_many_mebibytes_passes_where_the_topic_takes_it(broker: Broker, topic_prefix: str) -> None:
    name = f"{topic_prefix}large"
    broker.ensure_topics([TopicSpec(name=name, partitions=1, max_message_bytes=64 * 1024 * 1024)])
    value = bytes(range(256)) * (30 * 1024 * 4)
    producer = broker.producer()
    # A broker with a small heap takes seconds for it.
    producer.send(OutgoingMessage(name, b"k", value)).result(60.0)

    reader = broker.reader({TopicPartition(name, 0): 0})
    (message,) = read_all(reader, 1)

    assert message.value == value
    reader.close()
    producer.close()


def test_flush_reports_what_the_broker_refused(broker: Broker, topic_prefix: str) -> None:
    """A message without a key to a compacted topic is refused by the broker, after the send."""
    name = f"{topic_prefix}compacted"
    broker.ensure_topics([TopicSpec(name=name, partitions=1, is_compacted=True)])
    producer = broker.producer()
    good = producer.send(OutgoingMessage(name, b"k", b"v"))
    producer.flush(60.0)
    bad = producer.send(OutgoingMessage(name, None, b"v", partition=0))

    with pytest.raises(DeliveryFailed, match="1 messages were not acknowledged"):
        producer.flush(60.0)
    with pytest.raises(DeliveryFailed):
        bad.result(60.0)

    assert good.result(60.0) == (0, 0)
    producer.flush(60.0)
    producer.close()


def test_topics_are_created_once_and_never_with_other_partitions(broker: Broker, topic_prefix: str) -> None:
    specs = [
        TopicSpec(name=f"{topic_prefix}one", partitions=2),
        TopicSpec(name=f"{topic_prefix}two", partitions=4, retention_ms=86_400_000),
    ]
    assert broker.partitions(specs[0].name) == 0

    broker.ensure_topics(specs)
    broker.ensure_topics(specs)

    assert [broker.partitions(spec.name) for spec in specs] == [2, 4]
    with pytest.raises(ValueError, match="exists with 2 partitions, 3 are wanted"):
        broker.ensure_topics([TopicSpec(name=specs[0].name, partitions=3)])


def test_a_topic_that_does_not_exist_yet_is_a_transient_fault(broker: Broker, topic_prefix: str) -> None:
    producer = broker.producer()

    with pytest.raises(TransientError):
        producer.send(OutgoingMessage(f"{topic_prefix}missing", b"k", b"v"))
    with pytest.raises(TransientError):
        broker.end_offsets([TopicPartition(f"{topic_prefix}missing", 0)])
    producer.close()
