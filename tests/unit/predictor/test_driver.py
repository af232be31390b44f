"""What Faust's driver does not do by itself: each test is red without the line that its docstring names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from faust.types.tuples import ConsumerMessage

from predictor.compose import build
from predictor.driver import MessageLost, PredictorApp, PredictorConsumer
from predictor.settings import PredictorSettings
from schemas.topics import DEAD_LETTERS, PARTITIONS

GENERATION = 7


@pytest.fixture
def app() -> Iterator[PredictorApp]:
    """The app of a predictor that is never started."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    app = build(
        PredictorSettings(topic_prefix="x-", instance_id="one", session_timeout_seconds=12), partitions=PARTITIONS
    ).app
    app.loop = loop
    app.finalize()
    app.consumer_generation_id = GENERATION
    app.topics._acking_topics.add("x-forecast-requests")
    consumer: Any = app.consumer
    yield app
    consumer._thread.thread_loop.close()
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def consumer(app: PredictorApp) -> PredictorConsumer:
    consumer: Any = app.consumer
    return consumer


def message(offset: int, generation: int = GENERATION) -> ConsumerMessage:
    return ConsumerMessage("x-forecast-requests", 0, offset, 0.0, 0, (), b"", b"", None, generation_id=generation)


def acked(consumer: PredictorConsumer) -> list[int]:
    return [offset for offsets in consumer._acked.values() for offset in offsets]


def test_faust_does_not_acknowledge_by_itself(consumer: PredictorConsumer) -> None:
    """Red without `PredictorConsumer.ack`: Faust acknowledges a message that it skips, or whose agent raised."""
    skipped = message(3)
    skipped.incref()

    skipped.ack(consumer)
    consumer.ack(message(4))

    assert acked(consumer) == []


def test_handled_message_is_acknowledged(consumer: PredictorConsumer) -> None:
    assert consumer.acknowledge(message(3))
    assert acked(consumer) == [3]


def test_message_of_an_earlier_generation_is_not_acknowledged(consumer: PredictorConsumer) -> None:
    """Red without the comparison in `PredictorConsumer.acknowledge`."""
    assert not consumer.acknowledge(message(3, GENERATION - 1))
    assert acked(consumer) == []


def test_faust_commits_past_a_gap_so_acknowledgements_must_come_in_order(consumer: PredictorConsumer) -> None:
    """Says why the lane keeps the order: Faust 0.15.3 commits 5 here, and offset 3 is lost. Red once it does not."""
    tp = message(0).tp
    consumer._committed_offset[tp] = 3
    consumer.acknowledge(message(4))

    assert consumer._new_offset(tp) == 5


def test_message_that_was_fetched_and_never_came_is_noticed(consumer: PredictorConsumer) -> None:
    """Red without the comparison in `PredictorConsumer.arrive`."""
    consumer.expected[message(0).tp].extend([3, 4, 7])
    consumer.arrive(message(3))

    with pytest.raises(MessageLost, match="offset 4 was fetched, 7 came"):
        consumer.arrive(message(7))


def test_gap_in_the_log_and_a_repeat_are_no_loss(consumer: PredictorConsumer) -> None:
    consumer.expected[message(0).tp].extend([3, 7])
    for offset in (3, 3, 7, 2, 9):
        consumer.arrive(message(offset))


def test_consumer_reads_committed_messages_as_a_static_member(app: PredictorApp, consumer: PredictorConsumer) -> None:
    """Red without ``isolation_level`` or ``group_instance_id`` in `PredictorConsumerThread`."""
    thread: Any = consumer._thread

    async def made() -> Any:
        return thread._create_consumer(None)

    client = app.loop.run_until_complete(made())
    client._closed = True

    assert client._isolation_level == "read_committed"
    assert client._group_instance_id == "one"
    assert client._group_id == "x-predictor"
    assert client._auto_offset_reset == "earliest"
    assert not client._enable_auto_commit
    assert client._session_timeout_ms == 12_000


def test_producer_is_idempotent_and_acknowledged_by_all(app: PredictorApp) -> None:
    """Red without `PredictorProducer._settings_extra`."""
    producer: Any = app.producer

    async def made() -> Any:
        return producer._new_producer()

    client = app.loop.run_until_complete(made())
    try:
        assert client._txn_manager is not None
        assert client._sender._acks == -1
        assert client._request_timeout_ms == 30_000
        assert client._max_request_size > DEAD_LETTERS.max_message_bytes
    finally:
        client._closed = True


def test_app_keeps_clear_of_what_faust_would_do(app: PredictorApp) -> None:
    conf = app.conf

    assert app.producer.linger_ms == 0
    assert conf.processing_guarantee.value == "at_least_once"
    assert not conf.web_enabled
    assert not conf.topic_allow_declare
    assert not conf.stream_wait_empty
    assert (conf.key_serializer, conf.value_serializer) == ("raw", "raw")
    assert [(agent.concurrency, agent._sinks) for agent in app.agents.values()] == [(1, []), (1, [])]
