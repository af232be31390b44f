"""Consumers and readers of the in-memory broker."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from runtime.broker import Message, PartitionsCallback, TopicPartition
from runtime.errors import TransientError
from runtime.memory_groups import Group, Member

if TYPE_CHECKING:
    from runtime.memory_broker import MemoryBroker


class _Positions:
    """Where a consumer or reader stands in each partition, and what it reads next."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self.positions: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()

    def take(self, limit: int) -> list[Message]:
        """Return what can be read now and move on; call with the broker's lock held."""
        taken: list[Message] = []
        readable = sorted(self.positions.keys() - self.paused)
        for partition in self._broker.network.order(readable):
            log = self._broker.log(partition)
            if self.positions[partition] > log.end:
                raise TransientError(
                    f"{partition.topic}-{partition.partition} ends at {log.end}, before offset "
                    f"{self.positions[partition]}, up to which it was read: was it deleted and made anew?"
                )
            position = max(self.positions[partition], log.begin)
            messages = log.read(position, limit - len(taken))
            if messages:
                position = messages[-1].offset + 1
                taken.extend(messages)
            self.positions[partition] = log.next_position(position)
        return taken

    def of(self, partition: TopicPartition) -> int:
        if partition not in self.positions:
            raise ValueError(f"{partition} is not assigned here")
        return self.positions[partition]


class MemoryReader:
    """Reads chosen partitions from chosen offsets."""

    def __init__(self, broker: MemoryBroker, positions: Mapping[TopicPartition, int]) -> None:
        self._broker = broker
        self._positions = _Positions(broker)
        self._is_closed = False
        self.assign(positions)

    def poll(self, timeout_seconds: float, max_messages: int = 500) -> Sequence[Message]:
        if self._is_closed:
            raise ValueError("the reader is closed")
        deadline = self._broker.clock.monotonic() + timeout_seconds
        while True:
            with self._broker.changed:
                self._broker.require_up()
                seen = self._broker.version
                taken = self._positions.take(max_messages)
            if taken or not self._broker.wait_for_change(seen, deadline):
                return taken

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        with self._broker.changed:
            for partition, offset in positions.items():
                self._broker.log(partition)
                _require_offset(partition, offset)
            self._positions.positions = dict(positions)

    def position(self, partition: TopicPartition) -> int:
        return self._positions.of(partition)

    def close(self) -> None:
        self._is_closed = True


class MemoryConsumer:
    """A member of a group. It joins at its first ``poll``."""

    def __init__(
        self,
        broker: MemoryBroker,
        group: Group,
        topics: tuple[str, ...],
        on_assigned: PartitionsCallback | None,
        on_revoked: PartitionsCallback | None,
    ) -> None:
        self._broker = broker
        self.group = group
        self.member = Member(topics)
        self._positions = _Positions(broker)
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._is_closed = False

    def poll(self, timeout_seconds: float, max_messages: int = 500) -> Sequence[Message]:
        self._require_open()
        deadline = self._broker.clock.monotonic() + timeout_seconds
        while True:
            self._keep_membership()
            with self._broker.changed:
                seen = self._broker.version
                is_ours = not self.group.must_rejoin(self.member) and self.member in self.group.members
                taken = self._positions.take(max_messages) if is_ours else []
            if taken or not self._broker.wait_for_change(seen, deadline):
                return taken

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._require_open()
        with self._broker.changed:
            self._broker.require_up()
            for partition, offset in offsets.items():
                _require_offset(partition, offset)
            self.group.commit(self.member, offsets)

    def assignment(self) -> frozenset[TopicPartition]:
        return self.member.owned

    def position(self, partition: TopicPartition) -> int:
        return self._positions.of(partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions.of(partition)
        _require_offset(partition, offset)
        self._positions.positions[partition] = offset

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self._positions.of(partition)
            self._positions.paused.add(partition)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self._positions.of(partition)
            self._positions.paused.discard(partition)

    def close(self) -> None:
        if self._is_closed:
            return
        self._give_up(self.member.owned)
        with self._broker.changed:
            self._is_closed = True
            self.group.leave(self.member)
            self._broker.notify()

    def _require_open(self) -> None:
        if self._is_closed:
            raise ValueError("the consumer is closed")

    def _keep_membership(self) -> None:
        """Do this member's part of a rebalance, callbacks included. They run without the lock."""
        with self._broker.changed:
            self._broker.require_up()
            self.member.last_poll = self._broker.clock.monotonic()
            self._broker.expire_silent(self.group)
            is_lost = self.member not in self.group.members
            must_join = is_lost or self.group.must_rejoin(self.member)
        if must_join:
            self._give_up(self.member.owned)
            with self._broker.changed:
                self.group.join(self.member)
                self._broker.notify()
        with self._broker.changed:
            is_new = self.group.take_up(self.member)
            if is_new:
                self._take_up_positions()
                self._broker.notify()
        if is_new and self.member.owned and self._on_assigned is not None:
            self._on_assigned(self.member.owned)

    def _take_up_positions(self) -> None:
        self._positions.paused.clear()
        self._positions.positions = {
            partition: self.group.committed.get(partition, self._broker.log(partition).begin)
            for partition in self.member.owned
        }

    def _give_up(self, partitions: Collection[TopicPartition]) -> None:
        if partitions and self._on_revoked is not None:
            self._on_revoked(partitions)
        with self._broker.changed:
            self.member.owned = frozenset()
            self._positions.positions = {}
            self._positions.paused.clear()


def _require_offset(partition: TopicPartition, offset: int) -> None:
    if offset < 0:
        raise ValueError(f"offset of {partition} must be >= 0, was {offset}")
