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
from math import ceil

from ingestor.cleaning import clean
from ingestor.errors import BadSourceData, SourceFault, SourceUnreachable
from ingestor.sources import IntArray, Source, SourceFrame, Wanted
from ingestor.timetable import calendar_times
from runtime.process_limits import bind_life_to, limit_process

#: For loading the libraries and for all that the source does, whose own deadlines are shorter.
CHILD_TIMEOUT_SECONDS = 45.0
#: Address space of a child unless a setting says otherwise.
MEMORY_BYTES = 4 * 1024**3
#: Threads of libraries take address space, each some ten megabytes, and one fetch has little use for them.
_FEW_THREADS = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


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


def fetch_in_child(
    source: Source,
    wanted: Wanted,
    timeout_seconds: float = CHILD_TIMEOUT_SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> Fetched:
    """Do `fetch` in a child process that ends with it, and with us.

    Raises:
        SourceFault: As `fetch`; `SourceUnreachable` too when the child does not end in time, or without an answer;
            `BadSourceData` when it needs more than ``memory_bytes`` of address space.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            [
                sys.executable,
                "-m",
                "ingestor.fetching",
                str(os.getpid()),
                str(memory_bytes),
                str(ceil(timeout_seconds)),
            ],
            input=pickle.dumps((source, wanted)),
            stdout=subprocess.PIPE,
            timeout=timeout_seconds,
            check=False,
            # Ctrl-C in the terminal is for us: a child that died of it would count as unreachable.
            start_new_session=True,
            env=os.environ | _FEW_THREADS,
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
    parent, memory_bytes, seconds = (int(text) for text in sys.argv[1:])
    bind_life_to(parent)
    limit_process(memory_bytes=memory_bytes, cpu_seconds=seconds)
    source, wanted = pickle.loads(sys.stdin.buffer.read())  # noqa: S301  # what our parent wrote
    outcome: Fetched | SourceFault
    try:
        outcome = fetch(source, wanted)
    except SourceFault as fault:
        outcome = fault
    except MemoryError:
        outcome = BadSourceData(
            source.name,
            f"what it gives needs more than {memory_bytes} bytes of memory; an operator may allow more by "
            "FORETOPIC_INGESTOR_FETCH_MEMORY_BYTES",
        )
    with answer:
        pickle.dump(outcome, answer)


if __name__ == "__main__":
    from ingestor.fetching import main as importable_main  # so that the answer names this module, not `__main__`

    importable_main()
