"""Log files of the services: kept short, shown, followed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from foretopic.processes import tail
from runtime.clock import Clock

_LARGEST_BYTES = 20 * 1024 * 1024
_POLL_SECONDS = 0.2


def rotate(path: Path, *, largest_bytes: int = _LARGEST_BYTES) -> None:
    """Move what a log file holds to ``NAME.1`` once it is large.

    Copied and cut, not renamed: its writers have it open for appending and go on at its new end. Lines written between
    the two steps are lost. Who may not read the file may not read the copy.
    """
    if not path.exists() or path.stat().st_size < largest_bytes:
        return
    shutil.copy(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)


def follow(
    path: Path, *, lines: int, clock: Clock, is_stopped: Callable[[], bool], start: int | None = None
) -> Iterator[str]:
    """Yield the last lines of a file and then each new one, until ``is_stopped`` and nothing is left.

    Args:
        path: The file; it may come into being later.
        lines: How many of those that are there already.
        clock: Waits between two looks.
        is_stopped: Whether nobody reads on.
        start: Byte from which a line counts as new; the end that the file has now when ``None``.
    """
    position = start if start is not None else path.stat().st_size if path.exists() else 0
    if lines:
        yield from tail(path, lines=lines).splitlines()
    rest = ""
    while True:
        # Asked before the look at the file: what was written before the end is shown.
        is_last = is_stopped()
        size = path.stat().st_size if path.exists() else 0
        if size < position:
            # Cut since: what is there now is all new.
            position = 0
        if size == position:
            if is_last:
                return
            clock.sleep(_POLL_SECONDS)
            continue
        with path.open("rb") as file:
            file.seek(position)
            content = file.read(size - position)
        position = size
        *whole, rest = (rest + content.decode(errors="replace")).split("\n")
        yield from whole
