"""What the in-memory broker does at the wish of a test or a simulator; the rest stands in `tests/contract`."""

from __future__ import annotations

import threading

import pytest

from runtime.broker import OutgoingMessage, TopicPartition, TopicSpec
from runtime.errors import BrokerUnavailable, DeliveryFailed, TransientError
from runtime.memory_broker import MemoryBroker
from runtime.memory_delivery import PromptNetwork, SentMessage
from tests.fakes import ManualClock

PARTITION = TopicPartition("things", 0)


class HeldNetwork(PromptNetwork):
    """Keeps every message until the test decides."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[SentMessage] = []

    def on_send(self, sent: SentMessage) -> None:
        self.held.append(sent)


@pytest.fixture
def network() -> HeldNetwork:
    return HeldNetwork()


@pytest.fixture
def held(clock: ManualClock, network: HeldNetwork) -> MemoryBroker:
    """A broker whose acknowledgements wait for the test."""
    broker = MemoryBroker(clock, network=network)
    broker.create_topics("things", partitions=2)
    return broker


@pytest.fixture
def broker(clock: ManualClock) -> MemoryBroker:
    broker = MemoryBroker(clock)
    broker.create_topics("things", partitions=2)
    return broker


def message(value: bytes = b"v", partition: int = 0, key: bytes | None = b"k") -> OutgoingMessage:
    return OutgoingMessage("things", key, value, partition=partition)


def values(broker: MemoryBroker) -> list[bytes | None]:
    return [found.value for found in broker.reader({PARTITION: 0}).poll(0)]


def test_a_message_that_is_held_is_not_in_the_log(held: MemoryBroker, network: HeldNetwork, clock: ManualClock) -> None:
    delivery = held.producer().send(message())

    with pytest.raises(DeliveryFailed, match="not acknowledged in 3 s"):
        delivery.result(3)

    assert clock.monotonic() == pytest.approx(3)
    assert values(held) == []
    network.held[0].append()
    network.held[0].acknowledge()
    assert delivery.result(0) == (0, 0)


def test_a_message_may_stand_in_the_log_and_its_acknowledgement_be_lost(
    held: MemoryBroker, network: HeldNetwork
) -> None:
    producer = held.producer()
    producer.send(message())
    network.held[0].append()
    network.held[0].fail("the leader has moved")

    with pytest.raises(DeliveryFailed, match="1 messages were not acknowledged; the last one: the leader has moved"):
        producer.flush(1)

    assert values(held) == [b"v"]


def test_a_message_that_failed_may_still_arrive(held: MemoryBroker, network: HeldNetwork) -> None:
    held.producer().send(message())
    network.held[0].fail("timed out")
    network.held[0].append()

    assert values(held) == [b"v"]


def test_a_message_may_arrive_twice_as_from_a_client_without_idempotence(
    held: MemoryBroker, network: HeldNetwork
) -> None:
    held.producer().send(message())
    network.held[0].append()
    network.held[0].append_again()

    assert values(held) == [b"v", b"v"]


def test_messages_of_one_producer_to_one_partition_are_never_reordered(
    held: MemoryBroker, network: HeldNetwork
) -> None:
    producer = held.producer()
    producer.send(message(b"first"))
    producer.send(message(b"elsewhere", partition=1))
    producer.send(message(b"second"))
    network.held[2].append()
    network.held[1].append()

    with pytest.raises(ValueError, match="Kafka does not reorder"):
        network.held[0].append()


def test_an_acknowledgement_of_what_is_not_in_the_log_is_refused(held: MemoryBroker, network: HeldNetwork) -> None:
    held.producer().send(message())

    with pytest.raises(ValueError, match="append it first"):
        network.held[0].acknowledge()


def test_flush_waits_for_what_is_late_and_reports_it(held: MemoryBroker) -> None:
    producer = held.producer()
    producer.send(message())
    producer.send(message())

    with pytest.raises(DeliveryFailed, match="2 messages were not acknowledged in 5 s"):
        producer.flush(5)


def test_an_expired_member_hears_nothing_and_cannot_commit(broker: MemoryBroker) -> None:
    lost: list[TopicPartition] = []
    consumer = broker.consumer(group="g", topics=["things"], on_revoked=lost.extend)
    consumer.poll(0)
    broker.expire(consumer)

    assert lost == []
    assert broker.members("g") == 0
    with pytest.raises(TransientError, match="has moved on"):
        consumer.commit({PARTITION: 1})

    consumer.poll(0)
    assert set(lost) == {PARTITION, TopicPartition("things", 1)}
    assert broker.members("g") == 1


def test_a_member_that_does_not_poll_is_expired(clock: ManualClock) -> None:
    broker = MemoryBroker(clock, max_poll_interval_seconds=10)
    broker.create_topics("things", partitions=2)
    silent = broker.consumer(group="g", topics=["things"])
    silent.poll(0)
    clock.advance(11)
    other = broker.consumer(group="g", topics=["things"])
    other.poll(0)

    assert len(other.assignment()) == 2
    with pytest.raises(TransientError):
        silent.commit({PARTITION: 0})


def test_compaction_keeps_the_newest_message_of_each_key_at_its_offset(clock: ManualClock) -> None:
    broker = MemoryBroker(clock)
    broker.ensure_topics([TopicSpec(name="things", partitions=1, is_compacted=True)])
    producer = broker.producer()
    for key, value in [(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"4"), (b"c", None)]:
        producer.send(message(value or b"", key=key) if value else OutgoingMessage("things", key, None, partition=0))

    broker.compact("things")

    found = broker.reader({PARTITION: 0}).poll(0)
    assert [(kept.offset, kept.key, kept.value) for kept in found] == [
        (1, b"b", b"2"),
        (2, b"a", b"3"),
        (4, b"c", None),
    ]
    assert broker.end_offsets([PARTITION]) == {PARTITION: 5}


def test_a_topic_that_is_not_compacted_cannot_be(broker: MemoryBroker) -> None:
    with pytest.raises(ValueError, match="things is not compacted"):
        broker.compact("things")


def test_replicas_are_not_implemented(broker: MemoryBroker) -> None:
    with pytest.raises(NotImplementedError, match="keeps no replicas"):
        broker.ensure_topics([TopicSpec(name="copies", partitions=1, replication_factor=3)])


def test_an_outage_fails_every_call_and_loses_nothing(broker: MemoryBroker) -> None:
    producer, reader = broker.producer(), broker.reader({PARTITION: 0})
    consumer = broker.consumer(group="g", topics=["things"])
    consumer.poll(0)
    producer.send(message())
    broker.stop_answering()

    for call in (
        lambda: producer.send(message()),
        lambda: reader.poll(0),
        lambda: consumer.poll(0),
        lambda: consumer.commit({PARTITION: 1}),
        lambda: broker.end_offsets([PARTITION]),
        lambda: broker.members("g"),
    ):
        with pytest.raises(BrokerUnavailable):
            call()

    broker.answer_again()
    assert [found.value for found in consumer.poll(0)] == [b"v"]


def test_a_partition_that_a_topic_does_not_have_is_refused(broker: MemoryBroker) -> None:
    with pytest.raises(ValueError, match="topic things has partitions 0 to 1, not 7"):
        broker.reader({TopicPartition("things", 7): 0})


def test_a_poll_without_messages_moves_the_clock_by_its_timeout(broker: MemoryBroker, clock: ManualClock) -> None:
    assert list(broker.reader({PARTITION: 0}).poll(7)) == []
    assert clock.monotonic() == pytest.approx(7)


def test_polls_begin_with_another_partition_each_time(broker: MemoryBroker) -> None:
    """A full partition does not starve the others."""
    producer = broker.producer()
    for number in range(6):
        producer.send(message(partition=0 if number < 4 else 1))
    reader = broker.reader({PARTITION: 0, TopicPartition("things", 1): 0})

    first, second = reader.poll(0, 1), reader.poll(0, 1)

    assert {first[0].partition, second[0].partition} == {0, 1}


def test_many_threads_lose_nothing() -> None:
    broker = MemoryBroker()
    broker.create_topics("things", partitions=2)

    def write(number: int) -> None:
        producer = broker.producer()
        for count in range(200):
            producer.send(message(f"{number}-{count}".encode(), partition=number % 2))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    consumer = broker.consumer(group="g", topics=["things"])
    for thread in threads:
        thread.start()
    found: set[bytes | None] = set()
    while len(found) < 1_200:
        taken = consumer.poll(60.0)
        assert taken, f"{len(found)} of 1200 messages came"
        found.update(message.value for message in taken)
    for thread in threads:
        thread.join()

    assert len(found) == 1_200


def test_a_closed_client_says_so(broker: MemoryBroker) -> None:
    producer, reader = broker.producer(), broker.reader({PARTITION: 0})
    consumer = broker.consumer(group="g", topics=["things"])
    for client in (producer, reader, consumer):
        client.close()

    with pytest.raises(ValueError, match="producer is closed"):
        producer.send(message())
    with pytest.raises(ValueError, match="reader is closed"):
        reader.poll(0)
    with pytest.raises(ValueError, match="consumer is closed"):
        consumer.poll(0)
