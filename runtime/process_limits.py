"""What a process that reads what others wrote gives up for good, before it imports whatever parses.

A footer or a header may say anything; address space and processor time are what the machine really gives.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def limit_process(*, memory_bytes: int, cpu_seconds: int, file_bytes: int | None = None) -> None:
    """Limit this process; nothing but its end takes that back.

    Past the memory Python and Arrow raise `MemoryError`, other libraries may end the process; past the processor time
    the kernel ends it; a file too large is an ``OSError`` (EFBIG). It leaves no core behind.

    Args:
        memory_bytes: Of the address space, libraries and threads' stacks among it.
        cpu_seconds: Of processor time. A process that waits needs a limit of the clock too: that of its parent.
        file_bytes: Of each file that it writes; ``None``: as large as may be.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if file_bytes is not None:
        # Python ignores the signal that goes with it, so that a write raises.
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))


def bind_life_to(parent: int) -> None:
    """End when the thread of ``parent`` that started us ends, and not by a signal that is meant for the parent.

    Where the kernel has no such signal, the child ends at its next event, which nobody reads.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent ended before we asked: nobody will tell us.
        sys.exit(1)
    # A service manager or a terminal signals every process of the group; the parent decides what becomes of the child.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
