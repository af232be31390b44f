"""The trainer's core under the loop of jobs: what it follows, and what its runner is ordered to do.

A training outlives many polls: requests are read ahead, so that a cancellation is seen, and only what has ended is
committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import structlog

from runtime.broker import Broker, Message, TopicPartition, partition_for
from runtime.clock import Clock
from runtime.errors import InvalidMessage, TransientError
from runtime.follower import Follower
from runtime.health import Health
from runtime.incoming import Incoming, Outgoing
from runtime.job_worker import JobWorker, Partitions
from runtime.publisher import Sent
from runtime.worker import close_all
from schemas.errors import InvalidRecord
from schemas.topics import DEPLOYMENTS, MODELS, TRAINING_EVENTS, TRAINING_REQUESTS
from schemas.trainings import TrainingEvent
from trainer.core import Start, Trainer
from trainer.jobs import TrainingRunner
from trainer.metrics import TrainerMetrics

_LOG = structlog.get_logger()
SERVICE = "trainer"
_CATCH_UP_SECONDS = 60.0


class TrainerService(JobWorker):
    """One trainer process; its own effects are ``learn`` and ``order``.

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
        super().__init__(
            service=SERVICE,
            broker=broker,
            topics=[TRAINING_REQUESTS],
            core=_Trainings(
                broker=broker,
                core=core,
                runner=runner,
                metrics=metrics,
                clock=clock,
                topic_prefix=topic_prefix,
                poll_seconds=poll_seconds,
            ),
            metrics=metrics,
            health=health,
            clock=clock,
            topic_prefix=topic_prefix,
            log_fields=lambda incoming: {"training_id": getattr(incoming.record, "training_id", None)},
        )


class _Trainings:
    """What the loop of jobs asks, answered by the trainer's core; see `runtime.job_worker.JobCore`."""

    def __init__(
        self,
        *,
        broker: Broker,
        core: Trainer,
        runner: TrainingRunner,
        metrics: TrainerMetrics,
        clock: Clock,
        topic_prefix: str,
        poll_seconds: float,
    ) -> None:
        self._broker = broker
        self._core = core
        self._runner = runner
        self._metrics = metrics
        self._topic_prefix = topic_prefix
        self._poll_seconds = poll_seconds
        self._requests = TRAINING_REQUESTS.full_name(topic_prefix)
        self._events = TRAINING_EVENTS.full_name(topic_prefix)
        self._partition_count = 0
        self._follower = self._new_follower(clock)
        #: Partitions whose past is still to be learnt before their requests are looked at.
        self._unlearnt: set[int] = set()

    def connect(self) -> None:
        count, of_events = self._broker.partitions(self._requests), self._broker.partitions(self._events)
        if count == 0 or count != of_events:
            raise TransientError(
                f"topics {self._requests} and {self._events} must exist with equal partitions, have {count} and "
                f"{of_events}; `foretopic topics create` creates them"
            )
        self._partition_count = count

    def assigned(self, partitions: Partitions) -> None:
        numbers = {partition.partition for partition in partitions}
        self._unlearnt |= numbers
        self._core.assigned(numbers)

    def revoked(self, partitions: Partitions) -> None:
        numbers = {partition.partition for partition in partitions}
        self._unlearnt -= numbers
        self._core.revoked(numbers)
        self._follower.remove(TopicPartition(self._events, number) for number in numbers)

    def patience_seconds(self) -> float:
        return self._poll_seconds

    def learn(self, _messages: Sequence[Message]) -> Iterator[str]:
        """Read what is known of the trainings of new partitions, so that nothing is done twice."""
        if self._unlearnt:
            yield "before-learn"
            # One that is followed already goes on where a try that took too long has stopped.
            new = {TopicPartition(self._events, n) for n in self._unlearnt} - self._follower.positions().keys()
            self._follower.add(dict.fromkeys(new, 0))
            self._follower.catch_up(None, _CATCH_UP_SECONDS)
            self._unlearnt.clear()
            yield "after-learn"
        self._follower.poll(0)

    def receive(self, incoming: Incoming) -> None:
        message, record = incoming.message, incoming.record
        partition = partition_for(TRAINING_REQUESTS.key(record).encode(), self._partition_count)
        if message.partition != partition:
            # The cancellation of a training and its earlier events are looked for in its own partition only.
            raise InvalidMessage(
                f"wrong-partition: the key belongs to partition {partition} (murmur2, Kafka's default partitioner), "
                f"the message stands in {message.partition}"
            )
        self._core.receive(message.partition, message.offset, record, incoming.envelope.traceparent)

    def skip(self, message: Message) -> None:
        self._core.skip(message.partition, message.offset)

    def work(self) -> Iterator[str]:
        for event in self._runner.poll():
            self._core.on_job(event)
        for order in self._core.orders():
            yield "before-order"
            if isinstance(order, Start):
                self._runner.start(order.job)
                _LOG.info("job_started", training_id=order.job.request.training_id)
            else:
                self._runner.cancel(order.training_id)
                _LOG.info("job_stopped", training_id=order.training_id)
            yield "after-order"

    def outgoing(self) -> Sequence[Outgoing]:
        """Return one record: a deployment follows its release, once that is acknowledged."""
        outgoing = self._core.outgoing()
        return () if outgoing is None else (outgoing,)

    def sent(self, group: Sequence[Sent]) -> None:
        del group  # its ledger learns from what it has sent itself
        outgoing = self._core.outgoing()
        self._core.sent()
        if outgoing is not None and isinstance(outgoing.record, TrainingEvent):
            self._tell(outgoing.record)

    def rejected(self, _outgoing: Outgoing, reason: str) -> None:
        self._core.rejected(reason)

    def committable(self) -> Mapping[TopicPartition, int]:
        return {TopicPartition(self._requests, number): offset for number, offset in self._core.committable().items()}

    @property
    def full(self) -> frozenset[TopicPartition]:
        return frozenset(TopicPartition(self._requests, number) for number in self._core.full)

    def measure(self) -> None:
        self._metrics.trainings(waiting=self._core.waiting, running=self._core.running)

    def close(self) -> None:
        self._runner.close()
        close_all(self._follower)

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

    def _new_follower(self, clock: Clock) -> Follower:
        follower = Follower(
            self._broker,
            topics=(MODELS, DEPLOYMENTS, TRAINING_EVENTS),
            topic_prefix=self._topic_prefix,
            apply=lambda incoming: self._core.learn(incoming.record, incoming.message.offset),
            on_invalid=self._pass_over,
            clock=clock,
        )
        follower.assign({TopicPartition(topic.full_name(self._topic_prefix), 0): 0 for topic in (MODELS, DEPLOYMENTS)})
        return follower

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
