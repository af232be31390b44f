"""Bitcoin, Ether and Cardano, daily and hourly, the last 250 days, 1 to 10 steps ahead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.accuracy import data
from benchmarks.accuracy.markets import compared, direction_rows
from benchmarks.accuracy.table import Row
from forecasting.training import TrainingSpec

TEST_DAYS = 250
TEST_HOURS = TEST_DAYS * 24
#: Hours between cutoffs: about a day, and every hour of the day in turn.
HOURLY_STRIDE = 25
#: Hours that are trained on: the two years before the test part. More take longer and say little of today's market.
KNOWN_HOURS = 2 * 365 * 24
SPECS = {name: TrainingSpec(algorithm=name) for name in ("lstm", "linear", "lightgbm", "auto")}
#: Whose probability of a rise is told; the middle of their forecast is the last value.
CLASSIFIER = TrainingSpec(algorithm="direction-logistic")


def run(data_dir: Path, report: Callable[[str], None]) -> list[Row]:
    """Return the figures of the coins."""
    hourly = {name: one.last(KNOWN_HOURS + TEST_HOURS) for name, one in data.crypto_hourly(data_dir).items()}
    sets = (
        ("crypto daily", data.crypto_daily(data_dir), TEST_DAYS, 1),
        ("crypto hourly", hourly, TEST_HOURS, HOURLY_STRIDE),
    )
    rows = []
    for dataset, series, test_rows, stride in sets:
        found, tests = compared(dataset, series, SPECS, report, test_rows=test_rows, stride=stride)
        rows += found
        told = compared(dataset, series, {CLASSIFIER.algorithm: CLASSIFIER}, report, test_rows=test_rows, stride=stride)
        for model, each in (tests | told[1]).items():
            rows += direction_rows(dataset, model, each)
    return rows
