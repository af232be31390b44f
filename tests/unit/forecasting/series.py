"""Invented series for the tests of forecasting, made from a seed; and real ones from the shared data."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forecasting.panel import Observations
from schemas.observations import ObservationBatch

DAY = 86_400
START = datetime(2020, 1, 6, tzinfo=UTC)
BAR_COLUMNS = ("open", "high", "low", "close", "volume", "adj_close")


def observations_of(
    columns: dict[str, npt.NDArray[np.float64]], *, freq: str = "1d", calendar: str = "24/7", name: str = "HET"
) -> Observations:
    rows = len(next(iter(columns.values())))
    return Observations(
        series_id=f"market/{name}@{freq}",
        freq=freq,
        calendar=calendar,
        unit="USD",
        source="mock",
        time=int(START.timestamp()) + DAY * np.arange(rows, dtype=np.int64),
        columns=columns,
        newest_offset=0,
    )


def prices(rows: int, *, seed: int = 0, volatility: float = 0.02) -> npt.NDArray[np.float64]:
    """Prices whose volatility comes in clusters (a GARCH-like walk)."""
    rng = np.random.default_rng(seed)
    returns, variance = np.zeros(rows), volatility**2
    for row in range(1, rows):
        variance = 0.05 * volatility**2 + 0.1 * returns[row - 1] ** 2 + 0.85 * variance
        returns[row] = np.sqrt(variance) * rng.standard_normal()
    return 100 * np.exp(np.cumsum(returns))


def bars(rows: int, *, seed: int = 0) -> dict[str, npt.NDArray[np.float64]]:
    """Bars around `prices`, with a dividend every 60 rows in the adjusted close."""
    rng = np.random.default_rng(seed + 1_000)
    close = prices(rows, seed=seed)
    start = close * np.exp(rng.normal(scale=0.005, size=rows))
    spread = np.abs(rng.normal(scale=0.01, size=(2, rows)))
    dividends = np.where(np.arange(rows) % 60 == 59, 0.99, 1.0)
    return {
        "open": start,
        "high": np.maximum(start, close) * np.exp(spread[0]),
        "low": np.minimum(start, close) * np.exp(-spread[1]),
        "close": close,
        "volume": np.floor(rng.lognormal(mean=12, size=rows)),
        "adj_close": close * np.cumprod(dividends[::-1])[::-1],
    }


def batch_of(
    rows: dict[int, dict[str, float | None]], *, kind: str = "append", name: str = "HET", source: str = "mock"
) -> ObservationBatch:
    """A batch of rows by their day after `START`; every row names the same columns."""
    days = sorted(rows)
    columns = dict.fromkeys(column for row in rows.values() for column in row)
    return ObservationBatch.of(
        series_id=f"market/{name}@1d",
        freq="1d",
        calendar="24/7",
        unit="USD",
        kind=kind,
        reason="corrected" if kind == "restatement" else "",
        source=source,
        received_at=START,
        time=tuple(START + timedelta(days=day) for day in days),
        columns={column: tuple(rows[day].get(column) for day in days) for column in columns},
    )


def real_observations(shared_data: Path, path: str, *, calendar: str, columns: Sequence[str]) -> Observations:
    """A daily series from a gzipped CSV of the shared data."""
    with gzip.open(shared_data / path, mode="rt") as lines:
        rows = list(csv.DictReader(lines))
    days = np.array([row["Date"][:10] for row in rows], dtype="datetime64[s]").astype(np.int64)
    found = {column.lower().replace(" ", "_"): np.array([float(row[column]) for row in rows]) for column in columns}
    return Observations(
        series_id=f"market/{Path(path).name.split('.')[0]}@1d",
        freq="1d",
        calendar=calendar,
        unit="USD",
        source="file",
        time=days,
        columns=found,
        newest_offset=0,
    )
