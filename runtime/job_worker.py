"""The loop of a service whose work outlives a poll: a member of its group that goes on polling while jobs run.

`runtime.worker` commits the messages of a poll before the next poll. Here messages are read ahead, jobs run beside the
loop, and of each partition only what lies below its oldest unfinished message is committed: a crash anywhere makes a
repeat, never a loss.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from runtime.batch import partition_of
from runtime.broker import Broker, Consumer, Message, TopicPartition
from runtime.clock import Clock
from runtime.dead_letter import DeadLetterLimit, dead_letter
from runtime.errors import InvalidMessage, TransientError
from runtime.health import Health
from runtime.incoming import Incoming, Outgoing, decode_message
from runtime.metrics import Metrics
from runtime.publisher import Publisher, Sent
from runtime.report import LogFields
from runtime.tracing import correlation_id
from runtime.worker import Backoff, close_all, run_steps
from schemas.errors import InvalidRecord
from schemas.topics import DEAD_LETTERS, Topic

_LOG = structlog.get_logger()
_BACKLOG_EVERY_SECONDS = 5.0
#: A stop is noticed between two sleeps.
_LONGEST_SLEEP_SECONDS = 0.5
Partitions = Collection[TopicPartition]


class JobCore(Protocol):
    """Decides what messages mean and what jobs are for. It belongs to the thread of its `JobWorker`.

    Any of its methods may raise a `TransientError`: the worker waits and goes on with its next turn.
    """

    def connect(self) -> None:
        """Look at what must be there before the group is joined."""
        ...

    def assigned(self, partitions: Partitions) -> None:
        """Take over partitions; within a poll, at the end of a rebalance."""
        ...

    def revoked(self, partitions: Partitions) -> None:
        """Give partitions up, and drop their work; within a poll."""
        ...

    def patience_seconds(self) -> float:
        """Return how long the next poll may wait for messages."""
        ...

    def learn(self, messages: Sequence[Message]) -> Iterator[str]:
        """Read from the log what the messages need that are looked at next, effect by effect."""
        ...

    def receive(self, incoming: Incoming) -> None:
        """Take in a message; a redelivered one changes nothing.

        Raises:
            InvalidMessage: It can never be handled; `skip` follows once its dead letter is acknowledged.
        """
        ...

    def skip(self, message: Message) -> None:
        """Finish a message that can never be handled."""
        ...

    def work(self) -> Iterator[str]:
        """Take in what jobs report and begin others, effect by effect."""
        ...

    def outgoing(self) -> Sequence[Outgoing]:
        """Return what is to be published next, the same until `sent` or `rejected`; empty when there is nothing."""
        ...

    def sent(self, group: Sequence[Sent]) -> None:
        """Note that all of it is acknowledged by the broker."""
        ...

    def rejected(self, outgoing: Outgoing, reason: str) -> None:
        """Note that this one of it can never be published."""
        ...

    def committable(self) -> Mapping[TopicPartition, int]:
        """Return the next offset to read after a restart of each partition; no unfinished message lies below it."""
        ...

    @property
    def full(self) -> frozenset[TopicPartition]:
        """The partitions of which no more should be read now."""
        ...

    def measure(self) -> None:
        """Count; called once a turn."""
        ...

    def close(self) -> None:
        """End all jobs without a result, and let go of the broker."""
        ...


@dataclass(frozen=True)
class _Rejected:
    """A record that is too large for its topic."""

    outgoing: Outgoing
    reason: str


class JobWorker:
    """One process of a service. Belongs to one thread; connects at its first step.

    Args:
        service: Its name; with ``topic_prefix`` before it, also that of the consumer group.
        broker: The event log.
        topics: What it consumes.
        core: Decides everything.
        metrics: Counts.
        health: Is told of every turn of the loop.
        clock: Measures, and waits before a retry.
        topic_prefix: The installation's prefix.
        log_fields: Gives further fields for the log line of a message.
        delivery_seconds: How long the broker may take to acknowledge.
    """

    def __init__(
        self,
        *,
        service: str,
        broker: Broker,
        topics: Sequence[Topic],
        core: JobCore,
        metrics: Metrics,
        health: Health,
        clock: Clock,
        topic_prefix: str = "",
        log_fields: LogFields | None = None,
        delivery_seconds: float = 30.0,
    ) -> None:
        self._service = service
        self._broker = broker
        self._topics = {topic.full_name(topic_prefix): topic for topic in topics}
        self._core = core
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._topic_prefix = topic_prefix
        self._log_fields = log_fields
        self._delivery_seconds = delivery_seconds
        self._consumer: Consumer | None = None
        self._publisher: Publisher | None = None
        self._limit = DeadLetterLimit()
        self._backoff = Backoff()
        self._attempt = 0
        self._owned: set[TopicPartition] = set()
        self._paused: frozenset[TopicPartition] = frozenset()
        self._pending: deque[Message] = deque()
        self._committed: dict[TopicPartition, int] = {}
        self._backlog_at = float("-inf")

    @property
    def consumer(self) -> Consumer | None:
        """The member of the group; ``None`` before the first step."""
        return self._consumer

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; then end all jobs, which are begun again at the next start.

        Raises:
            TooManyDeadLetters: So much is refused that we are the ones who are wrong.
        """
        try:
            run_steps(self.steps, stop)
        finally:
            self.close()

    def close(self) -> None:
        """End all jobs without a result and leave the group; nothing is told of them."""
        close_all(self._core, self._consumer, self._publisher)
        self._consumer = None
        self._publisher = None

    def steps(self) -> Iterator[str]:
        """Do one turn, effect by effect: yield ``before-...`` just before and ``after-...`` just after each.

        Whoever drops the iterator stops the service between two effects, as a crash does. Effects: ``poll``, those of
        the core, ``publish`` (one a record), ``acknowledge``, ``commit`` and, when something may work later,
        ``back-off``, after which the next turn goes on where this one failed.
        """
        try:
            yield from self._turn()
        except TransientError as error:
            self._attempt += 1
            delay = self._backoff.delay_seconds(self._attempt)
            self._metrics.retry()
            _LOG.warning("retry", attempt=self._attempt, delay_seconds=delay, reason=str(error))
            until = self._clock.monotonic() + delay
            while (remaining := until - self._clock.monotonic()) > 0:
                yield "before-back-off"
                self._clock.sleep(min(remaining, _LONGEST_SLEEP_SECONDS))
                yield "after-back-off"
        else:
            self._attempt = 0

    def _turn(self) -> Iterator[str]:
        self._health.beat()
        yield "before-poll"
        consumer = self._member()
        # Polled first: a rebalance within the poll replaces the queue.
        polled = consumer.poll(self._core.patience_seconds())
        self._pending.extend(polled)
        polled_at = self._clock.monotonic()
        yield "after-poll"
        yield from self._core.learn(self._pending)
        while self._pending:
            yield from self._receive(self._pending[0], polled_at)
            self._pending.popleft()
        yield from self._core.work()
        yield from self._publish()
        yield from self._commit(consumer)
        self._keep_to_read_ahead(consumer)
        self._core.measure()
        self._measure_backlog(consumer)

    # --- messages ----------------------------------------------------------------------------------------------

    def _receive(self, message: Message, polled_at: float) -> Iterator[str]:
        if partition_of(message) not in self._owned:
            return
        topic = self._topics[message.topic]
        fields: dict[str, object] = {
            "topic": message.topic,
            "partition": message.partition,
            "offset": message.offset,
        }
        try:
            incoming = decode_message(topic, message)
            self._core.receive(incoming)
        except (InvalidRecord, InvalidMessage) as error:
            letter = dead_letter(topic, message, reason=error.reason, service=self._service)
            yield from self._send([Outgoing(topic=DEAD_LETTERS, record=letter)])
            self._core.skip(message)
            self._metrics.dead_letter(topic.name)
            fields |= {"outcome": "dead-letter", "reason": error.reason}
        else:
            trace = correlation_id(incoming.envelope.traceparent or "")
            fields |= {"outcome": "handled", "ce_id": incoming.envelope.id, "correlation_id": trace}
            if self._log_fields is not None:
                fields |= self._log_fields(incoming)
        seconds = self._clock.monotonic() - polled_at
        self._metrics.handled(topic.name, str(fields["outcome"]), seconds, message.timestamp_ms)
        _LOG.info("message", duration_ms=round(seconds * 1000, 3), **fields)
        self._limit.observe(is_dead=fields["outcome"] == "dead-letter")

    # --- publishing and committing -----------------------------------------------------------------------------

    def _publish(self) -> Iterator[str]:
        """Publish one group after another, each acknowledged before the next."""
        while group := self._core.outgoing():
            result = yield from self._send(group)
            if isinstance(result, _Rejected):
                self._core.rejected(result.outgoing, result.reason)
            else:
                self._core.sent(result)

    def _send(self, group: Sequence[Outgoing]) -> Generator[str, None, list[Sent] | _Rejected]:
        """Send a group and wait until the broker has it."""
        publisher = self._opened_publisher()
        sent = []
        for outgoing in group:
            if outgoing.after_acknowledged:
                yield "before-acknowledge"
                publisher.flush(self._delivery_seconds)
                yield "after-acknowledge"
            yield "before-publish"
            try:
                sent.append(
                    publisher.send(
                        outgoing.topic, outgoing.record, traceparent=outgoing.traceparent, partition=outgoing.partition
                    )
                )
            except ValueError as error:
                return _Rejected(outgoing, str(error))
        yield "before-acknowledge"
        publisher.flush(self._delivery_seconds)
        yield "after-acknowledge"
        return sent

    def _commit(self, consumer: Consumer) -> Iterator[str]:
        offsets = {
            partition: offset
            for partition, offset in self._core.committable().items()
            if self._committed.get(partition) != offset
        }
        if offsets:
            yield "before-commit"
            consumer.commit(offsets)
            self._committed |= offsets
            yield "after-commit"

    def _opened_publisher(self) -> Publisher:
        if self._publisher is None:
            self._publisher = Publisher(
                self._broker.producer(), service=self._service, clock=self._clock, topic_prefix=self._topic_prefix
            )
        return self._publisher

    # --- partitions --------------------------------------------------------------------------------------------

    def _member(self) -> Consumer:
        if self._consumer is None:
            self._core.connect()
            self._consumer = self._broker.consumer(
                group=f"{self._topic_prefix}{self._service}",
                topics=list(self._topics),
                on_assigned=self._on_assigned,
                on_revoked=self._on_revoked,
            )
        return self._consumer

    def _on_assigned(self, partitions: Partitions) -> None:
        _LOG.info("assigned", partitions=_names(partitions))
        self._owned |= set(partitions)
        self._paused -= set(partitions)
        self._core.assigned(partitions)

    def _on_revoked(self, partitions: Partitions) -> None:
        _LOG.info("revoked", partitions=_names(partitions))
        self._owned -= set(partitions)
        self._paused -= set(partitions)
        self._pending = deque(message for message in self._pending if partition_of(message) in self._owned)
        self._core.revoked(partitions)

    def _keep_to_read_ahead(self, consumer: Consumer) -> None:
        full = self._core.full
        if full != self._paused:
            consumer.pause(full - self._paused)
            consumer.resume(self._paused - full)
            self._paused = full

    def _measure_backlog(self, consumer: Consumer) -> None:
        if self._clock.monotonic() - self._backlog_at < _BACKLOG_EVERY_SECONDS:
            return
        self._backlog_at = self._clock.monotonic()
        assignment = consumer.assignment()
        unfinished = self._core.committable()
        try:
            ends = self._broker.end_offsets(assignment)
            self._metrics.backlog(
                {key: max(0, ends[key] - unfinished.get(key, consumer.position(key))) for key in assignment}
            )
        except TransientError as error:
            # A figure that is missing for a while is no reason to stop work.
            _LOG.debug("backlog_unknown", reason=str(error))


def _names(partitions: Partitions) -> list[str]:
    return [f"{topic}-{number}" for topic, number in sorted(partitions)]
