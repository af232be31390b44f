"""Jobs in child processes, one each."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import msgspec

from runtime.clock import Clock, SystemClock
from trainer.child import Task
from trainer.jobs import Died, Job, JobEvent, Recorded, Refused, Trained

_EVENT = msgspec.json.Decoder(JobEvent)


@dataclass(kw_only=True)
class _Child:
    process: subprocess.Popen[bytes]
    events: queue.SimpleQueue[JobEvent] = field(default_factory=queue.SimpleQueue)
    #: When the version was handed over, on the clock's ``monotonic``.
    trained_at: float | None = None
    #: Why we killed it; empty when its death says it itself.
    verdict: str = ""


class ChildProcessRunner:
    """Runs each job in a process of its own; see `trainer.jobs.TrainingRunner`.

    A child that dies, whatever the reason, is told as ``Died``; it dies with the thread that created it here.

    Args:
        task_of: Returns what a child needs for a job.
        recording_timeout_seconds: A child that takes longer from its release to its end is killed.
        clock: Measures the timeout.
        module: What the child runs; it is called as `trainer.child` is.
    """

    def __init__(
        self,
        task_of: Callable[[Job], Task],
        *,
        recording_timeout_seconds: float,
        clock: Clock | None = None,
        module: str = "trainer.child",
    ) -> None:
        self._task_of = task_of
        self._recording_timeout = recording_timeout_seconds
        self._clock: Clock = clock or SystemClock()
        self._module = module
        self._children: dict[str, _Child] = {}

    def start(self, job: Job) -> None:
        training_id = job.request.training_id
        if training_id in self._children:
            raise ValueError(f"training {training_id} runs already")
        read_end, write_end = os.pipe()
        process = subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-m", self._module, str(os.getpid()), str(write_end)],
            stdin=subprocess.PIPE,
            pass_fds=(write_end,),
            # Signals for our process group are ours to act on.
            start_new_session=True,
        )
        os.close(write_end)
        child = _Child(process=process)
        self._children[training_id] = child
        task = msgspec.json.encode(self._task_of(job))
        threading.Thread(
            target=_attend, args=(training_id, child, task, os.fdopen(read_end, "rb")), daemon=True
        ).start()

    def poll(self) -> Sequence[JobEvent]:
        events: list[JobEvent] = []
        for training_id, child in list(self._children.items()):
            while not child.events.empty():
                event = child.events.get()
                events.append(event)
                if isinstance(event, Trained):
                    child.trained_at = self._clock.monotonic()
                if isinstance(event, Recorded | Refused | Died):
                    del self._children[training_id]
            if child.trained_at is not None and self._clock.monotonic() - child.trained_at > self._recording_timeout:
                child.verdict = f"recording took longer than {self._recording_timeout:g} s"
                child.process.kill()
        return events

    def cancel(self, training_id: str) -> None:
        child = self._children.pop(training_id, None)
        if child is not None:
            child.process.kill()
            child.process.wait()

    def close(self) -> None:
        for training_id in list(self._children):
            self.cancel(training_id)

    def processes(self) -> dict[str, int]:
        """Return the process id of each running job."""
        return {training_id: child.process.pid for training_id, child in self._children.items()}


def _attend(training_id: str, child: _Child, task: bytes, pipe: BinaryIO) -> None:
    """Give a child its task and pass on its events; the last one only once the process has ended."""
    assert child.process.stdin is not None
    try:
        with child.process.stdin as stdin:
            stdin.write(task)
    except BrokenPipeError:
        pass  # It died at once: its exit status says more.
    last: JobEvent | None = None
    with pipe:
        for line in pipe:
            if not line.endswith(b"\n"):
                break  # It died while it wrote.
            event = _EVENT.decode(line)
            if isinstance(event, Recorded | Refused):
                last = event
            else:
                child.events.put(event)
    status = child.process.wait()
    child.events.put(last or Died(training_id=training_id, reason=child.verdict or _death(status)))


def _death(status: int) -> str:
    if status >= 0:
        return f"the training process ended with exit status {status}, its log says why"
    hint = ", which the kernel also sends when memory is short" if -status == signal.SIGKILL else ""
    return f"the training process was killed by {signal.Signals(-status).name}{hint}"
