"""The loop of a service: poll, decode, handle, publish, await the acknowledgements, and only then commit.

So a message is handled at least once, and a crash anywhere makes a repeat, never a loss. What fails has one of three
fates (`runtime.errors`): dead letter and go on, back off and try again, or stop without committing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from runtime.batch import Batch, partition_of
from runtime.broker import Broker, Consumer, PartitionsCallback, TopicPartition
from runtime.clock import Clock
from runtime.dead_letter import DeadLetterLimit, dead_letter
from runtime.errors import InvalidMessage, TransientError
from runtime.follower import Follower
from runtime.health import Health
from runtime.incoming import Incoming, Outgoing
from runtime.metrics import Metrics
from runtime.publisher import Publisher
from runtime.report import LogFields, Report
from schemas.topics import DEAD_LETTERS, Topic

__all__ = ["Backoff", "Handler", "Incoming", "LogFields", "Outgoing", "Worker"]


class Handler(Protocol):
    """Decides what messages mean, without I/O, clock or logging.

    It is idempotent: the same message may come again, in this process or in the next. What it remembers of a partition
    (that a request is answered, say) holds only until the partition is revoked; then it must be forgotten and, when the
    partition comes back, be read from the log again, since what was handled may never have been published.
    """

    def needs(self, batch: Sequence[Incoming]) -> Mapping[TopicPartition, int]:
        """Return the next offsets that the worker's follower must have reached before `handle`."""
        ...

    def handle(self, batch: Sequence[Incoming]) -> Sequence[Outgoing]:
        """Return what is to be published for one poll's messages, which come in offset order a partition.

        Raises:
            InvalidMessage: One of them can never be handled. The messages are then given again one at a time, so a
                call that raises must leave no trace.
            TransientError: The same call may succeed later.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How long to wait before the same work is tried again: doubling, with a bound."""

    first_seconds: float = 0.1
    max_seconds: float = 10.0

    def delay_seconds(self, attempt: int) -> float:
        """Return the wait after the ``attempt``-th failure in a row, counted from 1."""
        return float(min(self.max_seconds, self.first_seconds * 2 ** min(attempt - 1, 30)))


class Closeable(Protocol):
    """Something that holds a connection to the broker."""

    def close(self) -> None:
        """Let go of it."""
        ...


def run_steps(steps: Callable[[], Iterator[str]], stop: threading.Event) -> None:
    """Run cycles of effects until ``stop`` is set; a cycle that is backing off is left at once."""
    while not stop.is_set():
        for effect in steps():
            if effect == "before-back-off" and stop.is_set():
                break


def close_all(*resources: Closeable | None) -> None:
    """Close what is open, in order; one that the broker does not answer keeps nothing else from being closed."""
    for resource in resources:
        if resource is None:
            continue
        try:
            resource.close()
        except TransientError as error:
            # The broker notices our absence without a goodbye.
            structlog.get_logger().warning("close_failed", reason=str(error))


