"""The worker on both brokers: what a crash leaves is done by the next one."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import pytest

from runtime.broker import Broker, TopicPartition
from runtime.clock import SystemClock
from runtime.incoming import Incoming, Outgoing, decode_message
from runtime.topic_specs import specs
from runtime.worker import Worker
from schemas.forecasts import ForecastRefused, ForecastRequested
from schemas.topics import DEAD_LETTERS, FORECAST_REQUESTS, FORECASTS
from tests.contract.conftest import read_all
from tests.factories import forecast_refused, forecast_request, outgoing_message

COUNT = 20
#: Of half a second at most each: they only end a broken run.
MOST_CYCLES = 240


class Refuser:
    def needs(self, batch: Sequence[Incoming]) -> Mapping[TopicPartition, int]:
        return {}

    def handle(self, batch: Sequence[Incoming]) -> Sequence[Outgoing]:
        requests = [i.record for i in batch if isinstance(i.record, ForecastRequested)]
        return [Outgoing(topic=FORECASTS, record=forecast_refused(request.request_id)) for request in requests]


@pytest.fixture
def prefix(broker: Broker, topic_prefix: str) -> str:
    broker.ensure_topics(specs(topic_prefix))
    return topic_prefix


def make_worker(broker: Broker, prefix: str) -> Worker:
    return Worker(
        service="refuser",
        broker=broker,
        topics=[FORECAST_REQUESTS],
        handler=Refuser(),
        clock=SystemClock(),
        topic_prefix=prefix,
        poll_timeout_seconds=0.5,
    )


def ask(broker: Broker, prefix: str, *request_ids: str) -> None:
    producer = broker.producer()
    for number, request_id in enumerate(request_ids):
        message = outgoing_message(
            FORECAST_REQUESTS, forecast_request(request_id), prefix=prefix, partition=number % 12
        )
        producer.send(message)
    producer.flush(60.0)
    producer.close()


def answered(broker: Broker, prefix: str, count: int) -> list[str]:
    positions = {TopicPartition(FORECASTS.full_name(prefix), number): 0 for number in range(FORECASTS.partitions)}
    reader = broker.reader(positions)
    records = [decode_message(FORECASTS, message).record for message in read_all(reader, count)]
    reader.close()
    return [record.request_id for record in records if isinstance(record, ForecastRefused)]


def backlog(broker: Broker, prefix: str) -> int:
    keys = [TopicPartition(FORECAST_REQUESTS.full_name(prefix), number) for number in range(12)]
    committed = broker.committed(f"{prefix}refuser", keys)
    return sum(end - committed.get(key, 0) for key, end in broker.end_offsets(keys).items())


def test_a_worker_answers_until_it_is_stopped(broker: Broker, prefix: str) -> None:
    ids = [f"r{number}" for number in range(COUNT)]
    ask(broker, prefix, *ids)
    stop = threading.Event()
    worker = make_worker(broker, prefix)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        assert sorted(answered(broker, prefix, COUNT)) == sorted(ids)
    finally:
        stop.set()
        thread.join(60)

    assert not thread.is_alive()
    assert backlog(broker, prefix) == 0
    assert broker.members(f"{prefix}refuser") == 0


def test_what_was_published_and_not_committed_is_published_again(broker: Broker, prefix: str) -> None:
    ask(broker, prefix, "a", "b")
    crashed = make_worker(broker, prefix)
    published = 0
    while published < 2:
        for effect in crashed.steps():
            published += effect == "after-publish"
            if effect == "before-commit":
                break
    assert crashed.consumer is not None
    crashed.consumer.close()

    successor = make_worker(broker, prefix)
    until_done = 0
    while backlog(broker, prefix) and until_done < MOST_CYCLES:
        list(successor.steps())
        until_done += 1
    successor.close()

    found = answered(broker, prefix, 4)
    assert sorted(found) == ["a", "a", "b", "b"]


def test_junk_goes_to_the_dead_letters_of_the_installation(broker: Broker, prefix: str) -> None:
    producer = broker.producer()
    message = outgoing_message(FORECAST_REQUESTS, forecast_request("x"), prefix=prefix, partition=3)
    producer.send(type(message)(topic=message.topic, key=b"k", value=b"junk", partition=3))
    producer.close()
    worker = make_worker(broker, prefix)
    tries = 0
    while backlog(broker, prefix) and tries < MOST_CYCLES:
        list(worker.steps())
        tries += 1
    worker.close()

    name = DEAD_LETTERS.full_name(prefix)
    reader = broker.reader({TopicPartition(name, number): 0 for number in range(DEAD_LETTERS.partitions)})
    (letter,) = read_all(reader, 1)
    reader.close()
    assert letter.key == b"forecast-requests/3/0"
