"""Consumer groups: both brokers keep what `runtime.broker` promises."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

import pytest

from runtime.broker import Broker, Consumer, Message, OutgoingMessage, TopicPartition
from runtime.errors import TransientError
from tests.contract.conftest import PARTITIONS

GROUP = "workers"


@pytest.fixture
def group(topic_prefix: str) -> str:
    return f"{topic_prefix}{GROUP}"


def send(broker: Broker, topic: str, *values: bytes, partition: int = 0) -> None:
    producer = broker.producer()
    for value in values:
        producer.send(OutgoingMessage(topic, b"key", value, partition=partition))
    producer.flush(60.0)
    producer.close()


def all_of(topic: str) -> frozenset[TopicPartition]:
    return frozenset(TopicPartition(topic, number) for number in range(PARTITIONS))


def poll_until(consumers: list[Consumer], holds: Callable[[], bool], what: str) -> list[Message]:
    """Poll all in turn until the condition holds; what came on the way is returned."""
    until = time.monotonic() + 60
    found: list[Message] = []
    while not holds():
        assert time.monotonic() < until, what
        for consumer in consumers:
            found.extend(consumer.poll(0.05))
    return found


def take(consumer: Consumer, count: int) -> list[Message]:
    found: list[Message] = []
    until = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < until, f"{len(found)} of {count} messages"
        found.extend(consumer.poll(0.2))
    return found


def test_a_new_group_starts_at_the_beginning(broker: Broker, topic: str, group: str) -> None:
    send(broker, topic, b"a", b"b")

    consumer = broker.consumer(group=group, topics=[topic])
    values = [message.value for message in take(consumer, 2)]

    assert values == [b"a", b"b"]
    assert consumer.assignment() == all_of(topic)
    assert consumer.position(TopicPartition(topic, 0)) == 2
    consumer.close()


def test_what_was_committed_is_not_delivered_again(broker: Broker, topic: str, group: str) -> None:
    partition = TopicPartition(topic, 0)
    send(broker, topic, b"a", b"b", b"c")
    consumer = broker.consumer(group=group, topics=[topic])
    take(consumer, 3)
    consumer.commit({partition: 2})
    consumer.close()

    successor = broker.consumer(group=group, topics=[topic])
    values = [message.value for message in take(successor, 1)]

    assert values == [b"c"]
    assert broker.committed(group, all_of(topic)) == {partition: 2}
    successor.close()


def test_close_commits_nothing_and_the_messages_come_again(broker: Broker, topic: str, group: str) -> None:
    send(broker, topic, b"a", b"b")
    consumer = broker.consumer(group=group, topics=[topic])
    take(consumer, 2)
    consumer.close()

    assert broker.committed(group, all_of(topic)) == {}
    successor = broker.consumer(group=group, topics=[topic])
    assert [message.value for message in take(successor, 2)] == [b"a", b"b"]
    successor.close()


def test_two_members_share_the_partitions_and_none_has_two_owners(broker: Broker, topic: str, group: str) -> None:
    events: list[tuple[str, str, frozenset[TopicPartition]]] = []
    lock = threading.Lock()

    def note(who: str, what: str) -> Callable[[Collection[TopicPartition]], None]:
        def callback(partitions: Collection[TopicPartition]) -> None:
            with lock:
                events.append((who, what, frozenset(partitions)))

        return callback

    one = broker.consumer(
        group=group, topics=[topic], on_assigned=note("one", "assigned"), on_revoked=note("one", "revoked")
    )
    poll_until([one], lambda: one.assignment() == all_of(topic), "the first member has everything")
    other = broker.consumer(
        group=group, topics=[topic], on_assigned=note("other", "assigned"), on_revoked=note("other", "revoked")
    )
    stop = threading.Event()
    background = threading.Thread(target=lambda: [one.poll(0.05) for _ in iter(stop.is_set, True)])
    background.start()
    try:
        poll_until([other], lambda: bool(other.assignment()), "the second member has something")
    finally:
        stop.set()
        background.join()
    # Both: a member that was slow may have to join once more, and waits for the other then.
    poll_until([one, other], lambda: bool(one.assignment()) and bool(other.assignment()), "both have something")

    assert one.assignment() | other.assignment() == all_of(topic)
    assert not one.assignment() & other.assignment()
    assert broker.members(group) == 2
    owned: dict[str, frozenset[TopicPartition]] = {"one": frozenset(), "other": frozenset()}
    for who, what, partitions in events:
        owned[who] = owned[who] | partitions if what == "assigned" else owned[who] - partitions
        assert not owned["one"] & owned["other"], events
    one.close()
    other.close()


def test_a_lost_partition_cannot_be_committed(broker: Broker, topic: str, group: str) -> None:
    """Red when an adapter leaves the check of the owner to the broker, which checks only the member."""
    send(broker, topic, b"a")
    consumer = broker.consumer(group=group, topics=[topic])
    take(consumer, 1)
    other = broker.consumer(group=group, topics=[topic])
    stop = threading.Event()
    background = threading.Thread(target=lambda: [other.poll(0.05) for _ in iter(stop.is_set, True)])
    background.start()
    try:
        poll_until([consumer], lambda: 0 < len(consumer.assignment()) < PARTITIONS, "a partition is lost")
    finally:
        stop.set()
        background.join()
    # A member that was slow may have to join once more, and the group is between two generations until then.
    poll_until(
        [consumer, other],
        lambda: 0 < len(consumer.assignment()) < PARTITIONS and bool(other.assignment()),
        "both have something",
    )
    lost = next(iter(all_of(topic) - consumer.assignment()))

    with pytest.raises(TransientError):
        consumer.commit({lost: 1})

    assert broker.committed(group, [lost]) == {}
    kept = next(iter(consumer.assignment()))
    consumer.commit({kept: 0})
    assert broker.committed(group, [kept]) == {kept: 0}
    consumer.close()
    other.close()


def test_a_partition_that_was_never_ours_cannot_be_committed(broker: Broker, topic: str, group: str) -> None:
    consumer = broker.consumer(group=group, topics=[topic])

    with pytest.raises(TransientError):
        consumer.commit({TopicPartition(topic, 0): 1})
    consumer.close()


def test_assigned_is_called_before_any_message_comes_and_revoked_at_close(
    broker: Broker, topic: str, group: str
) -> None:
    events: list[str] = []
    send(broker, topic, b"a")
    consumer = broker.consumer(
        group=group,
        topics=[topic],
        on_assigned=lambda partitions: events.append(f"assigned {len(partitions)}"),
        on_revoked=lambda partitions: events.append(f"revoked {len(partitions)}"),
    )

    until = time.monotonic() + 60
    while not (messages := consumer.poll(0.2)):
        assert time.monotonic() < until
    events.append(f"messages {len(messages)}")
    consumer.close()

    # A member that was slow may have to join once more before the message comes, and is told of that too.
    *before, assigned, message, revoked = events
    assert [assigned, message, revoked] == [f"assigned {PARTITIONS}", "messages 1", f"revoked {PARTITIONS}"]
    assert before == [assigned, revoked] * (len(before) // 2)


def test_a_member_that_leaves_gives_its_partitions_to_the_other(broker: Broker, topic: str, group: str) -> None:
    one = broker.consumer(group=group, topics=[topic])
    other = broker.consumer(group=group, topics=[topic])
    stop = threading.Event()
    background = threading.Thread(target=lambda: [one.poll(0.05) for _ in iter(stop.is_set, True)])
    background.start()
    try:
        poll_until([other], lambda: 0 < len(other.assignment()) < PARTITIONS, "the partitions are shared")
    finally:
        stop.set()
        background.join()

    one.close()

    poll_until([other], lambda: other.assignment() == all_of(topic), "the other has everything")
    assert broker.members(group) == 1
    other.close()
    assert broker.members(group) == 0


def test_an_error_in_a_callback_comes_out_of_the_poll(broker: Broker, topic: str, group: str) -> None:
    def fail(partitions: Collection[TopicPartition]) -> None:
        raise LookupError("the callback failed")

    consumer = broker.consumer(group=group, topics=[topic], on_assigned=fail)

    with pytest.raises(LookupError, match="the callback failed"):
        poll_until([consumer], lambda: False, "the callback fails")
    consumer.close()


def test_an_error_in_the_callback_of_a_loss_comes_out_of_close(broker: Broker, topic: str, group: str) -> None:
    def fail(partitions: Collection[TopicPartition]) -> None:
        raise LookupError("the callback failed")

    consumer = broker.consumer(group=group, topics=[topic], on_revoked=fail)
    poll_until([consumer], lambda: bool(consumer.assignment()), "joined")

    with pytest.raises(LookupError, match="the callback failed"):
        consumer.close()


def test_a_paused_partition_is_not_delivered_until_it_is_resumed(broker: Broker, topic: str, group: str) -> None:
    partition = TopicPartition(topic, 0)
    consumer = broker.consumer(group=group, topics=[topic])
    poll_until([consumer], lambda: bool(consumer.assignment()), "joined")
    consumer.pause([partition])
    send(broker, topic, b"paused")
    send(broker, topic, b"running", partition=1)

    assert [message.value for message in take(consumer, 1)] == [b"running"]
    assert list(consumer.poll(0.3)) == []
    consumer.resume([partition])

    assert [message.value for message in take(consumer, 1)] == [b"paused"]
    consumer.close()


def test_seek_reads_again(broker: Broker, topic: str, group: str) -> None:
    partition = TopicPartition(topic, 0)
    send(broker, topic, b"a", b"b")
    consumer = broker.consumer(group=group, topics=[topic])
    take(consumer, 2)

    consumer.seek(partition, 1)

    assert consumer.position(partition) == 1
    assert [message.value for message in take(consumer, 1)] == [b"b"]
    consumer.close()


def test_a_poll_of_a_group_returns_when_a_message_comes(broker: Broker, topic: str, group: str) -> None:
    consumer = broker.consumer(group=group, topics=[topic])
    poll_until([consumer], lambda: bool(consumer.assignment()), "joined")
    consumer.poll(0.1)
    producer = broker.producer()
    timer = threading.Timer(0.2, producer.send, [OutgoingMessage(topic, b"k", b"v", partition=0)])
    timer.start()

    started = time.monotonic()
    messages = consumer.poll(200.0)

    assert len(messages) == 1
    assert time.monotonic() - started < 100.0
    timer.join()
    consumer.close()
    producer.close()


def test_a_group_that_never_was_has_no_members_and_no_offsets(broker: Broker, topic: str, group: str) -> None:
    assert broker.members(group) == 0
    assert broker.committed(group, all_of(topic)) == {}
    assert broker.committed(group, []) == {}


def test_a_consumer_of_nothing_is_refused(broker: Broker, group: str) -> None:
    with pytest.raises(ValueError, match="at least one topic"):
        broker.consumer(group=group, topics=[])
