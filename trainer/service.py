"""The shell around the core: a member of the group that goes on polling while children train.

`runtime.worker` commits the messages of a poll before the next poll. A training outlives many polls, so this is a
loop of its own: it reads ahead, so that a cancellation is seen, and commits only what has ended.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator

import structlog

from runtime.broker import Broker, Consumer, Message, TopicPartition, partition_for
from runtime.clock import Clock
from runtime.dead_letter import DeadLetterLimit, dead_letter
from runtime.errors import InvalidMessage, TransientError
from runtime.follower import Follower
from runtime.health import Health
from runtime.incoming import Incoming, Outgoing, decode_message
from runtime.publisher import Publisher
from runtime.tracing import correlation_id
from runtime.worker import Backoff, close_all, run_steps
from schemas.errors import InvalidRecord
from schemas.topics import DEAD_LETTERS, DEPLOYMENTS, MODELS, TRAINING_EVENTS, TRAINING_REQUESTS
from schemas.trainings import TrainingEvent
from trainer.core import Start, Trainer
from trainer.jobs import TrainingRunner
from trainer.metrics import TrainerMetrics

_LOG = structlog.get_logger()
SERVICE = "trainer"
_DELIVERY_SECONDS = 30.0
_CATCH_UP_SECONDS = 60.0
_BACKLOG_EVERY_SECONDS = 5.0
#: A stop is noticed between two sleeps.
_LONGEST_SLEEP_SECONDS = 0.5


class TrainerService:
    """One trainer process. Belongs to one thread; connects at its first step.

    Args:
        broker: The event log.
        core: Decides everything.
        runner: Does the jobs.
        metrics: Counts.
        health: Is told of every turn of the loop.
        clock: Measures, and waits before a retry.
        topic_prefix: The installation's prefix.
        poll_seconds: How long one turn waits for messages; running jobs are looked at once a turn.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        core: Trainer,
        runner: TrainingRunner,
        metrics: TrainerMetrics,
        health: Health,
        clock: Clock,
        topic_prefix: str = "",
        poll_seconds: float = 0.2,
    ) -> None:
        self._broker = broker
        self._core = core
        self._runner = runner
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._topic_prefix = topic_prefix
        self._poll_seconds = poll_seconds
        self._requests = TRAINING_REQUESTS.full_name(topic_prefix)
        self._events = TRAINING_EVENTS.full_name(topic_prefix)
        self._partition_count = 0
        self._consumer: Consumer | None = None
        self._publisher: Publisher | None = None
        self._follower = self._new_follower()
        self._limit = DeadLetterLimit()
        self._backoff = Backoff()
        self._attempt = 0
        #: Partitions whose past is still to be learnt before their requests are looked at.
        self._unlearnt: set[int] = set()
        self._owned: set[int] = set()
        self._paused: frozenset[int] = frozenset()
        self._pending: deque[Message] = deque()
        self._committed: dict[int, int] = {}
        self._backlog_at = float("-inf")

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
        self._runner.close()
        close_all(self._consumer, self._publisher, self._follower)
        self._consumer = None
        self._publisher = None

    def steps(self) -> Iterator[str]:
        """Do one turn, effect by effect: yield ``before-...`` just before and ``after-...`` just after each.

        Whoever drops the iterator stops the trainer between two effects, as a crash does. Effects: ``poll``,
        ``learn``, ``order``, ``publish``, ``acknowledge``, ``commit`` and, when something may work later, ``back-off``,
        after which the next turn goes on where this one failed.
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
        polled = consumer.poll(self._poll_seconds)
        self._pending.extend(polled)
        polled_at = self._clock.monotonic()
        yield "after-poll"
        if self._unlearnt:
            yield "before-learn"
            self._learn()
            yield "after-learn"
        self._follower.poll(0)
        while self._pending:
            yield from self._receive(self._pending[0], polled_at)
            self._pending.popleft()
        for event in self._runner.poll():
            self._core.on_job(event)
        yield from self._obey()
        yield from self._publish()
        yield from self._commit(consumer)
        self._keep_to_read_ahead(consumer)
        self._measure(consumer)

    def _obey(self) -> Iterator[str]:
        for order in self._core.orders():
            yield "before-order"
            if isinstance(order, Start):
                self._runner.start(order.job)
                _LOG.info("job_started", training_id=order.job.request.training_id)
            else:
                self._runner.cancel(order.training_id)
                _LOG.info("job_stopped", training_id=order.training_id)
            yield "after-order"

    # --- messages ----------------------------------------------------------------------------------------------

    def _receive(self, message: Message, polled_at: float) -> Iterator[str]:
        if message.partition not in self._owned:
            return
        fields: dict[str, object] = {
            "topic": message.topic,
            "partition": message.partition,
            "offset": message.offset,
        }
        try:
            incoming = self._decoded(message)
            self._core.receive(message.partition, message.offset, incoming.record, incoming.envelope.traceparent)
        except (InvalidRecord, InvalidMessage) as error:
            yield from self._refuse(message, error.reason)
            fields |= {"outcome": "dead-letter", "reason": error.reason}
        else:
            trace = correlation_id(incoming.envelope.traceparent or "")
            fields |= {"outcome": "handled", "ce_id": incoming.envelope.id, "correlation_id": trace}
            fields["training_id"] = getattr(incoming.record, "training_id", None)
        seconds = self._clock.monotonic() - polled_at
        self._metrics.handled(TRAINING_REQUESTS.name, str(fields["outcome"]), seconds, message.timestamp_ms)
        _LOG.info("message", duration_ms=round(seconds * 1000, 3), **fields)
        self._limit.observe(is_dead=fields["outcome"] == "dead-letter")

    def _decoded(self, message: Message) -> Incoming:
        incoming = decode_message(TRAINING_REQUESTS, message)
        partition = partition_for(TRAINING_REQUESTS.key(incoming.record).encode(), self._partition_count)
        if message.partition != partition:
            # The cancellation of a training and its earlier events are looked for in its own partition only.
            raise InvalidMessage(
                f"wrong-partition: the key belongs to partition {partition} (murmur2, Kafka's default partitioner), "
                f"the message stands in {message.partition}"
            )
        return incoming

    def _refuse(self, message: Message, reason: str) -> Iterator[str]:
        letter = dead_letter(TRAINING_REQUESTS, message, reason=reason, service=SERVICE)
        yield from self._send(Outgoing(topic=DEAD_LETTERS, record=letter))
        self._core.skip(message.partition, message.offset)
        self._metrics.dead_letter(TRAINING_REQUESTS.name)

    # --- publishing and committing -----------------------------------------------------------------------------

    def _publish(self) -> Iterator[str]:
        """Publish one record after another, each acknowledged before the next: a deployment follows its release."""
        while (outgoing := self._core.outgoing()) is not None:
            try:
                yield from self._send(outgoing)
            except ValueError as error:
                # Too large for its topic.
                self._core.rejected(str(error))
                continue
            self._core.sent()
            if isinstance(outgoing.record, TrainingEvent):
                self._tell(outgoing.record)

    def _send(self, outgoing: Outgoing) -> Iterator[str]:
        if self._publisher is None:
            self._publisher = Publisher(
                self._broker.producer(), service=SERVICE, clock=self._clock, topic_prefix=self._topic_prefix
            )
        yield "before-publish"
        delivery = self._publisher.send(
            outgoing.topic, outgoing.record, traceparent=outgoing.traceparent, partition=outgoing.partition
        )
        yield "before-acknowledge"
        delivery.result(_DELIVERY_SECONDS)
        yield "after-acknowledge"

    def _tell(self, event: TrainingEvent) -> None:
        self._metrics.told(event.state)
        fields = {"stage": event.stage, "reason": event.reason, "version": event.version}
        _LOG.info(
            "training",
            training_id=event.training_id,
            model=event.model,
            state=event.state,
            fraction=event.fraction,
            **{name: value for name, value in fields.items() if value},
        )

    def _commit(self, consumer: Consumer) -> Iterator[str]:
        offsets = {
            partition: offset
            for partition, offset in self._core.committable().items()
            if self._committed.get(partition) != offset
        }
        if offsets:
            yield "before-commit"
            consumer.commit({TopicPartition(self._requests, number): offset for number, offset in offsets.items()})
            self._committed |= offsets
            yield "after-commit"

    # --- partitions --------------------------------------------------------------------------------------------

    def _member(self) -> Consumer:
        if self._consumer is None:
            count, of_events = self._broker.partitions(self._requests), self._broker.partitions(self._events)
            if count == 0 or count != of_events:
                raise TransientError(
                    f"topics {self._requests} and {self._events} must exist with equal partitions, have {count} and "
                    f"{of_events}; `foretopic topics create` creates them"
                )
            self._partition_count = count
            self._consumer = self._broker.consumer(
                group=f"{self._topic_prefix}{SERVICE}",
                topics=[self._requests],
                on_assigned=self._on_assigned,
                on_revoked=self._on_revoked,
            )
        return self._consumer

    def _on_assigned(self, partitions: Collection[TopicPartition]) -> None:
        numbers = {partition.partition for partition in partitions}
        _LOG.info("assigned", partitions=sorted(numbers))
        self._owned |= numbers
        self._unlearnt |= numbers
        self._paused -= numbers
        self._core.assigned(numbers)

    def _on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        numbers = {partition.partition for partition in partitions}
        _LOG.info("revoked", partitions=sorted(numbers))
        self._owned -= numbers
        self._unlearnt -= numbers
        self._paused -= numbers
        self._pending = deque(message for message in self._pending if message.partition not in numbers)
        self._committed = {number: offset for number, offset in self._committed.items() if number in self._owned}
        self._core.revoked(numbers)
        self._follower.remove(TopicPartition(self._events, number) for number in numbers)

    def _new_follower(self) -> Follower:
        follower = Follower(
            self._broker,
            topics=(MODELS, DEPLOYMENTS, TRAINING_EVENTS),
            topic_prefix=self._topic_prefix,
            apply=lambda incoming: self._core.learn(incoming.record, incoming.message.offset),
            on_invalid=self._pass_over,
            clock=self._clock,
        )
        follower.assign({TopicPartition(topic.full_name(self._topic_prefix), 0): 0 for topic in (MODELS, DEPLOYMENTS)})
        return follower

    def _learn(self) -> None:
        """Read what is known of the trainings of new partitions, so that nothing is done twice."""
        # One that is followed already goes on where a try that took too long has stopped.
        new = {TopicPartition(self._events, number) for number in self._unlearnt} - self._follower.positions().keys()
        self._follower.add(dict.fromkeys(new, 0))
        self._follower.catch_up(None, _CATCH_UP_SECONDS)
        self._unlearnt.clear()

    def _pass_over(self, message: Message, error: InvalidRecord) -> None:
        """Go on: other services write the dead letters of the topics that are only followed."""
        self._metrics.dead_letter(error.topic)
        _LOG.warning(
            "message",
            outcome="ignored",
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            reason=error.reason,
        )

    def _keep_to_read_ahead(self, consumer: Consumer) -> None:
        full = self._core.full
        if full != self._paused:
            consumer.pause(TopicPartition(self._requests, number) for number in full - self._paused)
            consumer.resume(TopicPartition(self._requests, number) for number in self._paused - full)
            self._paused = full

    def _measure(self, consumer: Consumer) -> None:
        self._metrics.trainings(waiting=self._core.waiting, running=self._core.running)
        if self._clock.monotonic() - self._backlog_at < _BACKLOG_EVERY_SECONDS:
            return
        self._backlog_at = self._clock.monotonic()
        assignment = consumer.assignment()
        unfinished = self._core.committable()
        try:
            ends = self._broker.end_offsets(assignment)
            self._metrics.backlog(
                {key: max(0, ends[key] - unfinished.get(key.partition, consumer.position(key))) for key in assignment}
            )
        except TransientError as error:
            # A figure that is missing for a while is no reason to stop work.
            _LOG.debug("backlog_unknown", reason=str(error))
