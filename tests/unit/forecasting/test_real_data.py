"""Known facts about real prices, from data that is not committed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forecasting import losses
from forecasting.panel import Observations
from forecasting.training import TrainingSpec, train
from tests.unit.forecasting.series import real_observations


@pytest.fixture(scope="module")
def apple(shared_data: Path) -> Observations:
    return real_observations(shared_data, "stocks/AAPL.csv.gz", calendar="XNYS", columns=("Close",))


def test_the_last_value_alone_looks_good_on_apple(apple: Observations) -> None:
    # 2018 to 2025, last 15 % as test: one-day MAPE 1.29 % and R2 0.94, which a net on raw prices does not reach.
    close = apple.columns["close"]
    test = len(close) - int(0.15 * len(close))

    y, forecast = close[test:], close[test - 1 : -1]

    assert losses.mean_absolute_percentage_error(y, forecast) == pytest.approx(1.29, abs=0.01)
    assert losses.r_squared(y, forecast) == pytest.approx(0.94, abs=0.005)


def test_default_net_on_apple_says_how_it_does_beside_the_last_value(apple: Observations) -> None:
    trained = train(TrainingSpec(hyperparameters={"refits": 1}), [apple])
    model, last = trained.metrics["model"], trained.metrics["last-value"]

    # Wide enough for another machine's bits, narrow enough that a model of levels (3.84 %) fails.
    assert 1.0 < last["mape-step-1"] < 1.5
    assert model["mape-step-1"] < 1.05 * last["mape-step-1"]
    assert -0.05 < trained.skill["last-value"] < 0.1
    assert trained.skill["last-value"] == pytest.approx(1 - model["mae"] / last["mae"])
    assert 65 < model["coverage-80"] < 92
    assert 85 < model["coverage-95"] < 99.5


def test_sessions_of_apple_are_those_of_the_calendar(apple: Observations) -> None:
    from datetime import UTC, datetime

    from forecasting.calendars import next_times

    rows = np.arange(0, len(apple) - 11, 100)
    for row in rows:
        expected = next_times("XNYS", "1d", datetime.fromtimestamp(int(apple.time[row]), UTC), 10)
        assert [int(time.timestamp()) for time in expected] == apple.time[row + 1 : row + 11].tolist()
