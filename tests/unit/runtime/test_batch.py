"""A batch knows what is left of it."""

from __future__ import annotations

from runtime.batch import Batch
from runtime.broker import Message, TopicPartition
from schemas.topics import FORECAST_REQUESTS
from tests.factories import forecast_request, message

TOPICS = {FORECAST_REQUESTS.name: FORECAST_REQUESTS}


def junk(partition: int, offset: int) -> Message:
    return Message(FORECAST_REQUESTS.name, partition, offset, b"k", b"junk", (), 0)


def asked(name: str, partition: int, offset: int) -> Message:
    return message(FORECAST_REQUESTS, forecast_request(name), partition=partition, offset=offset)


def test_the_next_offsets_are_those_after_the_last_message_of_each_partition() -> None:
    batch = Batch(TOPICS, [asked("a", 0, 4), asked("b", 0, 9), junk(1, 2)], polled_at=0.0)

    assert batch.next_offsets() == {
        TopicPartition(FORECAST_REQUESTS.name, 0): 10,
        TopicPartition(FORECAST_REQUESTS.name, 1): 3,
    }


def test_work_of_a_lost_partition_is_dropped_wherever_it_is() -> None:
    batch = Batch(TOPICS, [asked("a", 0, 4), asked("b", 1, 0), junk(0, 5), junk(1, 1)], polled_at=0.0)

    assert batch.drop([TopicPartition(FORECAST_REQUESTS.name, 1)]) == 2

    assert [left.offset for left in batch.messages] == [4, 5]
    assert [incoming.message.offset for incoming in batch.todo] == [4]
    assert [refused.offset for refused in batch.refused] == [5]
    assert batch.next_offsets() == {TopicPartition(FORECAST_REQUESTS.name, 0): 6}
