"""What the Kafka adapter has to do beyond the contract: settings, foreign writers, faults of kafka-python."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from runtime.broker import OutgoingMessage, TopicPartition, TopicSpec
from runtime.errors import BrokerUnavailable
from runtime.kafka_broker import KafkaBroker
from tests.contract.conftest import PARTITIONS, read_all

pytestmark = pytest.mark.kafka


class BadName(str):
    """A header name that kafka-python writes as bytes that are no UTF-8; any C client can write such."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"na\xff\xfeme"


@pytest.fixture
def topic(kafka_broker: KafkaBroker, topic_prefix: str) -> str:
    name = f"{topic_prefix}things"
    kafka_broker.ensure_topics([TopicSpec(name=name, partitions=PARTITIONS)])
    return name


def test_topics_get_their_settings(kafka: str, kafka_broker: KafkaBroker, topic_prefix: str) -> None:
    spec = TopicSpec(name=f"{topic_prefix}kept", partitions=1, retention_ms=604_800_000, max_message_bytes=4_000_000)
    compacted = TopicSpec(name=f"{topic_prefix}newest", partitions=1, is_compacted=True)
    kafka_broker.ensure_topics([spec, compacted])

    admin = KafkaAdminClient(bootstrap_servers=kafka)
    found = admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in (spec.name, compacted.name)], config_filter="all"
    )["topic"]
    admin.close()

    def values(name: str) -> dict[str, str]:
        wanted = ("cleanup.policy", "retention.ms", "max.message.bytes", "min.insync.replicas", "compression.type")
        return {key: found[name][key]["value"] for key in wanted}

    assert values(spec.name) == {
        "cleanup.policy": "delete",
        "retention.ms": "604800000",
        "max.message.bytes": "4000000",
        "min.insync.replicas": "1",
        "compression.type": "uncompressed",
    }
    assert values(compacted.name)["cleanup.policy"] == "compact"
    assert values(compacted.name)["retention.ms"] == "-1"


