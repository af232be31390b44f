"""Jobs done within the call that starts them: for tests, examples and the simulator."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from runtime.errors import TransientError
from trainer.execution import Execution
from trainer.jobs import Died, Job, JobEvent


class InProcessRunner:
    """Trains in ``start`` and hands out one event a ``poll``; see `trainer.jobs.TrainingRunner`.

    Args:
        execution: Does the jobs.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._events: dict[str, deque[JobEvent]] = {}

    def start(self, job: Job) -> None:
        training_id = job.request.training_id
        if training_id in self._events:
            raise ValueError(f"training {training_id} runs already")
        events: deque[JobEvent] = deque()
        self._events[training_id] = events
        try:
            self._execution.run(job, events.append)
        except TransientError as error:
            # There is nobody here who could wait while the caller goes on.
            events.append(Died(training_id=training_id, reason=str(error)))

    def poll(self) -> Sequence[JobEvent]:
        for training_id, events in self._events.items():
            event = events.popleft()
            if not events:
                del self._events[training_id]
            return [event]
        return []

    def cancel(self, training_id: str) -> None:
        self._events.pop(training_id, None)

    def close(self) -> None:
        self._events.clear()
