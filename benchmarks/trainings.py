"""Measure what a training over many series costs: ``python -m benchmarks.trainings [--series N] [--algorithm NAME]``.

Sales of Rossmann stores are trained in one process as a trainer trains them for a project, with the settings that a
project takes where its request is empty: no Kafka, no service, and no limit of time to what `auto` compares.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.accuracy.data import rossmann
from benchmarks.machine import description
from forecasting.panel import Observations
from forecasting.training import Progress, TrainedModel, TrainingSpec, train

_COLUMNS = {"Sales": "sales", "Promo": "promo", "SchoolHoliday": "schoolholiday"}


class Cost(NamedTuple):
    """What a training took.

    Attributes:
        seconds: Stage -> seconds on the clock, in the order in which they began.
        processor_seconds: Of all cores, over all stages.
        silence_seconds: The longest time without a word of progress.
        mebibytes: The most memory that the process had.
    """

    seconds: dict[str, float]
    processor_seconds: float
    silence_seconds: float
    mebibytes: float


def stores(data_dir: Path, count: int) -> list[Observations]:
    """Return the sales of the first stores of the set."""
    frame = rossmann(data_dir)
    return [
        Observations(
            series_id=f"rossmann/{store}@1d",
            freq="1d",
            calendar="24/7",
            unit="EUR",
            source="file",
            time=rows["Date"].to_numpy("datetime64[s]").astype(np.int64),
            columns={name: rows[column].to_numpy(np.float64) for column, name in _COLUMNS.items()},
            newest_offset=0,
        )
        for store, rows in list(frame.groupby("Store"))[:count]
    ]


def spec(algorithm: str) -> TrainingSpec:
    """Return what a project asks for where its request names the algorithm alone, and two columns are known ahead."""
    return TrainingSpec(
        algorithm=algorithm,
        target="sales",
        horizon=42,
        window_size=90,
        covariates={"promo": "known-future", "schoolholiday": "known-future"},
        candidates=("lightgbm", "linear") if algorithm == "auto" else (),
        intervals="split",
    )


def measured(asked: TrainingSpec, series: Sequence[Observations]) -> tuple[TrainedModel, Cost]:
    """Return what is trained, and what that took."""
    began, processor = time.perf_counter(), time.process_time()
    told: list[tuple[str, float]] = []

    def tell(progress: Progress) -> None:
        told.append((progress.stage, time.perf_counter() - began))

    trained = train(asked, series, tell)
    told.append(("", time.perf_counter() - began))
    seconds: dict[str, float] = {}
    for (stage, start), (_, end) in itertools.pairwise(told):
        seconds[stage] = seconds.get(stage, 0.0) + end - start
    return trained, Cost(
        seconds=seconds,
        processor_seconds=time.process_time() - processor,
        silence_seconds=max(end - start for (_, start), (_, end) in itertools.pairwise(told)),
        mebibytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def main() -> None:
    """Train, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=400, help="how many stores, at most 400")
    parser.add_argument("--algorithm", default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    console = Console()
    series = stores(arguments.data_dir, arguments.series)
    rows = sum(map(len, series))
    console.print(f"{arguments.algorithm} on {len(series)} series, {rows:,} rows")
    console.print("\n".join(description()))
    trained, cost = measured(spec(arguments.algorithm), series)
    table = Table("stage", "seconds")
    for stage, seconds in cost.seconds.items():
        table.add_row(stage, f"{seconds:.1f}")
    table.add_row("together", f"{sum(cost.seconds.values()):.1f}")
    console.print(table)
    console.print(
        f"{trained.recipe.algorithm}, MAPE {trained.metrics['model']['mape']:.2f} % on {trained.folds:,} folds; "
        f"{cost.processor_seconds:.0f} s of processor time, {cost.mebibytes:,.0f} MiB at most, "
        f"{cost.silence_seconds:.1f} s without a word of progress at most"
    )


if __name__ == "__main__":
    main()
