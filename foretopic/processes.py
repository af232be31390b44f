"""Child processes that cannot outlive us, and what the machine says about processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from runtime.clock import Clock

_LEASH = Path(__file__).with_name("leash.py")
_POLL_SECONDS = 0.02


def start_child(
    command: Sequence[str],
    *,
    log_path: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a process group of its own, its output appended to ``log_path``.

    The kernel kills it when the *thread* that calls this ends, so call it from one that lives as long as the child.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *command]
    # For our eyes alone: the first start of a gateway with accounts shows a one-time password.
    descriptor = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        return subprocess.Popen(  # noqa: S603  # the command is ours
            leash,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=directory,
            start_new_session=True,
        )


def signal_group(group: int, number: signal.Signals) -> bool:
    """Send a signal to every process of a group; tell whether there was one."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS says so of a group in which only zombies are left.
        return False
    return True


def stop_child(process: subprocess.Popen[bytes], *, deadline_seconds: float) -> int:
    """Ask a child to end, kill its whole group at the deadline or once it has ended; return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(deadline_seconds)
        except subprocess.TimeoutExpired:
            signal_group(process.pid, signal.SIGKILL)
    signal_group(process.pid, signal.SIGKILL)
    return process.wait()


def wait_until(condition: Callable[[], bool], *, clock: Clock, deadline_seconds: float) -> bool:
    """Ask ``condition`` until it holds; tell whether it did before the deadline."""
    end = clock.monotonic() + deadline_seconds
    while not condition():
        if clock.monotonic() >= end:
            return False
        clock.sleep(_POLL_SECONDS)
    return True


def tail(path: Path, *, lines: int, max_bytes: int = 256 * 1024, after: int = 0) -> str:
    """Return the last lines of a text file, read from byte ``after`` at the earliest; empty when there is none."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(after, size - max_bytes))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:] if lines else ())


def describe_owner(port: int) -> str:
    """Return who listens on a TCP port of this machine, as far as we may see it; empty otherwise."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return ""
    for connection in connections:
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
            try:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
            except psutil.Error:
                return f"process {connection.pid}"
    return ""


def describe_exit(code: int | None) -> str:
    """Return how a process ended: its exit code, or the signal that killed it.

    >>> describe_exit(-9)
    'SIGKILL'
    >>> describe_exit(1)
    'exit code 1'
    """
    if code is None:
        return "no exit code"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
