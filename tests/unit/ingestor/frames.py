"""Frames for tests: daily rows from 2 January 2024 on, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from ingestor.sources import SourceFrame, Wanted

DAY = 86_400
START = int(datetime(2024, 1, 2, tzinfo=UTC).timestamp())
NOW = datetime(2025, 1, 2, tzinfo=UTC)


def wanted(**changes: Any) -> Wanted:
    values: dict[str, Any] = {"symbol": "X", "freq": "1d", "calendar": "24/7", "now": NOW}
    return Wanted(**{**values, **changes})


def frame(days: list[int] | None = None, source: str = "test", unit: str = "", **columns: list[float]) -> SourceFrame:
    """Return a frame of these columns; ``days`` are counted from the start."""
    rows = len(next(iter(columns.values())))
    return SourceFrame(
        source=source,
        unit=unit,
        time=START + DAY * np.array(range(rows) if days is None else days, dtype=np.int64),
        columns={name: np.array(values, dtype=np.float64) for name, values in columns.items()},
    )
