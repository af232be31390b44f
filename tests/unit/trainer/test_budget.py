"""`auto` through a trainer: the leaderboard stands in the release, and the budget is told by the trainer's clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from forecasting.errors import InvalidTraining
from forecasting.panel import Observations
from forecasting.training import Progress, TrainedModel, TrainingSpec
from runtime.memory_broker import MemoryBroker
from schemas.models import ModelReleased
from schemas.topics import MODELS, TRAINING_EVENTS
from schemas.trainings import TrainingEvent
from tests.fakes import ManualClock
from tests.unit.trainer.member import Log, new_trainer, work_until_ended
from trainer.execution import Execution
from trainer.jobs import Job


def test_auto_releases_its_winner_with_the_leaderboard(broker: MemoryBroker) -> None:
    log = Log(broker)
    log.request(algorithm="auto", candidates=("linear", "theta"), window_size=8, as_of=log.history())

    work_until_ended(new_trainer(broker), log, "training-1")

    (release,) = log.records(MODELS, ModelReleased)
    first = release.leaderboard[0]
    assert (first.state, first.algorithm) == ("chosen", release.algorithm)
    assert {"last-value", "drift", "seasonal-naive", "linear", "theta"} <= {
        one.algorithm for one in release.leaderboard
    }
    assert release.recipe["algorithm"] == release.algorithm
    stages = [event.stage for event in log.records(TRAINING_EVENTS, TrainingEvent) if event.state == "progress"]
    assert "search" in stages
    assert stages.index("search") < stages.index("fitting")


def test_a_given_algorithm_has_no_leaderboard(broker: MemoryBroker) -> None:
    log = Log(broker)
    log.request(as_of=log.history())

    work_until_ended(new_trainer(broker), log, "training-1")

    (release,) = log.records(MODELS, ModelReleased)
    assert release.leaderboard == ()
    assert release.fold_metrics[-1].metrics["model"]["mae"] > 0
    assert release.fold_spread["model"]["mae"].mean == pytest.approx(release.metrics["model"]["mae"])


@pytest.mark.parametrize(("budget", "expected"), [(90.0, [90.0, 60.0, -10.0]), (0.0, [math.inf] * 3)])
def test_what_is_left_of_a_budget_is_told_by_the_clock(
    broker: MemoryBroker, budget: float, expected: list[float]
) -> None:
    clock, told = ManualClock(), list[float]()

    def train(
        spec: TrainingSpec,
        observations: Sequence[Observations],
        progress: Callable[[Progress], None],
        remaining: Callable[[], float],
    ) -> TrainedModel:
        del spec, observations, progress
        for seconds in (0, 30, 70):
            clock.advance(seconds)
            told.append(remaining())
        raise InvalidTraining("invalid-training", field="horizon", expected="1", found="2")

    log = Log(broker)
    asked = log.request(algorithm="auto", budget_seconds=budget, as_of=log.history())
    execution = Execution(broker, topic_prefix="", train=train, recorder=None, max_rows=1_000, clock=clock)
    execution.run(Job(request=asked), lambda _: None)

    assert told == expected
