"""Puts the trainer together from its settings."""

from __future__ import annotations

from runtime.broker import Broker
from runtime.clock import Clock, SystemClock
from runtime.health import Health
from runtime.kafka_broker import KafkaBroker
from trainer.child import Task
from trainer.child_process import ChildProcessRunner
from trainer.core import Trainer
from trainer.jobs import Job, TrainingRunner
from trainer.metrics import TrainerMetrics
from trainer.service import SERVICE, TrainerService
from trainer.settings import TrainerSettings


def build(
    settings: TrainerSettings,
    *,
    broker: Broker | None = None,
    runner: TrainingRunner | None = None,
    metrics: TrainerMetrics | None = None,
    health: Health | None = None,
    clock: Clock | None = None,
) -> TrainerService:
    """Return a trainer that connects at its first step.

    Args:
        settings: What it was told.
        broker: ``None`` is Kafka.
        runner: ``None`` trains in child processes.
        metrics: ``None`` counts for nobody to see.
        health: ``None`` tells nobody.
        clock: ``None`` is the machine's.
    """
    clock = clock or SystemClock()
    core = Trainer(
        parallel_trainings=settings.parallel_trainings,
        max_attempts=settings.max_attempts,
        read_ahead=settings.read_ahead,
        records_runs=bool(settings.mlflow_tracking_uri),
    )
    return TrainerService(
        broker=broker or KafkaBroker(settings.kafka_bootstrap_servers, client_id=SERVICE),
        core=core,
        runner=runner
        or ChildProcessRunner(
            lambda job: task_of(settings, job),
            recording_timeout_seconds=settings.recording_timeout_seconds,
            clock=clock,
        ),
        metrics=metrics or TrainerMetrics(),
        health=health or Health(clock),
        clock=clock,
        topic_prefix=settings.topic_prefix,
        poll_seconds=settings.poll_seconds,
    )


def task_of(settings: TrainerSettings, job: Job) -> Task:
    """Return what a child process needs to do ``job``."""
    return Task(
        job=job,
        kafka_bootstrap_servers=settings.kafka_bootstrap_servers,
        topic_prefix=settings.topic_prefix,
        log_level=settings.log_level,
        error_tracker_dsn=settings.error_tracker_dsn.get_secret_value(),
        error_tracker_environment=settings.error_tracker_environment,
        max_rows=settings.max_rows,
        niceness=settings.niceness,
        mlflow_tracking_uri=settings.mlflow_tracking_uri,
        mlflow_timeout_seconds=settings.mlflow_timeout_seconds,
    )
