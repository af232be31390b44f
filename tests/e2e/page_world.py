"""The real gateway over HTTP on the in-memory broker, with a market in it that looks like one."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from schemas.forecasts import ForecastIssued, ForecastRequested, ForecastStep, ModelUsed
from schemas.models import ModelReleased
from schemas.observations import ObservationBatch
from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS
from tests import factories
from tests.listening import listening
from tests.unit.gateway.world import Responder, World, running

SERIES = "market/AAPL@1d"
MODEL = "market/AAPL-1d"
CHAMPION = "0123456789abcdef"
FIRST_DAY = datetime(2024, 1, 2, tzinfo=UTC)
ROWS = 500


def weekdays(after: datetime) -> Iterator[datetime]:
    """Yield the midnights of working days behind ``after``."""
    day = after
    while True:
        day += timedelta(days=1)
        if day.weekday() < 5:
            yield day


def history(source: str = "sample") -> ObservationBatch:
    rng = random.Random(7)
    prices = [180.0]
    while len(prices) < ROWS:
        prices.append(round(prices[-1] * math.exp(rng.gauss(0.0004, 0.014)), 2))
    return factories.observation_batch(
        series_id=SERIES,
        source=source,
        unit="USD",
        calendar="XNYS",
        time=tuple(islice(weekdays(FIRST_DAY), ROWS)),
        columns={"close": tuple(prices)},
    )


def release(
    version: str = CHAMPION,
    *,
    skill: float = -0.013,
    training_id: str = "first",
    tested: Mapping[str, float] | None = None,
    **more: Any,
) -> ModelReleased:
    """A release; ``tested`` are metrics of the model that stand beside its errors, ``more`` further fields."""
    metrics = {"mae": 2.31, "rmse": 3.12, "mape": 3.386, "r2": 0.9607, "coverage-80": 79.3, "coverage-95": 94.8}
    return factories.model_release(
        model=MODEL,
        version=version,
        training_id=training_id,
        series_ids=(SERIES,),
        algorithm="lstm",
        calendar="XNYS",
        unit="USD",
        metrics={
            "model": metrics | dict(tested or {}),
            "last-value": {**metrics, "mae": 2.28},
            "drift": metrics,
            "seasonal-naive": metrics,
        },
        skill={"last-value": skill, "drift": 0.004, "seasonal-naive": 0.31},
        folds=250,
        **more,
    )


def answer(request: ForecastRequested) -> ForecastIssued:
    """Return a fan that widens with the square root of the step, about a slowly rising median."""
    batch = history()
    last = batch.columns["close"][-1]
    probabilities = sorted({round(p, 6) for level in request.levels for p in (0.5 - level / 200, 0.5 + level / 200)})
    steps = []
    for step, day in enumerate(islice(weekdays(batch.time[-1]), request.horizon), start=1):
        median = last * (1 + 0.0004 * step)
        width = last * 0.014 * math.sqrt(step)
        quantiles = {repr(p): median + width * math.log(p / (1 - p)) / 1.7 for p in probabilities}
        steps.append(
            ForecastStep(time=day, median=median, quantiles=quantiles, direction_probability=0.5 + 0.004 * step)
        )
    horizon = len(steps)
    return factories.forecast_issued(
        request.request_id,
        horizon=horizon,
        series_id=request.series_id,
        cutoff=batch.time[-1],
        unit="USD",
        steps=tuple(steps),
        model=ModelUsed(name=MODEL, version=CHAMPION, role="champion", algorithm="lstm"),
        baselines={
            "last-value": (last,) * horizon,
            "drift": tuple(last * (1 + 0.0003 * (step + 1)) for step in range(horizon)),
            "seasonal-naive": tuple(batch.columns["close"][-5 + step % 5] for step in range(horizon)),
        },
    )


def publish_market(world: World, **changes: Any) -> None:
    world.publish(OBSERVATIONS, history())
    world.publish(MODELS, release(**changes))
    world.publish(DEPLOYMENTS, factories.deployment(model=MODEL))
    world.settle()


@contextmanager
def page(folder: Path, port: int = 0, **settings: Any) -> Iterator[tuple[World, str]]:
    """Yield the world and the address of its gateway; a predictor answers what is asked."""
    with running(folder, **settings) as world, Responder(world.broker, answer), listening(world.app, port) as url:
        yield world, url
