"""The sets that the figures are measured on: real data that is not in the repository (`FORETOPIC_SHARED_DATA`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from forecasting.calendars import next_times
from forecasting.panel import FloatArray, IntArray, Observations

VARIABLE = "FORETOPIC_SHARED_DATA"
STOCKS = ("AAPL", "MSFT", "GOOGL", "AMZN", "NVDA", "JPM", "KO", "BAC")
B3_STOCKS = ("PETR4", "VALE3")
INDICES = {"GSPC": "XNYS", "BVSP": "BVMF"}
COINS = ("BTC", "ETH", "ADA")
_DAY_COLUMNS = ("Open", "High", "Low", "Close", "Adj Close", "Volume")
#: Where series whose own dates mean nothing begin.
_INDEX_START = datetime(2000, 1, 1, tzinfo=UTC)


class MissingData(Exception):
    """The real data is not where it was looked for."""


@dataclass(frozen=True)
class CompetitionSeries:
    """A series of a forecasting competition; its dates mean nothing.

    Attributes:
        name: As in the competition, e.g. ``H1``.
        train: What may be learnt from, shape (n,).
        test: What followed, shape (horizon,).
    """

    name: str
    train: FloatArray
    test: FloatArray


def data_folder() -> Path:
    """Return the folder of the real data: ``FORETOPIC_SHARED_DATA``, else ``../shared/data`` beside the checkout.

    Raises:
        MissingData: There is no such folder.
    """
    given = os.environ.get(VARIABLE)
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"
    if not folder.is_dir():
        raise MissingData(f"the real data is not in {folder}: set {VARIABLE} to the folder that holds stocks/, crypto/")
    return folder


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise MissingData(f"{path} is missing: set {VARIABLE} to the folder that holds it")
    return path


def stocks(folder: Path) -> dict[str, Observations]:
    """Return the eight US stocks, daily bars from 2018 to mid-2025."""
    return {name: _daily(folder / "stocks" / f"{name}.csv.gz", name, "XNYS", "USD") for name in STOCKS}


def b3_stocks(folder: Path) -> dict[str, Observations]:
    """Return two stocks of Sao Paulo, daily bars from 2018 to mid-2025, without an adjusted close."""
    return {name: _daily(folder / "stocks" / f"{name}.SA_2018_2025.csv.gz", name, "BVMF", "BRL") for name in B3_STOCKS}


def indices(folder: Path) -> dict[str, Observations]:
    """Return the S&P 500 and the Ibovespa, daily."""
    return {
        name: _daily(folder / "index" / f"{name}.csv.gz", name, calendar, "points")
        for name, calendar in INDICES.items()
    }


def crypto_daily(folder: Path) -> dict[str, Observations]:
    """Return three coins in USD, every day from 2018 to mid-2025."""
    return {name: _daily(folder / "crypto" / "daily" / f"{name}-USD.csv.gz", name, "24/7", "USD") for name in COINS}


def crypto_hourly(folder: Path) -> dict[str, Observations]:
    """Return three coins in USDT, hourly from 2018 to mid-2025; exchange outages leave holes."""
    found = {}
    for name in COINS:
        frame = pd.read_parquet(_existing(folder / "crypto" / "hourly" / f"{name}_USDT-1h.parquet"))
        columns = {column: frame[column].to_numpy(np.float64) for column in ("open", "high", "low", "close", "volume")}
        found[name] = _series(f"market/{name}@1h", _seconds(frame["date"]), columns, calendar="24/7", unit="USDT")
    return found


def _daily(path: Path, name: str, calendar: str, unit: str) -> Observations:
    frame = pd.read_csv(_existing(path))
    columns = {
        column.lower().replace(" ", "_"): frame[column].to_numpy(np.float64)
        for column in _DAY_COLUMNS
        if column in frame
    }
    # The date of the session; the offset of the exchange's zone behind it changes twice a year.
    days = pd.to_datetime(frame["Date"].str[:10], utc=True)
    return _series(f"market/{name}@1d", _seconds(days), columns, calendar=calendar, unit=unit)


def _seconds(times: pd.Series[pd.Timestamp]) -> IntArray:
    return times.to_numpy(dtype="datetime64[s]").astype(np.int64)


def _series(
    series_id: str, time: IntArray, columns: dict[str, FloatArray], *, calendar: str, unit: str
) -> Observations:
    return Observations(
        series_id=series_id,
        freq=series_id.rpartition("@")[2],
        calendar=calendar,
        unit=unit,
        source="file",
        time=time,
        columns=columns,
        newest_offset=0,
    )


def indexed(name: str, values: FloatArray, freq: str) -> Observations:
    """Return values without dates as a series with the column `close`, one step after another from the year 2000."""
    later = next_times("24/7", freq, _INDEX_START, len(values) - 1)
    times = np.array([int(time.timestamp()) for time in (_INDEX_START, *later)], dtype=np.int64)
    return _series(f"competition/{name}@{freq}", times, {"close": values}, calendar="24/7", unit="")


def m3_monthly(folder: Path) -> list[CompetitionSeries]:
    """Return the 1,428 monthly series of M3; the last 18 months of each are the test."""
    frame = pd.read_csv(_existing(folder / "benchmarks" / "M3_monthly.csv.gz"), usecols=["unique_id", "y", "split"])
    return [
        CompetitionSeries(
            str(name),
            group["y"][group["split"] == "train"].to_numpy(np.float64),
            group["y"][group["split"] == "test"].to_numpy(np.float64),
        )
        for name, group in frame.groupby("unique_id", sort=False)
    ]


def m4_hourly(folder: Path) -> list[CompetitionSeries]:
    """Return the 414 hourly series of M4, 700 or 960 hours each; 48 hours are the test."""
    train, test = (
        pd.read_csv(_existing(folder / "benchmarks" / f"M4_Hourly-{part}.csv.gz"), index_col="V1")
        for part in ("train", "test")
    )
    found = []
    for name in train.index:
        known = train.loc[name].to_numpy(np.float64)
        found.append(CompetitionSeries(str(name), known[np.isfinite(known)], test.loc[name].to_numpy(np.float64)))
    return found


def rossmann(folder: Path) -> pd.DataFrame:
    """Return 400 stores, a row for each day on which a store sold something, by store and date.

    Columns as in the Kaggle set; `Customers` is not known in advance.
    """
    frame = pd.read_parquet(_existing(folder / "sales" / "rossmann_400_stores.parquet"))
    return frame.sort_values(["Store", "Date"], ignore_index=True)
