"""The two brokers that the contract binds, and what only a test does to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol
from uuid import uuid4

import pytest
from kafka import IsolationLevel, KafkaAdminClient, KafkaProducer
from kafka import TopicPartition as KafkaPartition
from kafka.admin import OffsetSpec

from runtime.broker import Broker, Message, Reader, TopicPartition, TopicSpec
from runtime.clock import SystemClock
from runtime.kafka_broker import KafkaBroker
from runtime.memory_broker import MemoryBroker

PARTITIONS = 3


class Hands(Protocol):
    """Does to a broker what no service may."""

    def skip_offsets(self, partition: TopicPartition) -> int:
        """Use up offsets at the end without a message that readers see; return how many."""
        ...

    def delete_before(self, partition: TopicPartition, offset: int) -> None:
        """Forget old messages, as retention does."""
        ...


class MemoryHands:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def skip_offsets(self, partition: TopicPartition) -> int:
        self._broker.skip_offsets(partition, 2)
        return 2

    def delete_before(self, partition: TopicPartition, offset: int) -> None:
        self._broker.delete_before(partition, offset)


class KafkaHands:
    def __init__(self, servers: str) -> None:
        self._servers = servers

    def skip_offsets(self, partition: TopicPartition) -> int:
        """Abort a transaction: its message and its marker have offsets, and no reader sees them."""
        producer = KafkaProducer(bootstrap_servers=self._servers, transactional_id=f"gap-{uuid4().hex}")
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(partition.topic, b"aborted", partition=partition.partition)
        producer.flush()
        producer.abort_transaction()
        producer.close()
        self._wait_for_marker(partition)
        return 2

    def _wait_for_marker(self, partition: TopicPartition) -> None:
        """The broker writes the marker some time after it has said that the transaction is aborted."""
        clock = SystemClock()
        deadline = clock.monotonic() + 60
        admin = KafkaAdminClient(bootstrap_servers=self._servers)
        wanted = {KafkaPartition(*partition): OffsetSpec.LATEST}

        def end(level: IsolationLevel) -> int:
            return int(admin.list_partition_offsets(wanted, isolation_level=level)[KafkaPartition(*partition)].offset)

        # The stable end stays before an open transaction, so the two meet when the marker stands.
        while end(IsolationLevel.READ_COMMITTED) < end(IsolationLevel.READ_UNCOMMITTED):
            assert clock.monotonic() < deadline, "the transaction's marker was not written"
        admin.close()

    def delete_before(self, partition: TopicPartition, offset: int) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self._servers)
        admin.delete_records({KafkaPartition(*partition): offset})
        admin.close()


@pytest.fixture(scope="session")
def kafka_broker(kafka: str) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(kafka, client_id="contract")
    yield broker
    broker.close()


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def binding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def broker(binding: str, request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn; the in-memory one with the machine's clock, so that both wait in the same way."""
    if binding == "memory":
        return MemoryBroker()
    return request.getfixturevalue("kafka_broker")  # type: ignore[no-any-return]  # the fixture above


@pytest.fixture
def hands(broker: Broker, request: pytest.FixtureRequest) -> Hands:
    if isinstance(broker, MemoryBroker):
        return MemoryHands(broker)
    return KafkaHands(request.getfixturevalue("kafka"))


@pytest.fixture
def topic(broker: Broker, topic_prefix: str) -> str:
    """A fresh topic with three partitions."""
    name = f"{topic_prefix}things"
    broker.ensure_topics([TopicSpec(name=name, partitions=PARTITIONS)])
    return name


def read_all(reader: Reader, count: int, deadline_seconds: float = 60.0) -> list[Message]:
    """Poll until ``count`` messages have come."""
    import time

    until = time.monotonic() + deadline_seconds
    found: list[Message] = []
    while len(found) < count:
        assert time.monotonic() < until, f"{len(found)} of {count} messages after {deadline_seconds} s"
        found.extend(reader.poll(0.2))
    return found
