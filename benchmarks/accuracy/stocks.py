"""Daily closes of eight US stocks, the last 250 days, 1 to 10 steps ahead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.accuracy import data
from benchmarks.accuracy.markets import compared
from benchmarks.accuracy.table import Row
from forecasting.training import TrainingSpec

TEST_DAYS = 250
#: The product's default, and what else its users would try.
SPECS = {name: TrainingSpec(algorithm=name) for name in ("lstm", "linear")}


def run(data_dir: Path, report: Callable[[str], None]) -> list[Row]:
    """Return the figures of the stocks."""
    return compared("stocks", data.stocks(data_dir), SPECS, report, test_rows=TEST_DAYS)[0]
