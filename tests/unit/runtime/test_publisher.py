"""A publisher writes what any reader can decode, and refuses what the topic does not take."""

from __future__ import annotations

import pytest

from runtime.broker import TopicPartition, TopicSpec
from runtime.memory_broker import MemoryBroker
from runtime.publisher import Publisher
from runtime.topic_specs import specs
from schemas.codec import decode
from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS
from tests.factories import deployment, model_release, observation_batch
from tests.fakes import ManualClock


@pytest.fixture
def publisher(broker: MemoryBroker, clock: ManualClock) -> Publisher:
    return Publisher(broker.producer(), service="trainer", clock=clock, code_version="7.0")


def test_a_published_record_is_read_back_with_its_envelope(
    broker: MemoryBroker, publisher: Publisher, clock: ManualClock
) -> None:
    record = deployment()
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"

    assert publisher.send(DEPLOYMENTS, record, traceparent=trace).result(1.0) == (0, 0)

    (message,) = broker.reader({TopicPartition("deployments", 0): 0}).poll(0)
    decoded = decode(DEPLOYMENTS, message.value, message.headers)
    assert decoded.record == record
    assert decoded.envelope.source == "/foretopic/trainer"
    assert decoded.envelope.code_version == "7.0"
    assert decoded.envelope.time == clock.now()
    assert decoded.envelope.traceparent == trace


def test_the_prefix_stands_before_the_topic(clock: ManualClock) -> None:
    broker = MemoryBroker(clock)
    broker.ensure_topics(specs("acme-"))

    Publisher(broker.producer(), service="trainer", clock=clock, topic_prefix="acme-").send(DEPLOYMENTS, deployment())

    assert broker.end_offsets([TopicPartition("acme-deployments", 0)]) == {TopicPartition("acme-deployments", 0): 1}


def test_a_given_partition_wins_over_the_key(publisher: Publisher) -> None:
    assert publisher.send(OBSERVATIONS, observation_batch(), partition=11).result(1.0)[0] == 11


def test_a_message_over_the_topics_limit_is_refused_before_it_is_sent(clock: ManualClock) -> None:
    """Red without `require_size` in `Publisher.send`, whatever the broker would take."""
    broker = MemoryBroker(clock)
    broker.ensure_topics([TopicSpec(name="models", partitions=1, max_message_bytes=2**30)])
    publisher = Publisher(broker.producer(), service="trainer", clock=clock)
    too_large = model_release(graph=bytes(MODELS.max_message_bytes))

    with pytest.raises(ValueError, match="a message to models may have 33554432 bytes, this one has up to"):
        publisher.send(MODELS, too_large)
    assert broker.end_offsets([TopicPartition("models", 0)]) == {TopicPartition("models", 0): 0}


def test_a_record_of_another_topic_is_refused(publisher: Publisher) -> None:
    with pytest.raises(ValueError, match="topic models carries no Deployment"):
        publisher.send(MODELS, deployment())
