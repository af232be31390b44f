"""What work costs, for tests that compare two ways of doing it on the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable


def processor_seconds(work: Callable[[], object], rounds: int, clock: Callable[[], float] = time.process_time) -> float:
    """Return the least processor time of some rounds: what else runs only ever adds to it.

    Args:
        work: What is measured.
        rounds: How often.
        clock: Seconds of the processor, of all threads or, with `time.thread_time`, of this one.
    """
    found = []
    for _ in range(rounds):
        started = clock()
        work()
        found.append(clock() - started)
    return min(found)
