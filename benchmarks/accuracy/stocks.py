"""Daily closes of eight US stocks, the last 250 days, 1 to 10 steps ahead; beside them indices and Sao Paulo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.accuracy import data, peers
from benchmarks.accuracy.markets import Tested, compared
from benchmarks.accuracy.table import Row
from forecasting.losses import mean_absolute_error, mean_absolute_percentage_error, skill
from forecasting.panel import Observations
from forecasting.training import TrainingSpec

TEST_DAYS = 250
#: The product's default first, and what else its users would try; all other settings are the defaults.
SPECS = {name: TrainingSpec(algorithm=name) for name in ("lstm", "linear", "lightgbm", "auto")}


def run(data_dir: Path, report: Callable[[str], None]) -> list[Row]:
    """Return the figures of the stocks."""
    stocks = data.stocks(data_dir)
    rows, tests = compared("stocks", stocks, SPECS, report, test_rows=TEST_DAYS)
    rows += _peer_rows(tests["lstm"], stocks, report)
    others = {"index": data.indices(data_dir), "B3": data.b3_stocks(data_dir)}
    for dataset, series in others.items():
        rows += compared(dataset, series, {"lstm": SPECS["lstm"]}, report, test_rows=TEST_DAYS)[0]
    return rows


def _peer_rows(tests: Sequence[Tested], series: Mapping[str, Observations], report: Callable[[str], None]) -> list[Row]:
    """Return the same figures of neuralforecast's N-HiTS, on the same cutoffs."""
    horizon = SPECS["lstm"].horizon
    forecasts, seconds = peers.nhits(series, horizon=horizon, test_rows=TEST_DAYS)
    report(f"N-HiTS of neuralforecast with its defaults: fitted before the same {TEST_DAYS} days ({seconds:.1f} s)")
    pairs = [(test, forecasts[name]) for name, test in zip(series, tests, strict=True)]
    skills = [
        100 * skill(*(float(mean_absolute_error(test.folds.y.ravel(), one.ravel())) for one in (found, test.naive)))
        for test, found in pairs
    ]
    first = [mean_absolute_percentage_error(test.folds.y[:, 0], found[:, 0]) for test, found in pairs]
    naive = [mean_absolute_percentage_error(test.folds.y[:, 0], test.last) for test, _ in pairs]
    model = f"N-HiTS (neuralforecast), mean of {len(pairs)}"
    note = f"the peer; {min(skills):.1f} to {max(skills):.1f} % by stock"
    return [
        Row(
            dataset="stocks",
            model=model,
            measure="MASE skill",
            value=float(np.mean(skills)),
            unit=" %",
            naive=0.0,
            seconds=seconds,
            note=note,
        ),
        Row(
            dataset="stocks",
            model=model,
            measure="MAPE, step 1",
            value=float(np.mean(first)),
            unit=" %",
            naive=float(np.mean(naive)),
        ),
    ]
