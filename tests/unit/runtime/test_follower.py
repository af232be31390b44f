"""A follower applies every message once and in order, and knows how far it has read."""

from __future__ import annotations

import pytest

from runtime.broker import Message, OutgoingMessage, TopicPartition
from runtime.errors import TransientError
from runtime.follower import Follower
from runtime.incoming import Incoming
from runtime.memory_broker import MemoryBroker
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
