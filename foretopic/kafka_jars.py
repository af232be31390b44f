"""Kafka's jars: fetched once from Maven Central through jgo, held against the checksums in this repository.

``kafka_jars.sha256`` names every jar of the closure, so a start resolves nothing and trusts nothing. To move to another
Kafka, change ``KAFKA`` and run ``python -m foretopic.kafka_jars > foretopic/kafka_jars.sha256``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import requests
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

from foretopic.errors import JarDamaged, JarsUnavailable

KAFKA = "org.apache.kafka:kafka_2.13:4.2.1"
#: slf4j over the JDK's own logging, which needs no configuration language of its own.
_LOGGING = "org.slf4j:slf4j-jdk14:1.7.36"
#: Kafka's classes name log4j-api; without log4j-core they find no implementation and go on with slf4j.
_LEFT_OUT = frozenset({"org.apache.logging.log4j:log4j-core"})
_CHECKSUMS = Path(__file__).with_name("kafka_jars.sha256")
_PARALLEL_DOWNLOADS = 8
_TIMEOUT_SECONDS = 30

#: Takes one sentence for the person who waits.
Notice = Callable[[str], None]


@dataclass(frozen=True)
class Jar:
    """One jar of the closure: its Maven coordinate ``group:artifact:version`` and its SHA-256."""

    coordinate: str
    sha256: str


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return where downloads are kept for all homes: FORETOPIC_CACHE, else the user's cache directory."""
    if environment.get("FORETOPIC_CACHE"):
        return Path(environment["FORETOPIC_CACHE"]).absolute()
    base = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "foretopic").absolute()


def known_jars() -> tuple[Jar, ...]:
    """Return the jars that the repository names, in the order of the class path."""
    lines = _CHECKSUMS.read_text(encoding="utf-8").splitlines()
    return tuple(Jar(coordinate=coordinate, sha256=sha256) for sha256, coordinate in map(str.split, lines))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class JarCache:
    """The jars on this machine.

    Args:
        directory: Where they lie, in Maven's layout; made when missing.
        repository: URL of the Maven repository, Maven Central when ``None``.
        jars: The jars wanted; those of Kafka when ``None``.
    """

    def __init__(self, directory: Path, *, repository: str | None = None, jars: Sequence[Jar] | None = None) -> None:
        self._directory = directory
        self._repository = repository or MAVEN_CENTRAL_URL
        self._context = _context(directory, self._repository)
        self._jars = tuple(jars) if jars is not None else known_jars()

    def paths(self, notice: Notice = lambda _: None) -> tuple[Path, ...]:
        """Return all jars, verified; fetch those that are missing or damaged.

        Args:
            notice: Told what is fetched, and of each damaged jar.

        Raises:
            JarsUnavailable: One cannot be fetched.
            JarDamaged: One has another checksum than it must, also after it was fetched anew.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / ".lock").open("w") as lock:
            # jgo writes in place: two starts at once must not fetch into the same file.
            fcntl.flock(lock, fcntl.LOCK_EX)
            wanted = [jar for jar in self._jars if not self._is_whole(jar, notice)]
            if wanted:
                notice(f"Fetching {len(wanted)} of Kafka's {len(self._jars)} jars from {self._repository} ...")
                self._fetch_all(wanted)
        return tuple(self.path(jar) for jar in self._jars)

    def path(self, jar: Jar) -> Path:
        """Return where a jar lies, or would."""
        path: Path | None = self._context.create_dependency(jar.coordinate).artifact.cached_path
        if path is None:
            raise ValueError(f"no place in {self._directory} for {jar.coordinate}")
        return path

    def _is_whole(self, jar: Jar, notice: Notice) -> bool:
        path = self.path(jar)
        if not path.exists():
            return False
        is_whole = digest(path) == jar.sha256
        if not is_whole:
            notice(f"{path} is damaged: its checksum is not the one in the repository. Fetching it anew.")
        return is_whole

    def _fetch_all(self, jars: Sequence[Jar]) -> None:
        with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
            downloads = [pool.submit(self._fetch, jar) for jar in jars]
            try:
                for download in as_completed(downloads):
                    download.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _fetch(self, jar: Jar) -> None:
        path = self.path(jar)
        # jgo takes whatever file is there, a torn download too.
        path.unlink(missing_ok=True)
        try:
            self._context.create_dependency(jar.coordinate).artifact.resolve()
        except (requests.RequestException, RuntimeError, OSError) as error:
            raise JarsUnavailable(jar.coordinate, self._repository, _first_line(error)) from error
        found = digest(path)
        if found != jar.sha256:
            raise JarDamaged(path, jar.sha256, found)


def _context(directory: Path, repository: str) -> MavenContext:
    return MavenContext(repo_cache=directory, remote_repos={"repository": repository}, timeout=_TIMEOUT_SECONDS)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"


def resolve(directory: Path) -> tuple[Jar, ...]:
    """Return the closure of ``KAFKA`` as Maven Central has it now, with the checksums of what it delivers."""
    context = _context(directory, MAVEN_CENTRAL_URL)
    inputs, transitive = context.resolver.resolve([context.create_dependency(name) for name in (KAFKA, _LOGGING)])
    artifacts = [item.artifact for item in (*inputs, *transitive) if item.scope in (None, "compile", "runtime")]
    return tuple(
        sorted(
            (
                Jar(f"{found.groupId}:{found.artifactId}:{found.version}", digest(found.resolve()))
                for found in artifacts
                if f"{found.groupId}:{found.artifactId}" not in _LEFT_OUT
            ),
            key=lambda jar: jar.coordinate,
        )
    )


if __name__ == "__main__":
    for entry in resolve(cache_directory(os.environ) / "jars"):
        sys.stdout.write(f"{entry.sha256}  {entry.coordinate}\n")
