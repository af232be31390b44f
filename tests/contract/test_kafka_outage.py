"""The same clients live through the death of their broker."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from foretopic.embedded_kafka import EmbeddedKafka
from runtime.broker import Message, OutgoingMessage, TopicPartition, TopicSpec
from runtime.errors import BrokerUnavailable, DeliveryFailed, TransientError
from runtime.kafka_broker import KafkaBroker

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
]

PARTITION = TopicPartition("things", 0)


def eventually(what: str, attempt: Callable[[], bool], seconds: float = 120.0) -> None:
    """Try until it holds; transient errors are tried again, as the worker does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if attempt():
                return
        except TransientError:
            threading.Event().wait(0.05)
        assert time.monotonic() < deadline, what


def test_clients_go_on_after_the_broker_came_back(tmp_path: Path) -> None:
    live_through_an_outage(tmp_path)
    # Here, where their warnings are not errors: the sockets that the closed clients still held.
    gc.collect()


def live_through_an_outage(tmp_path: Path) -> None:
    with EmbeddedKafka(tmp_path) as kafka:
        broker = KafkaBroker(kafka.bootstrap_servers, client_id="outage")
        broker.ensure_topics([TopicSpec(name=PARTITION.topic, partitions=1)])
        producer = broker.producer()
        consumer = broker.consumer(group="g", topics=[PARTITION.topic])
        reader = broker.reader({PARTITION: 0})
        read: list[Message] = []
        consumed: list[Message] = []

        def read_up_to(value: bytes) -> bool:
            read.extend(reader.poll(0.2))
            return any(message.value == value for message in read)

        def consume_up_to(value: bytes) -> bool:
            consumed.extend(consumer.poll(0.2))
            return any(message.value == value for message in consumed)

        producer.send(OutgoingMessage(PARTITION.topic, b"k", b"before"))
        producer.flush(60.0)
        eventually("the consumer reads", lambda: consume_up_to(b"before"))
        eventually("the reader reads", lambda: read_up_to(b"before"))
        consumer.commit({PARTITION: 1})

        kafka.kill(0)
        producer.send(OutgoingMessage(PARTITION.topic, b"k", b"during"))
        with pytest.raises(DeliveryFailed):
            producer.flush(1.0)
        with pytest.raises(TransientError):
            broker.end_offsets([PARTITION])
        with pytest.raises(BrokerUnavailable):
            broker.producer()
        assert list(consumer.poll(0.2)) == []
        kafka.restart(0)

        def send_after() -> bool:
            producer.send(OutgoingMessage(PARTITION.topic, b"k", b"after"))
            producer.flush(10.0)
            return True

        eventually("the producer sends again", send_after)
        eventually("the consumer reads on", lambda: consume_up_to(b"after"))
        eventually("the reader reads on", lambda: read_up_to(b"after"))
        end = broker.end_offsets([PARTITION])[PARTITION]

        def commit() -> bool:
            consumer.commit({PARTITION: end})
            return True

        eventually("the commit is taken", commit)
        assert broker.committed("g", [PARTITION]) == {PARTITION: end}
        assert [message.value for message in read][:2] == [b"before", b"during"]
        for client in (producer, consumer, reader, broker):
            client.close()