def test_topics_may_take_longer_to_be_made_than_a_request_may(
    kafka_broker: KafkaBroker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was busy took five seconds for the topics of an installation; nothing answers late meanwhile."""
    waited: list[int] = []
    wait = KafkaAdminClient.wait_for_topics

    def note(admin: KafkaAdminClient, names: list[str], timeout_ms: int) -> object:
        waited.append(timeout_ms)
        return wait(admin, names, timeout_ms=timeout_ms)

    monkeypatch.setattr(KafkaAdminClient, "wait_for_topics", note)
    kafka_broker.ensure_topics([TopicSpec(name=f"{topic_prefix}slow", partitions=1)])

    assert waited == [60_000]


def test_the_producer_is_idempotent_and_waits_for_all_replicas(kafka_broker: KafkaBroker) -> None:
    producer = kafka_broker.producer()

    assert producer._client.config["enable_idempotence"] is True
    assert producer._client.config["acks"] == -1
    assert producer._client.config["linger_ms"] == 0
    producer.close()


def test_consumers_read_committed_and_commit_nothing_by_themselves(kafka_broker: KafkaBroker, topic: str) -> None:
    consumer = kafka_broker.consumer(group=topic, topics=[topic])
    reader = kafka_broker.reader({TopicPartition(topic, 0): 0})

    for client in (consumer._client, reader._client):
        assert client.config["isolation_level"] == "read_committed"
        assert client.config["enable_auto_commit"] is False
        assert client.config["allow_auto_create_topics"] is False
    consumer.close()
    reader.close()


def test_members_join_under_impatient_polls(kafka_broker: KafkaBroker, topic_prefix: str) -> None:
    """Red without `request_rejoin` in `KafkaGroupConsumer._keep_joining`: one of ten such members hangs for ever."""
    for number in range(40):
        name = f"{topic_prefix}{number}"
        kafka_broker.ensure_topics([TopicSpec(name=name, partitions=1)])
        consumer = kafka_broker.consumer(group=name, topics=[name])
        deadline = time.monotonic() + 60
        while not consumer.assignment():
            assert time.monotonic() < deadline, f"member {number} never got its partition"
            consumer.poll(0.01 * (1 + number % 3))
        consumer.close()


def test_a_header_name_that_is_no_utf8_stops_nobody(kafka: str, kafka_broker: KafkaBroker, topic: str) -> None:
    """Red without `runtime.kafka_records.install`: the poll after the one that raises never returns."""
    producer = KafkaProducer(bootstrap_servers=kafka)
    for headers in ([("good", b"1")], [("first", b"1"), (BadName("bad"), b"2"), ("last", b"3")], []):
        producer.send(topic, b"value", key=b"key", headers=headers, partition=0)
    producer.flush()
    producer.close()

    reader = kafka_broker.reader({TopicPartition(topic, 0): 0})
    messages = read_all(reader, 3)

    assert [message.headers for message in messages] == [
        (("good", b"1"),),
        (("first", b"1"), ("na??me", b"2"), ("last", b"3")),
        (),
    ]
    assert {(message.key, message.value) for message in messages} == {(b"key", b"value")}
    reader.close()


def test_what_another_client_compressed_is_read(kafka: str, kafka_broker: KafkaBroker, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka, compression_type="gzip", linger_ms=50)
    for number in range(20):
        producer.send(topic, str(number).encode() * 100, partition=0)
    producer.flush()
    producer.close()

    reader = kafka_broker.reader({TopicPartition(topic, 0): 0})

    assert [message.value for message in read_all(reader, 20)] == [str(n).encode() * 100 for n in range(20)]
    reader.close()


def test_a_broker_that_does_not_answer_is_said_to_be_unavailable_and_leaves_no_thread_behind() -> None:
    """Red without `require_reachable`: every try would leave a thread of kafka-python's running."""
    broker = KafkaBroker("127.0.0.1:9", client_id="nobody")
    # Not how many: a thread of a client that was closed before may still be ending.
    before = set(threading.enumerate())

    with pytest.raises(BrokerUnavailable, match=r"no Kafka broker accepts a connection: 127\.0\.0\.1:9"):
        broker.partitions("x")
    with pytest.raises(BrokerUnavailable):
        broker.producer()
    with pytest.raises(BrokerUnavailable):
        broker.consumer(group="g", topics=["x"])
    with pytest.raises(BrokerUnavailable):
        broker.reader({})

    assert set(threading.enumerate()) <= before
    broker.close()


@pytest.mark.parametrize("servers", ["", "localhost", ":9092", "localhost:kafka", "a:1,b"])
def test_servers_of_another_form_are_refused(servers: str) -> None:
    with pytest.raises(ValueError, match="bootstrap servers must be host:port, separated by commas, were"):
        KafkaBroker(servers, client_id="nobody")


def test_nothing_connects_before_it_is_asked_for() -> None:
    threads = set(threading.enumerate())

    broker = KafkaBroker("127.0.0.1:9", client_id="nobody")
    broker.close()

    assert set(threading.enumerate()) <= threads


def test_a_forked_process_makes_its_own_connection(kafka_broker: KafkaBroker, topic: str) -> None:
    """Red without the process id in `KafkaBroker._admin`: the child would wait for a thread that it does not have."""
    assert kafka_broker.partitions(topic) == PARTITIONS

    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if kafka_broker.partitions(topic) == PARTITIONS else 1)
        finally:
            os._exit(2)
    status = wait_for_child(child, 60)

    assert os.waitstatus_to_exitcode(status) == 0
    assert kafka_broker.partitions(topic) == PARTITIONS


def wait_for_child(child: int, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail(f"the forked process did not end within {seconds} s")
        threading.Event().wait(0.02)


def test_there_and_back_waits_for_nothing_else(kafka_broker: KafkaBroker, topic: str) -> None:
    """Not a benchmark: red when a poll waits out its timeout; that no send lingers is seen in the settings."""
    producer = kafka_broker.producer()
    reader = kafka_broker.reader({TopicPartition(topic, 0): 0})
    started = time.monotonic()
    for number in range(60):
        producer.send(OutgoingMessage(topic, b"k", str(number).encode(), partition=0))
        assert [message.value for message in reader.poll(100.0)] == [str(number).encode()]

    assert time.monotonic() - started < 100.0
    reader.close()
    producer.close()


def test_closing_leaves_no_thread_behind(kafka_broker: KafkaBroker, topic: str) -> None:
    kafka_broker.partitions(topic)
    before = {thread.ident for thread in threading.enumerate()}
    resources: list[Callable[[], None]] = []
    producer = kafka_broker.producer()
    reader = kafka_broker.reader({TopicPartition(topic, 0): 0})
    consumer = kafka_broker.consumer(group=topic, topics=[topic])
    resources += [producer.close, reader.close, consumer.close]
    producer.send(OutgoingMessage(topic, b"k", b"v")).result(60.0)
    consumer.poll(0.5)

    for close in resources:
        close()

    deadline = time.monotonic() + 60
    while extra := {thread.ident for thread in threading.enumerate()} - before:
        assert time.monotonic() < deadline, extra
        threading.Event().wait(0.02)
