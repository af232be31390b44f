"""A PostgreSQL server of one's own, from the programs on the PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foretopic.ports import free_port


class PostgresMissing(RuntimeError):
    """Say what is not installed."""


@contextmanager
def postgres_server(*options: str) -> Iterator[str]:
    """Yield the URL of a new, empty server on the loopback address.

    Args:
        options: Settings such as ``fsync=off``.

    Raises:
        PostgresMissing: It cannot be started here.
    """
    initdb, pg_ctl = shutil.which("initdb"), shutil.which("pg_ctl")
    if initdb is None or pg_ctl is None:
        raise PostgresMissing("PostgreSQL not found: initdb and pg_ctl must be on the PATH")
    # The server may run as another user, who cannot enter a folder that is private to us.
    folder = Path(tempfile.mkdtemp(prefix="foretopic-postgres-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise PostgresMissing("PostgreSQL does not run as root, and setpriv is not there to run it as nobody")
        as_user = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chown(folder, 65534, 65534)
    port = free_port()
    data, log = folder / "data", folder / "log"
    given = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    given += "".join(f" -c {option}" for option in options)
    # How long pg_ctl waits: a machine may have much else to do.
    environment = {**os.environ, "HOME": str(folder), "PGCTLTIMEOUT": "300"}

    def run(*command: str) -> None:
        done = subprocess.run(
            [*as_user, *command],
            check=False,
            env=environment,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.decode()}")

    try:
        run(initdb, "-D", str(data), "-U", "foretopic", "-A", "trust", "-E", "UTF8", "--no-sync")
        run(pg_ctl, "-D", str(data), "-l", str(log), "-o", given, "-w", "start")
        try:
            yield f"postgresql://foretopic@127.0.0.1:{port}/postgres"
        finally:
            run(pg_ctl, "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
