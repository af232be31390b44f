"""The last one out: kills the process groups that a dead supervisor left behind. ``guard.py``, run as a script.

Reads ``+GROUP`` and ``-GROUP`` lines from its standard input. The pipe closes when the supervisor ends, in any way;
then whatever is still listed is killed. The kernel kills the supervisor's direct children by itself (``leash.py``);
this catches what those had started: worker processes, a training in its own process.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Keep the list until the supervisor ends, then kill what is on it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only the end of the supervisor ends us.
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # Gone already.
            continue


if __name__ == "__main__":
    main()
