"""A follower applies every message once and in order, and knows how far it has read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.broker import Message, OutgoingMessage, TopicPartition
from runtime.errors import TransientError
from runtime.follower import Follower
from runtime.incoming import Incoming, decode_message
from runtime.memory_broker import MemoryBroker
from runtime.publisher import Publisher
from schemas.errors import InvalidRecord, UnknownRecordType
from schemas.topics import DEPLOYMENTS, MODELS
from tests.factories import deployment, outgoing_message
from tests.fakes import ManualClock

PARTITION = TopicPartition("deployments", 0)


class Seen:
    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.invalid: list[tuple[int, InvalidRecord]] = []
        self.fails_at: int | None = None

    def apply(self, incoming: Incoming) -> None:
        if incoming.message.offset == self.fails_at:
            self.fails_at = None
            raise RuntimeError("apply failed")
        self.offsets.append(incoming.message.offset)

    def on_invalid(self, message: Message, error: InvalidRecord) -> None:
        self.invalid.append((message.offset, error))


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def follower(broker: MemoryBroker, seen: Seen, clock: ManualClock) -> Follower:
    return Follower(
        broker, topics=[DEPLOYMENTS], topic_prefix="", apply=seen.apply, on_invalid=seen.on_invalid, clock=clock
    )


def write(broker: MemoryBroker, count: int, start: int = 0) -> None:
    producer = broker.producer()
    for number in range(start, start + count):
        producer.send(outgoing_message(DEPLOYMENTS, deployment(deployment_id=f"d{number}")))


def test_catches_up_to_the_end_of_the_log(broker: MemoryBroker, follower: Follower, seen: Seen) -> None:
    write(broker, 5)
    follower.assign({PARTITION: 0})

    follower.catch_up(None, 1.0)

    assert seen.offsets == [0, 1, 2, 3, 4]
    assert follower.positions() == {PARTITION: 5}


def test_starts_where_it_is_told(broker: MemoryBroker, follower: Follower, seen: Seen) -> None:
    write(broker, 5)
    follower.add({PARTITION: 3})

    assert follower.poll(0) == 2
    assert seen.offsets == [3, 4]


def test_moves_past_a_gap_at_the_end(broker: MemoryBroker, follower: Follower) -> None:
    write(broker, 2)
    broker.skip_offsets(PARTITION, 3)
    follower.assign({PARTITION: 0})

    follower.catch_up({PARTITION: 5}, 1.0)

    assert follower.positions() == {PARTITION: 5}


def test_catch_up_beyond_the_end_gives_up_at_its_deadline(
    broker: MemoryBroker, follower: Follower, clock: ManualClock
) -> None:
    write(broker, 2)
    follower.assign({PARTITION: 0})

    with pytest.raises(TransientError, match=r"deployments-0 is read up to 2, 3 was to be reached in 4 s"):
        follower.catch_up({PARTITION: 3}, 4)
    assert clock.monotonic() == pytest.approx(4)


def test_catch_up_of_a_partition_that_is_not_followed_is_refused(follower: Follower) -> None:
    with pytest.raises(ValueError, match="not followed: deployments-0"):
        follower.catch_up({PARTITION: 1}, 1.0)


def test_a_topic_that_was_not_announced_is_refused(follower: Follower) -> None:
    with pytest.raises(ValueError, match="topic models is not one of deployments"):
        follower.add({TopicPartition(MODELS.name, 0): 0})


def test_junk_is_reported_and_passed_over(broker: MemoryBroker, follower: Follower, seen: Seen) -> None:
    write(broker, 1)
    broker.producer().send(OutgoingMessage("deployments", b"k", b"junk"))
    write(broker, 1, start=1)
    follower.assign({PARTITION: 0})

    follower.catch_up(None, 1.0)

    assert seen.offsets == [0, 2]
    assert [(offset, type(error)) for offset, error in seen.invalid] == [(1, UnknownRecordType)]


def test_a_message_whose_apply_failed_is_read_again(broker: MemoryBroker, follower: Follower, seen: Seen) -> None:
    """Red without `self._must_assign = True` before the loop of `Follower.poll`: the reader would have moved on."""
    write(broker, 4)
    follower.assign({PARTITION: 0})
    seen.fails_at = 2
    with pytest.raises(RuntimeError, match="apply failed"):
        follower.poll(0)
    assert follower.positions() == {PARTITION: 2}

    follower.poll(0)

    assert seen.offsets == [0, 1, 2, 3]


def test_a_removed_partition_is_not_read_any_more(broker: MemoryBroker, follower: Follower, seen: Seen) -> None:
    follower.assign({PARTITION: 0})
    follower.poll(0)
    write(broker, 1)
    follower.remove([PARTITION, TopicPartition("deployments", 7)])

    assert follower.poll(0) == 0
    assert seen.offsets == []
    assert follower.positions() == {}


def sent_by_us(broker: MemoryBroker, *numbers: int) -> list[Incoming]:
    """Publish deployments as a service does; return them with their places in the log."""
    publisher = Publisher(broker.producer(), service="test", clock=ManualClock())
    sent = [publisher.send(DEPLOYMENTS, deployment(deployment_id=f"d{number}")) for number in numbers]
    publisher.flush(1.0)
    return [one.acknowledged() for one in sent]


def test_what_was_published_is_taken_as_who_reads_it_gets_it(broker: MemoryBroker) -> None:
    (taken,) = sent_by_us(broker, 0)
    reader = broker.reader({PARTITION: 0})
    (message,) = reader.poll(1.0)

    read = decode_message(DEPLOYMENTS, message)

    assert (taken.record, taken.envelope, taken.topic) == (read.record, read.envelope, read.topic)
    assert replace(taken.message, timestamp_ms=0) == replace(read.message, timestamp_ms=0)


def test_a_record_with_its_place_is_applied_once_and_not_read_again(
    broker: MemoryBroker, follower: Follower, seen: Seen
) -> None:
    follower.assign({PARTITION: 0})
    for taken in sent_by_us(broker, 0, 1):
        follower.take(taken)
        follower.take(taken)  # red where its place is not compared with ours: it is applied twice
    write(broker, 1, start=2)

    follower.catch_up(None, 1.0)

    assert seen.offsets == [0, 1, 2]


def test_a_record_behind_what_is_not_applied_yet_is_left_to_the_log(
    broker: MemoryBroker, follower: Follower, seen: Seen
) -> None:
    """Red where `take` does not compare the offset: what somebody else wrote before it would be passed over."""
    follower.assign({PARTITION: 0})
    write(broker, 1)
    (taken,) = sent_by_us(broker, 1)

    follower.take(taken)

    assert seen.offsets == []
    follower.catch_up(None, 1.0)
    assert seen.offsets == [0, 1]


def test_a_record_of_a_partition_that_is_not_followed_is_let_be(
    broker: MemoryBroker, follower: Follower, seen: Seen
) -> None:
    follower.take(sent_by_us(broker, 0)[0])

    assert (seen.offsets, follower.positions()) == ([], {})
