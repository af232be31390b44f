"""What a child gives up, seen in children: no limit can be taken back here."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1024 * 1024
BEGIN = (
    "from runtime.process_limits import limit_process\nlimit_process(memory_bytes={}, cpu_seconds={}, file_bytes={})\n"
)


def child(code: str, folder: Path, cpu_seconds: int = 60) -> tuple[int, str]:
    """Return how a child ended and what it said; the time that its start takes counts too."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN.format(256 * MIB, cpu_seconds, MIB) + code.format(folder=folder)],
        capture_output=True,
        check=False,
        timeout=120,
        text=True,
    )
    return done.returncode, done.stderr


def test_memory_is_limited(tmp_path: Path) -> None:
    """Red without RLIMIT_AS."""
    code, said = child("bytearray(512 * 1024 * 1024)", tmp_path)
    assert (code, "MemoryError" in said) == (1, True)


def test_processor_time_is_limited(tmp_path: Path) -> None:
    """Red without RLIMIT_CPU: it would be ended by the deadline of this test alone."""
    assert child("while True: pass", tmp_path, cpu_seconds=1)[0] in (-signal.SIGXCPU, -signal.SIGKILL)


def test_files_are_limited_and_it_is_an_error_like_others(tmp_path: Path) -> None:
    """Red without RLIMIT_FSIZE."""
    code, said = child(
        "open('{folder}/x', 'wb').write(bytes(2 * 1024 * 1024))\nopen('{folder}/x', 'ab').write(b'x')", tmp_path
    )
    assert (code, "File too large" in said) == (1, True)
    assert (tmp_path / "x").stat().st_size == MIB


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_CORE"])
def test_no_limit_can_be_taken_back(tmp_path: Path, limit: str) -> None:
    """Red when the hard limit is left as it was; root alone may raise it again."""
    code, said = child(
        f"import resource\nprint(resource.getrlimit(resource.{limit})[1] == resource.RLIM_INFINITY and 1/0)", tmp_path
    )
    assert code == 0, said
