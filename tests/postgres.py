"""One PostgreSQL server for all tests of a run, and a database of its own for each, copied from a migrated one."""

from __future__ import annotations

import itertools
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from gateway.accounts.database import open_accounts
from gateway.migrations.upgrade import upgrade
from gateway.store import open_engine
from runtime.clock import SystemClock


class Databases:
    """Makes databases on a server."""

    def __init__(self, server: str) -> None:
        self._server = make_url(server).set(drivername="postgresql+psycopg")
        self._numbers = itertools.count()
        self._is_ready = False
        self._of_folders: dict[Path, str] = {}

    def new(self) -> str:
        """Return the URL of a new database with the tables of a gateway and of accounts."""
        if not self._is_ready:
            self._run("CREATE DATABASE migrated")
            engine = open_engine(self._url("migrated"))
            upgrade(engine)
            engine.dispose()
            open_accounts(self._url("migrated"), SystemClock()).engine.dispose()
            # Those who have left may still be there for a while, and the server copies nothing that somebody is in.
            self._run("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = 'migrated'")
            self._is_ready = True
        return self._copy("migrated")

    def of_folder(self, folder: Path) -> str:
        """Return the URL of the database that stands for the files in ``folder``: the same whenever it is asked for."""
        if folder not in self._of_folders:
            self._of_folders[folder] = self.new()
        return self._of_folders[folder]

    def empty(self) -> str:
        """Return the URL of a new database without tables."""
        return self._copy("template0")

    def _copy(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url(name)

    def _url(self, name: str) -> str:
        return self._server.set(database=name, drivername="postgresql").render_as_string(hide_password=False)

    def _run(self, statement: str) -> None:
        engine = create_engine(self._server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()


#: What the gateways of tests use that name no database; `--database postgresql` sets it.
of_worlds: Databases | None = None
