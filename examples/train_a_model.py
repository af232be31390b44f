"""Train a model from Python, with no broker and no service: ``python examples/train_a_model.py [CSV]``.

Shows what the trainer does with a request, and what it writes into a release: the backtest beside the baselines, the
skill, and the artefact. With a CSV file (a column `Date` and a column `Close`) it trains on that, else on an invented
series with a weekly season.
"""

import csv
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from forecasting.panel import Observations
from forecasting.serving import LoadedModel
from forecasting.training import TrainingSpec, train

DAY_SECONDS = 86_400


def invented(days: int = 500) -> Observations:
    """Return a series with a weekly season, growth and noise."""
    day = np.arange(days)
    noise = np.random.default_rng(0).normal(0.0, 0.02, days)
    sales = 100 * np.exp(0.0005 * day + 0.15 * np.sin(2 * np.pi * day / 7) + noise)
    start = int(datetime(2023, 1, 2, tzinfo=UTC).timestamp())
    return observations("shop/invented@1d", "24/7", start + DAY_SECONDS * day, "sales", sales)


def read_csv(path: Path) -> Observations:
    """Return the daily closes in a file, as trading days of New York."""
    with path.open(encoding="utf-8") as file:
        rows = sorted((row["Date"][:10], float(row["Close"])) for row in csv.DictReader(file) if row["Close"])
    time = [int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) for day, _ in rows]
    return observations(f"file/{path.stem}@1d", "XNYS", np.array(time), "close", np.array([close for _, close in rows]))


def observations(series_id: str, calendar: str, time: np.ndarray, column: str, values: np.ndarray) -> Observations:
    return Observations(
        series_id=series_id,
        freq="1d",
        calendar=calendar,
        unit="",
        source="example",
        time=time.astype(np.int64),
        columns={column: values.astype(np.float64)},
        newest_offset=0,
    )


def main(path: str | None = None) -> None:
    series = invented() if path is None else read_csv(Path(path))
    [target] = series.columns
    spec = TrainingSpec(algorithm="linear", target=target, horizon=7, window_size=14)
    trained = train(spec, [series])
    print(f"{series.series_id}: {len(series)} rows, {trained.folds} folds of the walk-forward backtest")
    for method, metrics in trained.metrics.items():
        print(f"  {method:15} MAE {metrics['mae']:8.3f}  within the 80 % band {metrics['coverage-80']:5.1f} %")
    for baseline, skill in trained.skill.items():
        print(f"  skill beside {baseline}: {skill:+.1%}{'' if skill > 0 else '  (the model loses)'}")

    artefact = trained.artefact
    print(f"artefact {artefact.digest}: {len(artefact.graph or b'')} bytes of ONNX and a recipe")
    model = LoadedModel.load(trained.recipe, trained.graph)
    window = model.window_of(series).values
    [forecast] = model.forecast([window], horizon=7, levels=(80.0,))
    for step, (median, low, high) in enumerate(
        zip(forecast.median, forecast.quantiles[0.1], forecast.quantiles[0.9], strict=True), start=1
    ):
        print(f"  step {step}: {median:.2f}  [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main(*sys.argv[1:2])
