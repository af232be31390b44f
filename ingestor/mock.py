"""Source `mock`: simulated prices of an invented asset, HET, hourly and daily. Nothing in them is real.

The price at a time depends on that time alone, so every fetch tells the same story and the days agree with their hours.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np

from ingestor.errors import BadSourceData, UnknownSymbol
from ingestor.sources import FloatArray, SourceFrame, Wanted, within_days

SYMBOL = "HET"
CALENDAR = "24/7"
FIRST_HOUR = datetime(2020, 1, 1, tzinfo=UTC)
_SEED = 20_200_101
_FIRST_PRICE = 100.0
#: Hourly log returns: a little drift, a daily season, and volatility that clusters (a GARCH(1,1) process).
_DRIFT = 0.00001
_SEASON = 0.0008
_OMEGA, _ALPHA, _BETA = 4e-7, 0.08, 0.88
_HOUR, _DAY = 3600, 86_400


class MockSource:
    """The invented asset HET."""

    name = "mock"

    def fetch(self, wanted: Wanted) -> SourceFrame:
        if wanted.symbol != SYMBOL:
            raise UnknownSymbol(self.name, f"the only symbol is the invented asset {SYMBOL}, was {wanted.symbol!r}")
        if wanted.freq not in ("1h", "1d") or wanted.calendar != CALENDAR:
            raise BadSourceData(
                self.name,
                f"freq must be 1h or 1d and calendar {CALENDAR}, were {wanted.freq} and {wanted.calendar}",
            )
        hours = max(0, int((wanted.now - FIRST_HOUR) / timedelta(hours=1)))
        frame = _hourly(hours) if wanted.freq == "1h" else _daily(_hourly(hours - hours % 24))
        return within_days(frame, wanted)


@lru_cache(maxsize=1)
def _hourly(hours: int) -> SourceFrame:
    # The legacy generator: its stream is frozen for ever, and a longer draw begins with the shorter one.
    noise = np.random.RandomState(_SEED).standard_normal((hours, 4))
    returns = np.empty(hours)
    variance = _OMEGA / (1 - _ALPHA - _BETA)
    season = _SEASON * np.sin(2 * np.pi * np.arange(24) / 24)
    for hour in range(hours):
        returns[hour] = _DRIFT + season[hour % 24] + np.sqrt(variance) * noise[hour, 0]
        variance = _OMEGA + _ALPHA * variance * noise[hour, 0] ** 2 + _BETA * variance
    close = _FIRST_PRICE * np.exp(np.cumsum(returns))
    opening = np.concatenate([[_FIRST_PRICE], close[:-1]])[:hours]
    spread = 0.003 * np.abs(noise[:, 1:3])
    columns = {
        "open": opening,
        "high": np.maximum(opening, close) * (1 + spread[:, 0]),
        "low": np.minimum(opening, close) / (1 + spread[:, 1]),
        "close": close,
        "volume": np.round(1000 * np.exp(0.5 * noise[:, 3] + 50 * np.abs(returns))),
    }
    start = int(FIRST_HOUR.timestamp())
    return SourceFrame(
        source=MockSource.name,
        unit="USD",
        time=start + _HOUR * np.arange(hours, dtype=np.int64),
        # Cents: what different processors compute in the last bit must not differ in the log.
        columns={name: np.round(values, 2) for name, values in columns.items()},
        notes=("simulated prices of an invented asset",),
    )


def _daily(hourly: SourceFrame) -> SourceFrame:
    by_day: dict[str, FloatArray] = {name: values.reshape(-1, 24) for name, values in hourly.columns.items()}
    return SourceFrame(
        source=hourly.source,
        unit=hourly.unit,
        time=hourly.time[::24],
        columns={
            "open": by_day["open"][:, 0],
            "high": by_day["high"].max(axis=1),
            "low": by_day["low"].min(axis=1),
            "close": by_day["close"][:, -1],
            "volume": by_day["volume"].sum(axis=1),
        },
        notes=hourly.notes,
    )
