"""Waiting for what goes on by itself: looked at again and again, less often the longer it takes."""

from __future__ import annotations

import time
from typing import TypeVar

from foretopic.client.errors import Problem, Unsuccessful, WaitedTooLong
from foretopic.client.steps import Asker, Flow, Pause, Started

S = TypeVar("S")
T = TypeVar("T")
_FIRST_SECONDS = 0.2
_LONGEST_SECONDS = 5.0
_SLOWER = 1.4
_NOT_FOUND = 404
#: A gateway acknowledges a request before its reader came by it.
_UNSEEN_SECONDS = 30.0


def until_ended(asker: Asker, started: Started[S, T], answer: S, timeout_seconds: float) -> Flow[T]:
    """Look until the work has ended, and return how.

    Raises:
        Unsuccessful: It ended badly.
        WaitedTooLong: It goes on after ``timeout_seconds``.
    """
    began, pause = time.monotonic(), _FIRST_SECONDS
    newest: T | None = None
    while True:
        try:
            newest = yield from started.look(asker, answer)
        except Problem as problem:
            if problem.status != _NOT_FOUND or time.monotonic() - began > _UNSEEN_SECONDS:
                raise
        else:
            if started.has_ended(newest):
                if fault := started.fault(newest):
                    raise Unsuccessful(fault, newest)
                return newest
        left = timeout_seconds - (time.monotonic() - began)
        if left <= 0:
            raise WaitedTooLong(f"it goes on after {timeout_seconds:g} s", newest)
        yield Pause(min(pause, left))
        pause = min(pause * _SLOWER, _LONGEST_SECONDS)
