"""Sources that a child process can load."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from ingestor.errors import BadSourceData
from ingestor.sources import SourceFrame, Wanted
from tests.unit.ingestor.frames import frame


class Talkative:
    name = "talkative"

    def fetch(self, wanted: Wanted) -> SourceFrame:
        sys.stdout.write("what a library prints\n")
        sys.stdout.flush()
        sys.stdout.buffer.write(b"\x00\xff")
        os.write(1, b"and what its C code prints")
        return frame(close=[1.0, 2.0])


class Refusing:
    name = "refusing"

    def fetch(self, wanted: Wanted) -> SourceFrame:
        raise BadSourceData(self.name, "it is no good")


class Hanging:
    name = "hanging"

    def fetch(self, wanted: Wanted) -> SourceFrame:
        time.sleep(3600)  # what a library in C does with a server that says nothing
        return frame(close=[1.0])


class Crashing:
    name = "crashing"

    def fetch(self, wanted: Wanted) -> SourceFrame:
        os._exit(9)


class Slow:
    """Says in a file that it has begun, and goes on once another file is there."""

    name = "slow"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, wanted: Wanted) -> SourceFrame:
        (self.folder / "begun").touch()
        deadline = time.monotonic() + 120
        while not (self.folder / "go-on").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return frame(close=[1.0])


class Greedy:
    name = "greedy"

    def fetch(self, wanted: Wanted) -> SourceFrame:
        return frame(close=[float(len(bytearray(1024**3)))])


class Telling:
    """Says which process it is, and hangs."""

    name = "telling"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, wanted: Wanted) -> SourceFrame:
        partial = self.folder / "pid.part"
        partial.write_text(str(os.getpid()))
        partial.rename(self.folder / "pid")
        time.sleep(3600)
        return frame(close=[1.0])
