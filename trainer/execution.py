"""One job from the observations to the recorded run, the same in a child process and in this one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from forecasting.errors import ForecastingError
from forecasting.panel import Observations
from forecasting.training import Progress, TrainedModel, TrainingSpec
from runtime.broker import Broker, TopicPartition
from runtime.clock import Clock, SystemClock
from schemas.codec import decode
from schemas.models import ModelReleased
from schemas.topics import MODELS
from schemas.trainings import TrainingRequested
from trainer.jobs import Job, JobEvent, Progressed, Recorded, Refused, Trained
from trainer.observations import read_observations
from trainer.releases import release_of

Emit = Callable[[JobEvent], None]
#: With the progress and the seconds that are left for what is compared.
Train = Callable[[TrainingSpec, Sequence[Observations], Callable[[Progress], None], Callable[[], float]], TrainedModel]


class Recorder(Protocol):
    """Keeps runs for people to look at; that it is away is no error but a warning in what it returns."""

    def record(
        self,
        request: TrainingRequested,
        release: ModelReleased,
        trained: TrainedModel | None,
    ) -> Recorded:
        """Record a run, once a training; ``trained`` is ``None`` where a restart lost the course of the fit."""
        ...


class Execution:
    """Does jobs.

    Args:
        broker: Where the observations are read.
        topic_prefix: The installation's prefix.
        train: Fits and evaluates, `forecasting.training.train` in earnest.
        recorder: Where runs are recorded; ``None``: nowhere.
        max_rows: Rows that the series of one training may have together.
        clock: Measures the budget of a request.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        topic_prefix: str,
        train: Train,
        recorder: Recorder | None,
        max_rows: int,
        clock: Clock | None = None,
    ) -> None:
        self._broker = broker
        self._topic_prefix = topic_prefix
        self._train = train
        self._recorder = recorder
        self._max_rows = max_rows
        self._clock: Clock = clock or SystemClock()

    def run(self, job: Job, emit: Emit) -> None:
        """Do a job and emit what happens, the last event included.

        Raises:
            TransientError: The broker cannot be read now; nothing but progress was emitted.
        """
        if job.release_offset is not None:
            emit(self._record(job.request, self._released(job.release_offset), None))
            return
        progress = _ProgressEmitter(job.request.training_id, emit)
        progress(Progress(stage="reading", fraction=0.0))
        try:
            observations = read_observations(
                self._broker, job.request, topic_prefix=self._topic_prefix, max_rows=self._max_rows
            )
            spec = TrainingSpec.of(job.request)
            trained = self._train(spec, observations, progress, self._remaining(spec.budget_seconds))
        except ForecastingError as error:
            emit(Refused(training_id=job.request.training_id, reason=f"{error.code}: {error}"))
            return
        release = release_of(job.request, observations, trained)
        emit(Trained(training_id=job.request.training_id, release=release))
        emit(self._record(job.request, release, trained))

    def _record(self, request: TrainingRequested, release: ModelReleased, trained: TrainedModel | None) -> Recorded:
        if self._recorder is None:
            return Recorded(training_id=request.training_id)
        return self._recorder.record(request, release, trained)

    def _remaining(self, budget_seconds: float) -> Callable[[], float]:
        """Return what tells the seconds that are left of a budget that begins now; 0 is without limit."""
        if budget_seconds == 0:
            return lambda: math.inf
        end = self._clock.monotonic() + budget_seconds
        return lambda: end - self._clock.monotonic()

    def _released(self, offset: int) -> ModelReleased:
        """Read a release from the log again."""
        partition = TopicPartition(MODELS.full_name(self._topic_prefix), 0)
        reader = self._broker.reader({partition: offset})
        try:
            while reader.position(partition) <= offset:
                for message in reader.poll(1.0, max_messages=1):
                    record = decode(MODELS, message.value, message.headers).record
                    if message.offset == offset and isinstance(record, ModelReleased):
                        return record
        finally:
            reader.close()
        raise LookupError(f"no release at offset {offset} of {partition.topic}: it was read from there before")


class _ProgressEmitter:
    """Tells each stage, and each further hundredth of it: by what was done and not by time, so repeats are alike."""

    def __init__(self, training_id: str, emit: Emit) -> None:
        self._training_id = training_id
        self._emit = emit
        self._index = 0
        self._told: tuple[str, int] | None = None

    def __call__(self, progress: Progress) -> None:
        moment = (progress.stage, int(100 * progress.fraction))
        if moment == self._told:
            return
        self._told = moment
        self._emit(
            Progressed(
                training_id=self._training_id,
                index=self._index,
                stage=progress.stage,
                fraction=progress.fraction,
                epoch=progress.epoch,
                losses=progress.losses,
            )
        )
        self._index += 1
