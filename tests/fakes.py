"""Real implementations for tests: a clock that moves when told to."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class ManualClock:
    """Stands still until `advance` or `sleep` moves it."""

    def __init__(self, now: datetime = datetime(2025, 1, 2, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 0.0
        self._lock = threading.Lock()
        #: Every wait that was asked for, in seconds.
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move time forward."""
        if seconds < 0:
            raise ValueError(f"time moves forward, not by {seconds} s")
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds
