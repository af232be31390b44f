"""What a trainer counts, beside what every service counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from runtime.metrics import Metrics
from schemas.trainings import TrainingState


class TrainerMetrics(Metrics):
    """Trainings by state, and how many wait and run now."""

    def __init__(self) -> None:
        super().__init__("trainer")
        self._told = Counter("foretopic_trainings", "Trainings that reached a state", ["state"], registry=self.registry)
        self._waiting = Gauge(
            "foretopic_trainings_waiting", "Trainings that wait for their turn", registry=self.registry
        )
        self._running = Gauge("foretopic_trainings_running", "Trainings that run", registry=self.registry)

    def trainings(self, *, waiting: int, running: int) -> None:
        """Set how many trainings wait and run now."""
        self._waiting.set(waiting)
        self._running.set(running)

    def told(self, state: TrainingState) -> None:
        """Count an event that was published; steps of progress are not counted."""
        if state != "progress":
            self._told.labels(state).inc()
