"""Reads Kafka through kafka-python: read-committed, without automatic commits, one message's bytes at a time."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import kafka
from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, errors
from kafka.coordinator.assignors.range import RangePartitionAssignor

from runtime.broker import Message, PartitionsCallback, TopicPartition
from runtime.errors import TransientError
from runtime.kafka_connection import require_reachable
from runtime.kafka_errors import in_our_words
from runtime.kafka_records import install

_SECOND = 1000
_REQUEST_TIMEOUT_MS = 10 * _SECOND
_RECEIVE_MAX_BYTES = 128 * 1024 * 1024
#: A callback of a rebalance waits for the end of a slice, so slices are short; a message does not wait.
_SLICE_SECONDS = 0.1
#: During a rebalance a poll waits at least so long: see `KafkaGroupConsumer._keep_joining`.
_JOIN_SECONDS = 0.5


def client(bootstrap_servers: str, client_id: str, **changes: Any) -> KafkaConsumer:
    """Return a kafka-python consumer with the settings that all of ours share.

    Raises:
        BrokerUnavailable: The broker does not answer.
    """
    settings = {
        "bootstrap_servers": require_reachable(bootstrap_servers),
        "client_id": client_id,
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        "allow_auto_create_topics": False,
        "fetch_min_bytes": 1,
        "receive_message_max_bytes": _RECEIVE_MAX_BYTES,
        "request_timeout_ms": _REQUEST_TIMEOUT_MS,
        "bootstrap_timeout_ms": _REQUEST_TIMEOUT_MS,
        "reconnect_backoff_max_ms": _SECOND,
        # A topic that is created after the subscription is noticed after so long.
        "metadata_max_age_ms": 30 * _SECOND,
        "metrics_enabled": False,
    }
    install()
    with in_our_words("starting a consumer"):
        return KafkaConsumer(**{**settings, **changes})


def theirs(partition: TopicPartition) -> kafka.TopicPartition:
    """Return a partition in kafka-python's type, which it insists on."""
    return kafka.TopicPartition(partition.topic, partition.partition)


def ours(partition: Any) -> TopicPartition:
    """Return a partition in our type."""
    return TopicPartition(partition.topic, partition.partition)


def _messages(polled: Mapping[Any, Sequence[Any]]) -> list[Message]:
    return [
        Message(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            # A header may be null in Kafka; nobody here tells that from empty.
            headers=tuple((name, b"" if value is None else value) for name, value in record.headers),
            timestamp_ms=record.timestamp,
        )
        for records in polled.values()
        for record in records
    ]


def _position(consumer: KafkaConsumer, partition: TopicPartition) -> int:
    with in_our_words(f"asking for the position in {partition.topic}-{partition.partition}"):
        position = consumer.position(theirs(partition), timeout_ms=_REQUEST_TIMEOUT_MS)
    if position is None:
        raise TransientError(f"the position in {partition.topic}-{partition.partition} is not known yet")
    return int(position)


class KafkaReader:
    """Reads chosen partitions from chosen offsets, outside any group."""

    def __init__(self, bootstrap_servers: str, client_id: str, positions: Mapping[TopicPartition, int]) -> None:
        # Without a reset policy: a reader whose offset is gone must not silently begin anew.
        self._client = client(bootstrap_servers, client_id, group_id=None, auto_offset_reset="none")
        self.assign(positions)

    def poll(self, timeout_seconds: float, max_messages: int = 500) -> Sequence[Message]:
        with in_our_words("reading"):
            try:
                return _messages(self._client.poll(timeout_ms=int(timeout_seconds * _SECOND), max_records=max_messages))
            except errors.OffsetOutOfRangeError as error:
                self._go_to_the_beginning(error)
                return []

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        with in_our_words("assigning partitions"):
            self._client.assign([theirs(partition) for partition in positions])
            for partition, offset in positions.items():
                self._client.seek(theirs(partition), offset)

    def position(self, partition: TopicPartition) -> int:
        wanted = theirs(partition)
        # A reader's positions are set by `assign`, so they are always known; the public method would look at all
        # partitions, and at the broker, for the position of one: 15 ms for our 75.
        if self._client._subscription.is_assigned(wanted):  # noqa: SLF001  # kafka-python is pinned exactly
            known = self._client._subscription.position(wanted)  # noqa: SLF001
            if known is not None:
                return int(known.offset)
        return _position(self._client, partition)

    def close(self) -> None:
        with in_our_words("closing a reader"):
            self._client.close(autocommit=False)

    def _go_to_the_beginning(self, error: errors.OffsetOutOfRangeError) -> None:
        """Go on with the first message that is left where retention took what we wanted.

        Raises:
            TransientError: We are beyond the end: the log is not the one that we read before.
        """
        for partition, offset in error.args[0].items():
            begin = self._client.beginning_offsets([partition])[partition]
            if offset >= begin:
                raise TransientError(
                    f"{partition.topic}-{partition.partition} ends before offset {offset}, up to which it was read: "
                    "was it deleted and made anew?"
                ) from error
            self._client.seek(partition, begin)


class KafkaGroupConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # untyped library
    """A member of a consumer group.

    ``on_revoked`` is called in kafka-python's own thread while ``poll`` or ``close`` waits in ours, before the group
    gives the partitions away; ``on_assigned`` in our thread, before any message of the new partitions is returned.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        client_id: str,
        *,
        group: str,
        topics: Sequence[str],
        on_assigned: PartitionsCallback | None,
        on_revoked: PartitionsCallback | None,
        max_poll_interval_seconds: float,
    ) -> None:
        self._client = client(
            bootstrap_servers,
            client_id,
            group_id=group,
            auto_offset_reset="earliest",
            # A crashed member's partitions stand still for so long.
            session_timeout_ms=10 * _SECOND,
            heartbeat_interval_ms=3 * _SECOND,
            max_poll_interval_ms=int(max_poll_interval_seconds * _SECOND),
            partition_assignment_strategy=(RangePartitionAssignor,),
        )
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        #: What our caller knows to be its own, and what it is to be told of.
        self._known: set[TopicPartition] = set()
        self._news: set[TopicPartition] = set()
        self._callback_error: BaseException | None = None
        self._client.subscribe(list(topics), listener=self)

    def poll(self, timeout_seconds: float, max_messages: int = 500) -> Sequence[Message]:
        started = time.monotonic()
        remaining = timeout_seconds
        while True:
            with in_our_words("reading"):
                polled = self._client.poll(
                    timeout_ms=int(min(remaining, _SLICE_SECONDS) * _SECOND), max_records=max_messages
                )
            patience = max(timeout_seconds, _JOIN_SECONDS) if self._keep_joining() else timeout_seconds
            self._tell()
            remaining = started + patience - time.monotonic()
            if polled or remaining <= 0:
                return _messages(polled)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        lost = sorted(set(offsets) - self._known)
        if lost:
            raise TransientError(f"not ours any more: {', '.join(f'{topic}-{number}' for topic, number in lost)}")
        wanted = {theirs(partition): OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
        with in_our_words("committing"):
            self._client.commit(wanted, timeout_ms=_REQUEST_TIMEOUT_MS)

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._known)

    def position(self, partition: TopicPartition) -> int:
        return _position(self._client, partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        with in_our_words("seeking"):
            self._client.seek(theirs(partition), offset)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._client.pause(*[theirs(partition) for partition in partitions])

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._client.resume(*[theirs(partition) for partition in partitions])

    def close(self) -> None:
        self._give_up(frozenset(self._known))
        with in_our_words("leaving the group"):
            self._client.close(autocommit=False, timeout_ms=_REQUEST_TIMEOUT_MS)
        self._raise_callback_error()

    # --- called by kafka-python, in its thread, while ours waits in `poll` ---------------------------------------

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        self._news = {ours(partition) for partition in assigned}

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        self._give_up(frozenset(ours(partition) for partition in revoked))

    def on_partitions_lost(self, lost: Collection[Any]) -> None:
        self._give_up(frozenset(ours(partition) for partition in lost))

    # ---------------------------------------------------------------------------------------------------------------

    def _give_up(self, partitions: frozenset[TopicPartition]) -> None:
        told = partitions & self._known
        self._known -= partitions
        self._news -= partitions
        if told and self._on_revoked is not None:
            try:
                self._on_revoked(told)
            except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
                self._callback_error = error

    def _keep_joining(self) -> bool:
        """Say whether a rebalance is under way, and see to it that the next poll goes on with it.

        A poll of kafka-python 3.0.12 that runs out of time while it joins leaves the attempt in flight for the next
        poll. But `need_rejoin` may have turned false by then (the leader takes note of the new metadata before it has
        the answer to its SyncGroup): the next poll forgets the attempt, and the member stays without partitions and
        without heartbeats for ever.
        """
        coordinator = self._client._coordinator  # noqa: SLF001  # nothing public says or does this
        if coordinator.rejoining:
            coordinator.request_rejoin()
        return bool(coordinator.rejoining)

    def _tell(self) -> None:
        self._raise_callback_error()
        if not self._news:
            return
        news, self._news = self._news, set()
        self._known |= news
        if self._on_assigned is not None:
            self._on_assigned(frozenset(news))

    def _raise_callback_error(self) -> None:
        error, self._callback_error = self._callback_error, None
        if error is not None:
            raise error
