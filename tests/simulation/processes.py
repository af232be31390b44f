"""The services as the simulator runs them: the real cores and loops, on one broker, effect by effect."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from forecasting.panel import Observations
from forecasting.training import Progress, TrainedModel, TrainingSpec, train
from ingestor.compose import build as build_ingestor
from ingestor.jobs import InProcessRunner
from ingestor.settings import IngestorSettings
from predictor.core import Predictor
from runtime.broker import TopicPartition
from runtime.clock import Clock
from runtime.follower import Follower
from runtime.health import Health
from runtime.incoming import Incoming
from runtime.job_worker import JobWorker
from runtime.metrics import Metrics
from runtime.worker import Worker
from schemas.topics import (
    DEPLOYMENTS,
    FORECAST_REQUESTS,
    FORECASTS,
    MODELS,
    OBSERVATIONS,
)
from tests.simulation.cluster import ProcessBroker
from tests.simulation.market import Market
from tests.simulation.series import PARTITIONS
from trainer.core import Trainer
from trainer.execution import Execution
from trainer.in_process import InProcessRunner as TrainingsInProcess
from trainer.metrics import TrainerMetrics
from trainer.releases import data_digest_of
from trainer.service import TrainerService

#: Metrics are counted once for all seeds: their registries are expensive to build and nothing here reads them.
_WORKER_METRICS, _TRAINER_METRICS = Metrics("simulation"), TrainerMetrics()
#: Read once: to look through the environment takes longer than a storm does.
_INGESTOR_SETTINGS = IngestorSettings(retry_seconds=0)


class Steps(Protocol):
    """One process: a cycle of effects, again and again."""

    def steps(self) -> Iterator[str]: ...


_TRAINED: dict[tuple[str, str], TrainedModel] = {}


def train_once(
    spec: TrainingSpec,
    observations: Sequence[Observations],
    progress: Callable[[Progress], None],
    remaining: Callable[[], float],
) -> TrainedModel:
    """Train in earnest, but the same training once only: it is a pure function of its arguments."""
    key = (repr(spec), data_digest_of(observations))
    if key not in _TRAINED:
        _TRAINED[key] = train(spec, observations, progress, remaining)
    return _TRAINED[key]


def trainer(broker: ProcessBroker, clock: Clock) -> TrainerService:
    """Return a trainer that trains within its loop, with the real fit of a small model."""
    execution = Execution(broker, topic_prefix="", train=train_once, recorder=None, max_rows=100_000)
    return TrainerService(
        broker=broker,
        core=Trainer(parallel_trainings=1, max_attempts=3, read_ahead=8, records_runs=False),
        runner=TrainingsInProcess(execution),
        metrics=_TRAINER_METRICS,
        health=Health(clock),
        clock=clock,
        poll_seconds=0.0,
    )


def ingestor(market: Market, broker: ProcessBroker, clock: Clock) -> JobWorker:
    """Return an ingestor that asks ``market`` within its loop."""
    return build_ingestor(
        _INGESTOR_SETTINGS,
        broker=broker,
        clock=clock,
        sources={"market": market.fetch},
        runner=InProcessRunner,
        metrics=_WORKER_METRICS,
        poll_seconds=0.0,
    )


class PredictorProcess:
    """The predictor's core under the worker loop: it follows what its partitions need."""

    def __init__(self, broker: ProcessBroker, clock: Clock) -> None:
        self._broker = broker
        self.follower = Follower(
            broker,
            topics=(OBSERVATIONS, FORECASTS, MODELS, DEPLOYMENTS),
            topic_prefix="",
            apply=self._apply,
            on_invalid=lambda message, error: None,
            clock=clock,
        )
        self.core = Predictor(partitions=PARTITIONS, positions=self.follower.positions)
        whole = [TopicPartition(topic.name, 0) for topic in (MODELS, DEPLOYMENTS)]
        self.follower.assign(dict.fromkeys(whole, 0))
        self.core.require(broker.end_offsets(whole))
        self._worker = Worker(
            service="predictor",
            broker=broker,
            topics=(FORECAST_REQUESTS, OBSERVATIONS),
            handler=self.core,
            clock=clock,
            follower=self.follower,
            on_assigned=self._on_assigned,
            on_revoked=self._on_revoked,
            metrics=_WORKER_METRICS,
            poll_timeout_seconds=0.0,
            delivery_timeout_seconds=1.0,
        )

    def steps(self) -> Iterator[str]:
        return self._worker.steps()

    def _apply(self, incoming: Incoming) -> None:
        self.core.apply(incoming)

    def _on_assigned(self, partitions: Collection[TopicPartition]) -> None:
        for number in {partition.partition for partition in partitions}:
            of_number = [TopicPartition(topic.name, number) for topic in (OBSERVATIONS, FORECASTS)]
            self.follower.add(dict.fromkeys(of_number, 0))
            self.core.require(self._broker.end_offsets(of_number), number)

    def _on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        for number in {partition.partition for partition in partitions}:
            self.follower.remove(TopicPartition(topic.name, number) for topic in (OBSERVATIONS, FORECASTS))
            self.core.forget(number)
