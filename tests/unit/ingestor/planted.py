"""Clean random walks, and faults to plant in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from forecasting.grid import times_between
from forecasting.panel import Observations
from ingestor.gate import Verdict, judge
from ingestor.sources import SourceFrame

START = int(datetime(2023, 1, 3, tzinfo=UTC).timestamp())
#: The first bar of that session of XNYS.
OPENING = int(datetime(2023, 1, 3, 14, 30, tzinfo=UTC).timestamp())
NOW = datetime(2026, 1, 2, tzinfo=UTC)
DAY, HOUR = 86_400, 3_600
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Place:
    """Where a series lives."""

    freq: str = "1d"
    calendar: str = "24/7"


def walk(seed: int = 1, rows: int = 300, place: Place = Place(), volatility: float = 0.02) -> SourceFrame:
    """Return bars of a random walk on the calendar: prices with four digits, each bar with a range and a volume."""
    rng = np.random.default_rng(seed)
    first = OPENING if place == Place("1h", "XNYS") else START
    close = 100 * np.exp(np.cumsum(rng.normal(0, volatility, rows)))
    open_ = np.append(close[:1], close[:-1]) * np.exp(rng.normal(0, volatility / 4, rows))
    spread = np.exp(np.abs(rng.normal(0, volatility / 2, (2, rows))) + 1e-4)
    return SourceFrame(
        source="test",
        unit="USD",
        time=times_between(place.calendar, place.freq, first, first + 4 * rows * DAY)[:rows],
        columns={
            "open": open_.round(4),
            "high": (np.maximum(open_, close) * spread[0]).round(4),
            "low": (np.minimum(open_, close) / spread[1]).round(4),
            "close": close.round(4),
            "volume": rng.integers(1_000, 1_000_000, rows).astype(np.float64),
            "splits": np.zeros(rows),
        },
    )


def known_of(frame: SourceFrame, place: Place = Place()) -> Observations:
    """Return the log's view after ``frame`` was let in."""
    return Observations(
        series_id=f"market/X@{place.freq}",
        freq=place.freq,
        calendar=place.calendar,
        unit=frame.unit,
        source=frame.source,
        time=frame.time,
        columns=frame.columns,
        newest_offset=0,
    )


def with_columns(frame: SourceFrame, **columns: Any) -> SourceFrame:
    """Return the frame with other columns."""
    return replace(frame, columns={**frame.columns, **columns})


def scaled(frame: SourceFrame, rows: slice, factor: float) -> SourceFrame:
    """Return the frame with all prices of some rows multiplied."""
    columns = {name: values.copy() for name, values in frame.columns.items()}
    for name in PRICES:
        columns[name][rows] *= factor
    return replace(frame, columns=columns)


def told_split(frame: SourceFrame, row: int, ratio: float) -> SourceFrame:
    """Return the frame with a split in its splits column."""
    splits = frame.columns["splits"].copy()
    splits[row] = ratio
    return with_columns(frame, splits=splits)


def changed(frame: SourceFrame, column: str, row: int | slice, value: Any) -> SourceFrame:
    """Return the frame with another value in a column."""
    values = frame.columns[column].copy()
    values[row] = value
    return with_columns(frame, **{column: values})


def shifted(frame: SourceFrame, rows: slice, seconds: int) -> SourceFrame:
    """Return the frame with the times of some rows moved."""
    time = frame.time.copy()
    time[rows] += seconds
    return replace(frame, time=time)


def judged(frame: SourceFrame, known: Observations | None = None, place: Place = Place(), **options: Any) -> Verdict:
    """Return what the gate says of a frame."""
    return judge(frame, known, freq=place.freq, calendar=place.calendar, **{"now": NOW, **options})


def held_rules(verdict: Verdict) -> list[str]:
    """Return the names of the rules for which rows are held."""
    return [broken.rule for broken in verdict.broken]


def flagged_rules(verdict: Verdict) -> list[str]:
    """Return the names of the rules that only tell."""
    return [flag.partition(":")[0] for flag in verdict.flags]
