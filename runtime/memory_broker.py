"""A broker in this process: real offsets, groups, rebalances, redelivery and compaction, nothing on disk.

For tests, examples and the simulator. It may be used from several threads. Not done, and refused with
``NotImplementedError``: replication.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from runtime.broker import OutgoingMessage, PartitionsCallback, TopicPartition, TopicSpec, partition_for
from runtime.clock import Clock, SystemClock
from runtime.errors import BrokerUnavailable, DeliveryFailed, TransientError
from runtime.memory_consumer import MemoryConsumer, MemoryReader
from runtime.memory_delivery import Network, PromptNetwork, SentMessage
from runtime.memory_groups import Group
from runtime.memory_log import PartitionLog
from runtime.message_size import require_size


class MemoryBroker:
    """Holds topics and groups in memory.

    Args:
        clock: Gives the time of messages. With another clock than the machine's, waiting moves it by `Clock.sleep`.
        partitions_default: Partitions of a topic that `create_topics` makes without a number.
        network: Decides when sent messages arrive; at once by default.
        max_poll_interval_seconds: A member that does not poll for so long is expired; ``None``: only by `expire`.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        partitions_default: int = 12,
        *,
        network: Network | None = None,
        max_poll_interval_seconds: float | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.network: Network = network or PromptNetwork()
        self.changed = threading.Condition(threading.RLock())
        self.logs: dict[TopicPartition, PartitionLog] = {}
        self._version = 0
        self._partitions_default = partitions_default
        self._max_poll_interval = max_poll_interval_seconds
        self._specs: dict[str, TopicSpec] = {}
        self._groups: dict[str, Group] = {}
        self._is_up = True

    # --- what a process asks for ---------------------------------------------------------------------------------

    def producer(self) -> MemoryProducer:
        return MemoryProducer(self)

    def consumer(
        self,
        *,
        group: str,
        topics: Sequence[str],
        on_assigned: PartitionsCallback | None = None,
        on_revoked: PartitionsCallback | None = None,
    ) -> MemoryConsumer:
        if not topics:
            raise ValueError("a consumer needs at least one topic")
        with self.changed:
            found = self._groups.setdefault(group, Group(group, self.partitions))
        return MemoryConsumer(self, found, tuple(topics), on_assigned, on_revoked)

    def reader(self, positions: Mapping[TopicPartition, int]) -> MemoryReader:
        return MemoryReader(self, positions)

    def partitions(self, topic: str) -> int:
        with self.changed:
            self.require_up()
            spec = self._specs.get(topic)
            return 0 if spec is None else spec.partitions

    def begin_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        with self.changed:
            return {partition: self.log(partition).begin for partition in partitions}

    def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        with self.changed:
            return {partition: self.log(partition).end for partition in partitions}

    def offsets_at(self, partitions: Iterable[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        with self.changed:
            return {partition: self.log(partition).offset_at(timestamp_ms) for partition in partitions}

    def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        with self.changed:
            self.require_up()
            found = self._groups.get(group)
            stored = {} if found is None else found.committed
            return {partition: stored[partition] for partition in partitions if partition in stored}

    def members(self, group: str) -> int:
        with self.changed:
            self.require_up()
            found = self._groups.get(group)
            if found is None:
                return 0
            self.expire_silent(found)
            return len(found.members)

    def ensure_topics(self, specs: Iterable[TopicSpec]) -> None:
        with self.changed:
            self.require_up()
            for spec in specs:
                self._ensure_topic(spec)
            self.notify()

    def close(self) -> None:
        """Leave everything in place: the broker is shared by all who hold it."""

    # --- what only a test or a simulator asks for ----------------------------------------------------------------

    def create_topics(self, *names: str, partitions: int | None = None) -> None:
        """Create plain topics that do not exist."""
        count = self._partitions_default if partitions is None else partitions
        self.ensure_topics(TopicSpec(name=name, partitions=count) for name in names)

    def expire(self, consumer: MemoryConsumer) -> None:
        """Take a silent member out of its group, as the broker does when its session has run out."""
        with self.changed:
            consumer.group.leave(consumer.member)
            self.notify()

    def compact(self, topic: str) -> None:
        """Remove all but the newest message of each key, as Kafka's log cleaner may at any time.

        Raises:
            ValueError: The topic is not compacted.
        """
        with self.changed:
            if not self._spec(topic).is_compacted:
                raise ValueError(f"topic {topic} is not compacted")
            for partition in range(self._spec(topic).partitions):
                self.logs[TopicPartition(topic, partition)].compact()

    def delete_before(self, partition: TopicPartition, offset: int) -> None:
        """Forget old messages, as retention does."""
        with self.changed:
            self.log(partition).delete_before(offset)
            self.notify()

    def skip_offsets(self, partition: TopicPartition, count: int) -> None:
        """Use up offsets at the end without a message, as the markers of a transaction do."""
        with self.changed:
            self.log(partition).skip(count)
            self.notify()

    def stop_answering(self) -> None:
        """Make every call fail with `BrokerUnavailable` until `answer_again`."""
        self._is_up = False

    def answer_again(self) -> None:
        """End what `stop_answering` began."""
        self._is_up = True

    # --- for the producers, consumers and readers of this module's family ---------------------------------------

    def require_up(self) -> None:
        """Raise `BrokerUnavailable` during an outage."""
        if not self._is_up:
            raise BrokerUnavailable("the in-memory broker was told not to answer")

    def log(self, partition: TopicPartition) -> PartitionLog:
        """Return a partition's log.

        Raises:
            TransientError: The topic does not exist (yet).
            ValueError: It has no such partition.
        """
        self.require_up()
        found = self.logs.get(partition)
        if found is None:
            count = self._spec(partition.topic).partitions
            raise ValueError(f"topic {partition.topic} has partitions 0 to {count - 1}, not {partition.partition}")
        return found

    def locate(self, message: OutgoingMessage) -> TopicPartition:
        """Return the partition that a message belongs to, after the checks that Kafka makes."""
        with self.changed:
            self.require_up()
            spec = self._spec(message.topic)
            require_size(message, spec.max_message_bytes)
            if message.partition is not None:
                partition = TopicPartition(spec.name, message.partition)
                self.log(partition)
                return partition
            if message.key is None:
                raise ValueError("a message needs a key or a partition")
            return TopicPartition(spec.name, partition_for(message.key, spec.partitions))

    def is_compacted(self, topic: str) -> bool:
        """Say whether a topic keeps only the newest message of each key."""
        return self._spec(topic).is_compacted

    def now_ms(self) -> int:
        """Return the time of a message that arrives now, in milliseconds since the epoch."""
        return int(self.clock.now().timestamp() * 1000)

    def notify(self) -> None:
        """Wake all who wait; call with the lock held."""
        self._version += 1
        self.changed.notify_all()

    def expire_silent(self, group: Group) -> None:
        """Expire the members of a group that have not polled for too long; call with the lock held."""
        if self._max_poll_interval is not None:
            group.expire(silent_since=self.clock.monotonic() - self._max_poll_interval)

    @property
    def version(self) -> int:
        """A number that grows with every change; read it before looking, pass it to `wait_for_change`."""
        return self._version

    def wait_for_change(self, seen: int, deadline: float) -> bool:
        """Wait until something changed after ``seen``; say whether it pays to look again before ``deadline``."""
        remaining = deadline - self.clock.monotonic()
        if remaining <= 0:
            return False
        if isinstance(self.clock, SystemClock):
            with self.changed:
                self.changed.wait_for(lambda: self._version != seen, remaining)
        else:
            self.clock.sleep(remaining)
        return True

    def wait_until(self, holds: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait until a condition holds, at most ``timeout_seconds``."""
        deadline = self.clock.monotonic() + timeout_seconds
        seen = self.version
        while not holds() and self.wait_for_change(seen, deadline):
            seen = self.version

    def _spec(self, topic: str) -> TopicSpec:
        spec = self._specs.get(topic)
        if spec is None:
            raise TransientError(f"topic {topic} does not exist; create the topics first")
        return spec

    def _ensure_topic(self, spec: TopicSpec) -> None:
        known = self._specs.get(spec.name)
        if known is not None:
            if known.partitions != spec.partitions:
                raise ValueError(
                    f"topic {spec.name} exists with {known.partitions} partitions, {spec.partitions} are wanted"
                )
            return
        if spec.replication_factor > 1:
            raise NotImplementedError(f"topic {spec.name}: the in-memory broker keeps no replicas")
        if spec.partitions < 1:
            raise ValueError(f"topic {spec.name} must have at least 1 partition, not {spec.partitions}")
        self._specs[spec.name] = spec
        for number in range(spec.partitions):
            partition = TopicPartition(spec.name, number)
            self.logs[partition] = PartitionLog(partition)
        for group in self._groups.values():
            if any(spec.name in member.topics for member in group.members):
                group.begin_rebalance()


class MemoryProducer:
    """Appends to the broker's logs in the order of its sends; see `runtime.memory_delivery`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._unsettled: list[SentMessage] = []
        #: Since the last flush: how many failed, and why the last one did.
        self._failed = 0
        self._last_failure = ""
        self._appended: dict[TopicPartition, int] = {}
        self._sent = 0
        self._is_closed = False

    def send(self, message: OutgoingMessage) -> SentMessage:
        if self._is_closed:
            raise ValueError("the producer is closed")
        partition = self._broker.locate(message)
        with self._broker.changed:
            self._sent += 1
            sent = SentMessage(
                message, partition, self._sent, append=self._append, wait=self._wait, settled=self._on_settled
            )
            self._unsettled.append(sent)
        if message.key is None and self._broker.is_compacted(message.topic):
            # As in Kafka, it is the broker that refuses this, not the producer.
            sent.fail("the topic is compacted: a message needs a key")
        else:
            self._broker.network.on_send(sent)
        return sent

    def flush(self, timeout_seconds: float) -> None:
        deadline = self._broker.clock.monotonic() + timeout_seconds
        with self._broker.changed:
            waiting = [sent for sent in self._unsettled if not sent.is_settled]
        for sent in waiting:
            if not sent.is_settled:
                self._wait(sent, max(0.0, deadline - self._broker.clock.monotonic()))
        with self._broker.changed:
            self._on_settled()
            failed, self._failed = self._failed, 0
            late = len(self._unsettled)
        if failed:
            raise DeliveryFailed(f"{failed} messages were not acknowledged; the last one: {self._last_failure}")
        if late:
            raise DeliveryFailed(f"{late} messages were not acknowledged in {timeout_seconds} s")

    def close(self) -> None:
        self._is_closed = True

    def _append(self, sent: SentMessage, is_first: bool) -> int:
        with self._broker.changed:
            if is_first and sent.sequence < self._appended.get(sent.partition, 0):
                raise ValueError(f"a later message to {sent.partition} is in the log: Kafka does not reorder")
            if is_first:
                self._appended[sent.partition] = sent.sequence
            offset = self._broker.logs[sent.partition].append(sent.message, self._broker.now_ms())
            self._broker.notify()
            return offset

    def _wait(self, sent: SentMessage, timeout_seconds: float) -> None:
        self._broker.network.on_wait(sent)
        self._broker.wait_until(lambda: sent.is_settled, timeout_seconds)

    def _on_settled(self) -> None:
        with self._broker.changed:
            for failure in [sent.failure for sent in self._unsettled if sent.failure is not None]:
                self._failed += 1
                self._last_failure = failure
            self._unsettled = [sent for sent in self._unsettled if not sent.is_settled]
            self._broker.notify()
