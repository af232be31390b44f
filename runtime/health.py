"""Whether a process does its work: it says so regularly, and silence is ill health."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from runtime.clock import Clock, SystemClock


@dataclass(frozen=True, kw_only=True)
class HealthState:
    """What a process says of itself at one moment."""

    is_healthy: bool
    reason: str


class Health:
    """Healthy from the first `beat` on, while beats come and nothing was reported as failed.

    Args:
        clock: Measures the silence.
        stale_after_seconds: A longer silence is ill health. Beats come with every poll, and work in between takes time.
    """

    def __init__(self, clock: Clock | None = None, stale_after_seconds: float = 60.0) -> None:
        self._clock: Clock = clock or SystemClock()
        self._stale_after = stale_after_seconds
        self._lock = threading.Lock()
        self._last_beat: float | None = None
        self._failure = ""

    def beat(self) -> None:
        """Say that work goes on."""
        with self._lock:
            self._last_beat = self._clock.monotonic()

    def fail(self, reason: str) -> None:
        """Say that work cannot go on; stays so."""
        with self._lock:
            self._failure = reason

    def state(self) -> HealthState:
        """Return how it stands now."""
        with self._lock:
            if self._failure:
                return HealthState(is_healthy=False, reason=self._failure)
            if self._last_beat is None:
                return HealthState(is_healthy=False, reason="starting")
            silence = self._clock.monotonic() - self._last_beat
            if silence > self._stale_after:
                return HealthState(is_healthy=False, reason=f"no sign of work for {silence:.0f} s")
            return HealthState(is_healthy=True, reason="working")
