"""Become another program, tied to the life of the parent: ``leash.py PARENT_PID PROGRAM ARGUMENTS...``.

Runs as a script of its own (isolated, without site-packages) between fork and exec, since code between the two inside
a threaded interpreter may deadlock. The kernel then sends SIGKILL when the thread that started us ends, in any way.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for SIGKILL at the parent's end, then exec."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent ended before we asked: nobody will tell us.
        sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main()