class Worker:
    """One instance of a service: a member of its consumer group.

    Args:
        service: Name of the service; with ``topic_prefix`` before it, also of the consumer group.
        topics: What it consumes.
        handler: Decides.
        prepare: Called with the messages, once the follower has caught up and before they are handled, for what the
            handler needs from outside (an effect of its own: ``prepare``). A `TransientError` backs off.
        follower: Brought to ``handler.needs`` before each `Handler.handle`, and kept up to date in between. The
            callbacks decide what it follows.
        dead_letter_limit: When to stop because too much is refused.
        writes_dead_letters: False for a topic whose dead letters another service writes: refused messages are then
            logged and counted only.
        on_assigned: Called inside the poll with the partitions that this member has from now on.
        on_revoked: Called inside the poll with the partitions that it loses, after their work was dropped. Both must be
            quick, and must not fail: nothing calls them again.
        on_turn: Called after each poll, for what is due by the clock (an effect of its own: ``turn``). After a
            `TransientError` it is called again with the next poll.
        log_fields: Gives further fields for the log line of a message.
    """

    def __init__(
        self,
        *,
        service: str,
        broker: Broker,
        topics: Sequence[Topic],
        handler: Handler,
        clock: Clock,
        topic_prefix: str = "",
        prepare: Callable[[Sequence[Incoming]], None] | None = None,
        follower: Follower | None = None,
        dead_letter_limit: DeadLetterLimit | None = None,
        writes_dead_letters: bool = True,
        on_assigned: PartitionsCallback | None = None,
        on_revoked: PartitionsCallback | None = None,
        on_turn: Callable[[], None] | None = None,
        metrics: Metrics | None = None,
        health: Health | None = None,
        backoff: Backoff | None = None,
        log_fields: LogFields | None = None,
        poll_timeout_seconds: float = 1.0,
        max_messages: int = 500,
        delivery_timeout_seconds: float = 30.0,
        catch_up_timeout_seconds: float = 30.0,
    ) -> None:
        self._service = service
        self._broker = broker
        self._topics = {topic.full_name(topic_prefix): topic for topic in topics}
        self._topic_prefix = topic_prefix
        self._handler = handler
        self._prepare = prepare
        self._clock = clock
        self._follower = follower
        self._limit = dead_letter_limit or DeadLetterLimit()
        self._writes_dead_letters = writes_dead_letters
        self._assigned_hook = on_assigned
        self._revoked_hook = on_revoked
        self._on_turn = on_turn
        self._metrics = metrics or Metrics(service)
        self._health = health or Health(clock)
        self._backoff = backoff or Backoff()
        self._poll_timeout = poll_timeout_seconds
        self._max_messages = max_messages
        self._delivery_timeout = delivery_timeout_seconds
        self._catch_up_timeout = catch_up_timeout_seconds
        self._log = structlog.get_logger()
        self._report = Report(
            clock,
            self._topics,
            self._metrics,
            refused_as="dead-letter" if writes_dead_letters else "ignored",
            log_fields=log_fields,
        )
        self._consumer: Consumer | None = None
        self._publisher: Publisher | None = None
        self._batch: Batch | None = None
        self._attempt = 0
        self._is_backing_off = False

    @property
    def consumer(self) -> Consumer | None:
        """The member of the group; ``None`` before the first step."""
        return self._consumer

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; finish the messages in hand first, unless they have to be tried again.

        Raises:
            TooManyDeadLetters: A limit was passed.
            Exception: A bug or a broken invariant; nothing was committed that was not published.
        """
        try:
            run_steps(self.steps, stop)
        finally:
            self.close()

    def steps(self) -> Iterator[str]:
        """Do one cycle, effect by effect: yield ``before-...`` just before and ``after-...`` just after each.

        Whoever drops the iterator stops the worker between two effects, as a crash does. Effects: ``poll``,
        ``turn``, ``catch-up``, ``prepare``, ``handle``, ``publish`` (one a record), ``acknowledge``, ``commit`` and,
        when something may work later, ``back-off``, after which the cycle goes on where it failed.
        """
        while True:
            try:
                yield from self._cycle()
            except TransientError as error:
                yield from self._back_off(error)
            else:
                self._attempt = 0
                return

    def close(self) -> None:
        """Leave the group without committing anything, and let go of the broker."""
        close_all(self._consumer, self._publisher, self._follower)
        self._consumer = None
        self._publisher = None
        self._batch = None

    # --- the cycle ---------------------------------------------------------------------------------------------

    def _cycle(self) -> Iterator[str]:
        if self._batch is None:
            yield "before-poll"
            self._poll()
            yield "after-poll"
            if self._on_turn is not None:
                yield "before-turn"
                self._on_turn()
                yield "after-turn"
        batch = self._batch
        if batch is None:
            return
        if batch.todo and self._follower is not None:
            yield "before-catch-up"
            self._catch_up(batch, self._follower)
            yield "after-catch-up"
        if batch.todo and self._prepare is not None:
            yield "before-prepare"
            self._prepare(list(batch.todo))
            yield "after-prepare"
        if not batch.is_judged:
            yield "before-handle"
            self._handle(batch)
            self._judge(batch)
            yield "after-handle"
        if not batch.is_acknowledged:
            yield from self._publish(batch)
        yield "before-commit"
        self._member().commit(batch.next_offsets())
        self._batch = None
        self._report.handled(batch)
        yield "after-commit"

    def _poll(self) -> None:
        self._health.beat()
        consumer = self._member()
        messages = consumer.poll(self._poll_timeout, self._max_messages)
        if messages:
            # At once: were anything to fail between the poll and this, the next commit would pass over them.
            self._batch = Batch(self._topics, messages, self._clock.monotonic())
        if self._follower is not None:
            until = self._clock.monotonic() + self._poll_timeout
            while self._follower.poll(0) and self._clock.monotonic() < until:
                pass
        self._report.backlog(self._broker, consumer)

    def _catch_up(self, batch: Batch, follower: Follower) -> None:
        positions = follower.positions()
        behind = {
            partition: offset
            for partition, offset in self._handler.needs(batch.todo).items()
            if positions.get(partition, 0) < offset
        }
        if not behind:
            return
        # What is beyond the log's end is the handler's to refuse: it would never come.
        ends = self._broker.end_offsets(behind)
        follower.catch_up(
            {partition: min(offset, ends[partition]) for partition, offset in behind.items()}, self._catch_up_timeout
        )

    def _handle(self, batch: Batch) -> None:
        while batch.todo:
            part = batch.todo[:1] if batch.must_split else list(batch.todo)
            try:
                outgoing = self._handler.handle(part)
            except InvalidMessage as error:
                if len(part) > 1:
                    batch.must_split = True
                    continue
                batch.refused[part[0].message] = error.reason
            else:
                batch.outgoing.extend(outgoing)
            del batch.todo[: len(part)]

    def _judge(self, batch: Batch) -> None:
        """Turn what is refused into dead letters, unless it is too much."""
        for message in batch.messages:
            self._limit.observe(is_dead=message in batch.refused)
        for message, reason in batch.refused.items():
            topic = self._topics[message.topic]
            self._metrics.dead_letter(topic.name)
            if self._writes_dead_letters:
                letter = dead_letter(topic, message, reason=reason, service=self._service)
                batch.outgoing.append(Outgoing(topic=DEAD_LETTERS, record=letter))
        batch.is_judged = True

    def _publish(self, batch: Batch) -> Iterator[str]:
        publisher = self._opened_publisher()
        for outgoing in batch.outgoing:
            if outgoing.after_acknowledged:
                yield "before-acknowledge"
                publisher.flush(self._delivery_timeout)
                yield "after-acknowledge"
            yield "before-publish"
            publisher.send(
                outgoing.topic, outgoing.record, traceparent=outgoing.traceparent, partition=outgoing.partition
            )
            yield "after-publish"
        yield "before-acknowledge"
        publisher.flush(self._delivery_timeout)
        batch.is_acknowledged = True
        yield "after-acknowledge"

    # --- trying again ------------------------------------------------------------------------------------------

    def _back_off(self, error: TransientError) -> Iterator[str]:
        """Wait before the next try, as a member of the group: paused, but polling."""
        self._attempt += 1
        delay = self._backoff.delay_seconds(self._attempt)
        self._log.warning("retry", attempt=self._attempt, delay_seconds=delay, reason=str(error))
        self._metrics.retry()
        until = self._clock.monotonic() + delay
        while (remaining := until - self._clock.monotonic()) > 0:
            yield "before-back-off"
            self._wait_as_member(min(remaining, self._poll_timeout))
            yield "after-back-off"
        if self._batch is not None and not self._batch.messages:
            self._batch = None

    def _wait_as_member(self, seconds: float) -> None:
        self._health.beat()
        if self._consumer is None:
            self._clock.sleep(seconds)
            return
        self._is_backing_off = True
        try:
            self._consumer.pause(self._consumer.assignment())
            for message in reversed(self._consumer.poll(seconds, self._max_messages)):
                # Not expected of a paused consumer; whatever comes is read again later.
                self._consumer.seek(partition_of(message), message.offset)
        except TransientError as error:
            self._log.debug("poll_failed", reason=str(error))
            self._clock.sleep(seconds)
        finally:
            self._is_backing_off = False
            self._consumer.resume(self._consumer.assignment())

    # --- membership --------------------------------------------------------------------------------------------

    def _member(self) -> Consumer:
        if self._consumer is None:
            self._consumer = self._broker.consumer(
                group=f"{self._topic_prefix}{self._service}",
                topics=list(self._topics),
                on_assigned=self._on_assigned,
                on_revoked=self._on_revoked,
            )
        return self._consumer

    def _opened_publisher(self) -> Publisher:
        if self._publisher is None:
            self._publisher = Publisher(
                self._broker.producer(), service=self._service, clock=self._clock, topic_prefix=self._topic_prefix
            )
        return self._publisher

    def _on_assigned(self, partitions: Collection[TopicPartition]) -> None:
        self._log.info("assigned", partitions=_names(partitions))
        if self._is_backing_off and self._consumer is not None:
            self._consumer.pause(partitions)
        _call(self._assigned_hook, partitions)

    def _on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        dropped = 0 if self._batch is None else self._batch.drop(partitions)
        self._log.info("revoked", partitions=_names(partitions), dropped_messages=dropped)
        _call(self._revoked_hook, partitions)


def _call(hook: PartitionsCallback | None, partitions: Collection[TopicPartition]) -> None:
    if hook is None:
        return
    try:
        hook(partitions)
    except TransientError as error:
        # Nothing calls it a second time, so it must not pass for something that trying again mends.
        raise RuntimeError(f"a callback of the rebalance failed and will not be called again: {error}") from error


def _names(partitions: Collection[TopicPartition]) -> list[str]:
    return [f"{topic}-{number}" for topic, number in sorted(partitions)]
