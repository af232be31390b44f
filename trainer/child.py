"""The process that trains: reads one task from standard input, writes job events to a pipe, ends.

torch, scikit-learn, MLflow and matplotlib are imported here and nowhere else, so that a trainer without work is small.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import BinaryIO

import msgspec
import structlog

from runtime import logs
from runtime.clock import SystemClock
from runtime.error_tracker import ErrorTracker
from runtime.errors import TransientError
from runtime.kafka_broker import KafkaBroker
from runtime.process_limits import bind_life_to
from trainer.jobs import Job, JobEvent
from trainer.mlflow_recorder import MlflowRecorder, mlflow_environment

_LOG = structlog.get_logger()
#: Where the kernel needs memory it takes the child first: its training is tried again, the trainer itself goes on.
_OOM_SCORE_ADJUSTMENT = "1000"
_LONGEST_BACK_OFF_SECONDS = 10.0


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A job with what the child needs to do it."""

    job: Job
    kafka_bootstrap_servers: str
    topic_prefix: str
    log_level: str
    error_tracker_dsn: str
    error_tracker_environment: str
    max_rows: int
    niceness: int
    mlflow_tracking_uri: str
    mlflow_timeout_seconds: int


def yield_to_others(niceness: int) -> None:
    """Let the services that answer go first: CPU time by ``niceness``, memory by the kernel's order of victims."""
    os.nice(niceness)
    if sys.platform == "linux":
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as adjustment:  # noqa: PTH123  # no file of ours
            adjustment.write(_OOM_SCORE_ADJUSTMENT)


def run_task(task: Task, emit: Callable[[JobEvent], None]) -> None:
    """Do a task; a broker that is away is waited for, as long as the parent lets us."""
    os.environ.update(mlflow_environment(task.mlflow_timeout_seconds))
    # With it CUDA's sums have one order; torch refuses to fit deterministically on a device without it.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    from forecasting.training import train  # noqa: PLC0415  # the parent that starts us must not pay for it
    from trainer.execution import Execution  # noqa: PLC0415

    clock = SystemClock()
    broker = KafkaBroker(task.kafka_bootstrap_servers, client_id="trainer-child")
    recorder = MlflowRecorder(task.mlflow_tracking_uri) if task.mlflow_tracking_uri else None
    execution = Execution(
        broker, topic_prefix=task.topic_prefix, train=train, recorder=recorder, max_rows=task.max_rows
    )
    back_off = 0.5
    while True:
        try:
            execution.run(task.job, emit)
        except TransientError as error:
            _LOG.warning("broker_awaited", reason=str(error), back_off_seconds=back_off)
            clock.sleep(back_off)
            back_off = min(2 * back_off, _LONGEST_BACK_OFF_SECONDS)
        else:
            break
    broker.close()


def main() -> None:
    """Do the task on standard input; arguments: the parent's process id and the descriptor for events."""
    parent, descriptor = int(sys.argv[1]), int(sys.argv[2])
    bind_life_to(parent)
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    yield_to_others(task.niceness)
    logs.configure("trainer", task.log_level, _tracker(task))
    structlog.contextvars.bind_contextvars(training_id=task.job.request.training_id)
    sys.excepthook = lambda kind, error, trace: _LOG.error("child_crashed", exc_info=(kind, error, trace))
    encoder = msgspec.json.Encoder()
    with os.fdopen(descriptor, "wb") as pipe:
        run_task(task, lambda event: _write(pipe, encoder.encode(event)))


def _tracker(task: Task) -> ErrorTracker | None:
    dsn = task.error_tracker_dsn
    return ErrorTracker("trainer", dsn, task.error_tracker_environment) if dsn else None


def _write(pipe: BinaryIO, line: bytes) -> None:
    pipe.write(line + b"\n")
    pipe.flush()


if __name__ == "__main__":
    main()
