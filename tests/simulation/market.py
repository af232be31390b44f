"""The outside world that the ingestor asks: two series that grow, and a line that is sometimes down."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from ingestor.errors import SourceUnreachable
from ingestor.fetching import Fetched
from ingestor.sources import SourceFrame, Wanted
from tests.simulation.series import SERIES

START = datetime(2024, 1, 1, tzinfo=UTC)
_DAY = 86_400
_FIRST_ROWS = 110


class Market:
    """Knows the truth; each fetch may find a day more."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._rows: Mapping[str, list[int]] = {series_id: [_FIRST_ROWS] for series_id in SERIES}

    def fetch(self, wanted: Wanted) -> Fetched:
        """Return all rows there are by now.

        Raises:
            SourceUnreachable: Every tenth time.
        """
        if self._rng.random() < 0.1:
            raise SourceUnreachable("market", "the line is down")
        rows = self._rows[wanted.symbol]
        rows[0] += self._rng.random() < 0.7
        days = np.arange(rows[0])
        frame = SourceFrame(
            source="market",
            unit="USD",
            time=(int(START.timestamp()) + days * _DAY).astype(np.int64),
            columns={"close": self.close(days)},
        )
        return Fetched(frame=frame, rows_received=len(frame))

    @staticmethod
    def close(days: np.ndarray) -> np.ndarray:
        """Return the closes of these days, counted from `START`."""
        return 100.0 + (days * 7919) % 13
