"""One fetch as a job: what is asked of a runner, what it reports, and the runners."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingestor.errors import SourceFault
from ingestor.fetching import Fetched
from ingestor.sources import Wanted

#: Source name -> how it is asked.
Fetchers = Mapping[str, Callable[[Wanted], Fetched]]


@dataclass(frozen=True)
class FetchJob:
    """Ask one source once; ``number`` names the job."""

    number: int
    source: str
    wanted: Wanted


@dataclass(frozen=True)
class FetchEnded:
    """What came of a job: rows, or why there are none."""

    number: int
    outcome: Fetched | SourceFault


class FetchRunner(Protocol):
    """Runs fetches beside the poll loop, or within it.

    Adapters may not vary in this: each job ends once, unless the runner is closed; a fetcher that raises anything but
    a `SourceFault` makes `poll` raise it.
    """

    def start(self, job: FetchJob) -> None:
        """Begin a job."""
        ...

    def poll(self, timeout_seconds: float) -> Sequence[FetchEnded]:
        """Return what has ended since the last call, waiting at most ``timeout_seconds`` for the first."""
        ...

    def close(self) -> None:
        """Let go of all jobs; nothing is told of them."""
        ...


class ThreadRunner:
    """Runs each job in a thread of its own, which waits for a child process where the source is heavy.

    Whoever starts jobs limits how many run. A thread that hangs keeps neither the others nor the end of the process.
    """

    def __init__(self, fetchers: Fetchers) -> None:
        self._fetchers = fetchers
        # No `SimpleQueue`: in Python 3.11 it waits for ever where a signal is handled past the end of the wait.
        self._ended: queue.Queue[FetchEnded | Exception] = queue.Queue()

    def start(self, job: FetchJob) -> None:
        threading.Thread(target=self._run, args=(job,), name=f"fetch-{job.number}", daemon=True).start()

    def poll(self, timeout_seconds: float) -> Sequence[FetchEnded]:
        found: list[FetchEnded] = []
        try:
            found.append(self._next(timeout_seconds))
            while True:
                found.append(self._next(0))
        except queue.Empty:
            return found

    def close(self) -> None:
        """Nobody looks at what ends from now on."""

    def _next(self, timeout_seconds: float) -> FetchEnded:
        ended = self._ended.get(block=timeout_seconds > 0, timeout=timeout_seconds or None)
        if isinstance(ended, Exception):
            raise ended
        return ended

    def _run(self, job: FetchJob) -> None:
        try:
            self._ended.put(FetchEnded(job.number, self._fetchers[job.source](job.wanted)))
        except SourceFault as fault:
            self._ended.put(FetchEnded(job.number, fault))
        except Exception as error:  # noqa: BLE001  # a bug: the loop raises it
            self._ended.put(error)


class InProcessRunner:
    """Fetches within the call that starts a job: for tests, examples and the simulator."""

    def __init__(self, fetchers: Fetchers) -> None:
        self._fetchers = fetchers
        self._ended: list[FetchEnded] = []

    def start(self, job: FetchJob) -> None:
        try:
            self._ended.append(FetchEnded(job.number, self._fetchers[job.source](job.wanted)))
        except SourceFault as fault:
            self._ended.append(FetchEnded(job.number, fault))

    def poll(self, timeout_seconds: float) -> Sequence[FetchEnded]:
        del timeout_seconds  # what runs has ended
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        self._ended.clear()
