"""What a trainer decides: which trainings wait, run and end, what is published, which offsets may be committed.

No I/O, no clock. The shell feeds in messages, what the log says, and what jobs report; it takes out orders for the
runner, records to publish one after another (each acknowledged before the next), and committable offsets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from runtime.errors import InvalidMessage
from runtime.incoming import Outgoing
from runtime.offsets import OffsetTracker
from schemas.models import ModelReleased
from schemas.record import Record
from schemas.topics import DEPLOYMENTS, MODELS, TRAINING_EVENTS, Topic
from schemas.trainings import TrainingCancelRequested, TrainingEvent, TrainingRequested, TrainingState
from trainer.jobs import Died, Job, JobEvent, Progressed, Recorded, Refused, Trained
from trainer.ledger import KnownRelease, Ledger
from trainer.training import Phase, Training


@dataclass(frozen=True)
class Start:
    """Order the runner to begin a job."""

    job: Job


@dataclass(frozen=True)
class Stop:
    """Order the runner to end the job of a training without a result."""

    training_id: str


Order = Start | Stop


@dataclass(kw_only=True)
class _Orphan:
    """A job whose partition was taken; it goes on in case the partition comes back with the same request."""

    training: Training
    events: list[JobEvent] = field(default_factory=list)


@dataclass(frozen=True)
class _Waiting:
    outgoing: Outgoing
    training: Training


class Trainer:
    """The state of one member of the trainer's group.

    Args:
        parallel_trainings: Jobs that run at the same time, >= 1.
        max_attempts: How often a training is begun when its job dies, >= 1; then it has failed.
        read_ahead: Unfinished messages of one partition, >= 1, past which the partition is full.
        records_runs: Whether runs are recorded; a release without a final event then needs a job once more.
    """

    def __init__(self, *, parallel_trainings: int, max_attempts: int, read_ahead: int, records_runs: bool) -> None:
        self.ledger = Ledger()
        self._parallel_trainings = parallel_trainings
        self._max_attempts = max_attempts
        self._read_ahead = read_ahead
        self._records_runs = records_runs
        self._trackers: dict[int, OffsetTracker] = {}
        self._trainings: dict[str, Training] = {}
        self._queue: deque[Training] = deque()
        self._orphans: dict[str, _Orphan] = {}
        self._outbox: deque[_Waiting] = deque()
        self._orders: list[Order] = []

    # Partitions

    def assigned(self, partitions: Iterable[int]) -> None:
        """Take over partitions at the end of a rebalance; jobs of partitions that are not ours any more are stopped."""
        for partition in partitions:
            self._trackers.setdefault(partition, OffsetTracker())
        for training_id, orphan in list(self._orphans.items()):
            if orphan.training.partition not in self._trackers:
                self._stop(training_id)
                del self._orphans[training_id]

    def revoked(self, partitions: Iterable[int]) -> None:
        """Give up partitions: their trainings are forgotten, their jobs go on until ``assigned`` decides."""
        gone = set(partitions)
        for partition in gone:
            self._trackers.pop(partition, None)
        for training in [one for one in self._trainings.values() if one.partition in gone]:
            if training.has_job:
                self._orphans[training.training_id] = _Orphan(training=training)
            self._forget(training)

    @property
    def full(self) -> frozenset[int]:
        """Return the partitions of which no more should be read now."""
        return frozenset(
            partition for partition, tracker in self._trackers.items() if tracker.unfinished >= self._read_ahead
        )

    @property
    def waiting(self) -> int:
        """Return how many trainings wait for their turn."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Return how many jobs run, those included whose partition was taken."""
        return sum(training.has_job for training in self._trainings.values()) + len(self._orphans)

    def committable(self) -> dict[int, int]:
        """Return for each partition the next offset to read after a restart; no unfinished message lies below it."""
        return {
            partition: tracker.committable
            for partition, tracker in self._trackers.items()
            if tracker.committable is not None
        }

    # Messages

    def receive(self, partition: int, offset: int, record: Record, traceparent: str | None = None) -> None:
        """Take in a message of ``training-requests``; redelivered ones change nothing.

        Raises:
            InvalidMessage: The record contradicts an earlier one; hand the message to ``skip`` after its dead letter.
        """
        tracker = self._trackers[partition]
        if tracker.knows(offset):
            return
        if isinstance(record, TrainingRequested):
            self._refuse_contradiction(record)
            tracker.received(offset)
            self._request(partition, offset, record, traceparent)
        elif isinstance(record, TrainingCancelRequested):
            tracker.received(offset)
            self._cancel(record)
            tracker.finished(offset)
        else:
            raise InvalidMessage(f"a request or its cancellation was expected, found a {type(record).__name__}")

    def skip(self, partition: int, offset: int) -> None:
        """Finish a message that can never be handled, once its dead letter is acknowledged."""
        tracker = self._trackers[partition]
        if not tracker.knows(offset):
            tracker.received(offset)
            tracker.finished(offset)

    def _refuse_contradiction(self, request: TrainingRequested) -> None:
        known = self._trainings.get(request.training_id)
        if known is not None and known.request != request:
            raise InvalidMessage(
                f"training_id {request.training_id} already stands for another request at partition "
                f"{known.partition}, offset {known.offset}: ask again under a new id"
            )

    def _request(self, partition: int, offset: int, request: TrainingRequested, traceparent: str | None) -> None:
        training_id = request.training_id
        if training_id in self._trainings or self.ledger.has_ended(training_id):
            self._trackers[partition].finished(offset)
            return
        training = Training(
            request=request,
            partition=partition,
            offset=offset,
            traceparent=traceparent,
            told=self.ledger.told(training_id),
            release=self.ledger.release_of(training_id),
        )
        self._trainings[training_id] = training
        if training.release is None and training.told.next_sequence == 0:
            self._tell(training, training.event("queued"))
        if self._adopt(training):
            return
        if training.release is not None:
            self._deploy(training)
            if not self._records_runs:
                self._end(training, "succeeded")
                return
        self._queue.append(training)

    def _adopt(self, training: Training) -> bool:
        """Go on with a job that outlived the loss of its partition; stop one that is of no use any more."""
        orphan = self._orphans.pop(training.training_id, None)
        if orphan is None:
            return False
        # A release that was handed over and not published is lost: the job is of no use without it.
        is_released = training.release is not None
        if orphan.training.request != training.request or is_released != (orphan.training.phase is Phase.RECORDING):
            self._stop(training.training_id)
            return False
        training.phase, training.attempts = orphan.training.phase, orphan.training.attempts
        if training.phase is Phase.TRAINING:
            self._tell_running(training)
        self._deploy(training)
        for event in orphan.events:
            self.on_job(event)
        return True

    def _cancel(self, cancel: TrainingCancelRequested) -> None:
        training = self._trainings.get(cancel.training_id)
        if training is None or training.release is not None or training.phase is Phase.ENDING:
            return
        if training.phase is Phase.TRAINING:
            self._stop(cancel.training_id)
        else:
            self._queue.remove(training)
        self._end(training, "cancelled", reason=cancel.reason or "its cancellation was requested")

    # The log

    def learn(self, record: Record, offset: int) -> None:
        """Take in a record of `models`, `deployments` or `training-events`, also one of our own."""
        self.ledger.learn(record, offset)
        if isinstance(record, TrainingEvent) and self.ledger.has_ended(record.training_id):
            training = self._trainings.get(record.training_id)
            # Somebody else ended it, for instance a member that lost the partition and was slow to notice.
            if training is not None:
                if training.has_job:
                    self._stop(record.training_id)
                self._finish(training)

    # Jobs

    def orders(self) -> Sequence[Order]:
        """Return what the runner is to do now; each order is given once."""
        while self._queue and self.running < self._parallel_trainings:
            self._start(self._queue.popleft())
        orders, self._orders = self._orders, []
        return orders

    def _start(self, training: Training) -> None:
        # A release may have come from a member that was slow to notice that it lost the partition.
        training.release = training.release or self.ledger.release_of(training.training_id)
        if training.release is not None:
            self._deploy(training)
            training.phase = Phase.RECORDING
            self._orders.append(Start(Job(request=training.request, release_offset=training.release.offset)))
            return
        training.phase = Phase.TRAINING
        training.attempts += 1
        self._tell_running(training)
        self._orders.append(Start(Job(request=training.request)))

    def _tell_running(self, training: Training) -> None:
        if not training.told.is_running:
            training.told.is_running = True
            self._tell(training, training.event("running"))

    def on_job(self, event: JobEvent) -> None:
        """Take in what a job reports; reports of trainings that were stopped are ignored."""
        orphan = self._orphans.get(event.training_id)
        if orphan is not None:
            orphan.events.append(event)
            return
        training = self._trainings.get(event.training_id)
        if training is None or not training.has_job:
            return
        if isinstance(event, Progressed):
            progress = training.progress(event)
            if progress is not None:
                self._tell(training, progress)
        elif isinstance(event, Trained):
            self._release(training, event.release)
        elif isinstance(event, Recorded):
            self._succeed(training, event)
        elif isinstance(event, Refused):
            self._end(training, "failed", reason=event.reason)
        else:
            self._died(training, event)

    def _release(self, training: Training, release: ModelReleased) -> None:
        training.phase = Phase.RECORDING
        known = self.ledger.release_of(training.training_id)
        if known is not None and known.version != release.version:
            # Another member had the partition and was done first; a choice under a budget may differ. Its version
            # stands, ours was never told of.
            training.release = known
            self._stop(training.training_id)
            self._deploy(training)
            self._orders.append(Start(Job(request=training.request, release_offset=known.offset)))
            return
        training.release = KnownRelease.of(release)
        self._publish(training, MODELS, release)
        self._deploy(training)

    def _deploy(self, training: Training) -> None:
        if training.release is not None and not self.ledger.is_deployed(training.training_id):
            self._publish(training, DEPLOYMENTS, training.deployment(training.release.version))

    def _succeed(self, training: Training, recorded: Recorded) -> None:
        if recorded.warning:
            warning = training.event("progress", stage="recording", fraction=1.0, reason=recorded.warning)
            self._tell(training, warning)
        note = training.release.fallback_reason if training.release else ""
        self._end(training, "succeeded", reason=note, run_id=recorded.run_id)

    def _died(self, training: Training, event: Died) -> None:
        if training.phase is Phase.RECORDING:
            warning = f"the run is not recorded: {event.reason}"
            self._succeed(training, Recorded(training_id=event.training_id, warning=warning))
        elif training.attempts >= self._max_attempts:
            self._end(training, "failed", reason=f"{event.reason} (attempt {training.attempts}, the last)")
        else:
            reason = f"{event.reason} (attempt {training.attempts} of {self._max_attempts}): the training begins again"
            self._tell(training, training.event("progress", reason=reason))
            training.phase = Phase.WAITING
            self._queue.appendleft(training)

    def _stop(self, training_id: str) -> None:
        self._orders.append(Stop(training_id))

    # Publishing

    def outgoing(self) -> Outgoing | None:
        """Return the record to publish next, the same one until ``sent`` or ``rejected``."""
        return self._outbox[0].outgoing if self._outbox else None

    def sent(self) -> None:
        """Note that the record to publish next is acknowledged by the broker."""
        entry = self._outbox.popleft()
        if entry.training.phase is Phase.ENDING and not any(one.training is entry.training for one in self._outbox):
            self.ledger.learn(entry.outgoing.record, 0)
            self._finish(entry.training)

    def rejected(self, reason: str) -> None:
        """Note that the record to publish next can never be published: its training has failed."""
        entry = self._outbox[0]
        if entry.training.has_job:
            self._stop(entry.training.training_id)
        self._outbox = deque(one for one in self._outbox if one.training is not entry.training)
        self._end(entry.training, "failed", reason=reason)

    def _publish(self, training: Training, topic: Topic, record: Record) -> None:
        outgoing = Outgoing(topic=topic, record=record, traceparent=training.traceparent)
        self._outbox.append(_Waiting(outgoing, training))

    def _tell(self, training: Training, event: TrainingEvent) -> None:
        self._publish(training, TRAINING_EVENTS, event)

    def _end(self, training: Training, state: TrainingState, *, reason: str = "", run_id: str | None = None) -> None:
        training.phase = Phase.ENDING
        fraction = 1.0 if state == "succeeded" else 0.0
        self._tell(training, training.event(state, fraction=fraction, reason=reason, run_id=run_id))

    def _finish(self, training: Training) -> None:
        """Forget a training whose final event stands in the log; its offset need not be read again."""
        self._trackers[training.partition].finished(training.offset)
        self._forget(training)

    def _forget(self, training: Training) -> None:
        del self._trainings[training.training_id]
        if training in self._queue:
            self._queue.remove(training)
        self._outbox = deque(entry for entry in self._outbox if entry.training is not training)
