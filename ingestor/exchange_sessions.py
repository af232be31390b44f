"""Exchanges' sessions, read in a child process: what they load (pandas, 100 MB) is gone when it ends."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

from forecasting.errors import CalendarError
from forecasting.sessions import Sessions, ask_exchange
from runtime.errors import TransientError

_TIMEOUT_SECONDS = 60.0


def sessions_in_child(calendar: str, first: int, last: int) -> Sessions:
    """Return the sessions of an exchange whose dates lie in these years, both included.

    Raises:
        CalendarError: ``unknown-calendar``, ``beyond-calendar``.
        TransientError: The child did not end in time, or without an answer.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "ingestor.exchange_sessions", calendar, str(first), str(last)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"the sessions of {calendar} were not read within {_TIMEOUT_SECONDS:g} s") from error
    if done.returncode != 0:
        raise TransientError(f"the child that reads the sessions of {calendar} ended with {done.returncode}")
    answer: Sessions | CalendarError = pickle.loads(done.stdout)  # noqa: S301  # what our child wrote
    if isinstance(answer, CalendarError):
        raise answer
    return answer


def main() -> None:
    """Be the child: write what was asked for to standard output."""
    # Whatever a library prints must not stand between the bytes of the answer.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    calendar, first, last = sys.argv[1:]
    answer: Sessions | CalendarError
    try:
        answer = ask_exchange(calendar, int(first), int(last))
    except CalendarError as error:
        answer = error
    with output:
        pickle.dump(answer, output)


if __name__ == "__main__":
    main()
