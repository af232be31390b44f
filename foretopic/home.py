"""The directory in which one stack keeps everything, and the lock that makes it one stack."""

from __future__ import annotations

import fcntl
import os
import shutil
from io import TextIOWrapper
from pathlib import Path

from foretopic.errors import DiskFull, HomeBusy


class HomeLock:
    """Holds a home for one process at a time.

    The kernel lets go of the lock when its holder ends, however it ends: a file left behind by a kill is no obstacle.
    """

    def __init__(self, home: Path, name: str) -> None:
        self._home = home
        self._path = home / name
        self._file: TextIOWrapper | None = None

    def acquire(self) -> None:
        """Take the lock and write our process id into it; raise ``HomeBusy`` when somebody has it."""
        self._home.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise HomeBusy(self._home, lock_holder(self._path)) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let go of the lock; nothing happens when we do not have it."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def lock_holder(path: Path) -> int | None:
    """Return the process id in a lock file, or ``None`` when there is none."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdecimal() else None


def require_space(directory: Path, needed_bytes: int) -> None:
    """Raise ``DiskFull`` unless the disk of an existing directory has ``needed_bytes`` free."""
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < needed_bytes:
        raise DiskFull(directory, needed_bytes, free_bytes)
