"""One fetch: ask a source, clean what it gave; in a process of its own where the source is heavy.

What yfinance, pandas and exchange calendars load (150 MB) is gone when the child ends, a hanging or crashing library
takes nobody with it, and the deadline is kept whatever the library does.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass

from ingestor.cleaning import clean
from ingestor.errors import SourceFault, SourceUnreachable
from ingestor.sources import IntArray, Source, SourceFrame, Wanted
from ingestor.timetable import calendar_times

#: For loading the libraries and for all that the source does, whose own deadlines are shorter.
CHILD_TIMEOUT_SECONDS = 45.0


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What came of a fetch.

    Attributes:
        frame: The clean rows.
        rows_received: How many the source gave.
        calendar_times: When the calendar expects rows, as `ingestor.timetable.calendar_times` tells.
    """

    frame: SourceFrame
    rows_received: int
    calendar_times: IntArray | None = None


def fetch(source: Source, wanted: Wanted) -> Fetched:
    """Return what ``source`` gives, cleaned.

    Raises:
        SourceFault: It gives nothing that can be used.
    """
    frame = source.fetch(wanted)
    cleaned = clean(frame, wanted)
    return Fetched(frame=cleaned, rows_received=len(frame), calendar_times=calendar_times(cleaned, wanted))


def fetch_in_child(source: Source, wanted: Wanted, timeout_seconds: float = CHILD_TIMEOUT_SECONDS) -> Fetched:
    """Do `fetch` in a child process that ends with it.

    Raises:
        SourceFault: As `fetch`; `SourceUnreachable` too when the child does not end in time, or without an answer.
    """
    try:
        done = subprocess.run(  # our own interpreter and module
            [sys.executable, "-m", "ingestor.fetching"],
            input=pickle.dumps((source, wanted)),
            stdout=subprocess.PIPE,
            timeout=timeout_seconds,
            check=False,
            # Ctrl-C in the terminal is for us: a child that died of it would count as unreachable.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceUnreachable(source.name, f"gave no answer within {timeout_seconds:g} s") from error
    if done.returncode != 0:
        raise SourceUnreachable(source.name, f"its process ended with exit code {done.returncode}")
    outcome: Fetched | SourceFault = pickle.loads(done.stdout)  # noqa: S301  # what our child wrote
    if isinstance(outcome, SourceFault):
        raise outcome
    return outcome


def main() -> None:
    """Be the child: read what to fetch from standard input, write what came of it to standard output."""
    # Whatever a library prints must not stand between the bytes of the answer.
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    source, wanted = pickle.loads(sys.stdin.buffer.read())  # noqa: S301  # what our parent wrote
    outcome: Fetched | SourceFault
    try:
        outcome = fetch(source, wanted)
    except SourceFault as fault:
        outcome = fault
    with answer:
        pickle.dump(outcome, answer)


if __name__ == "__main__":
    from ingestor.fetching import main as importable_main  # so that the answer names this module, not `__main__`

    importable_main()
