"""The accounts database: one engine, short transactions, faults as the rest of the gateway has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, Engine, event

from gateway.migrations.upgrade import upgrade
from gateway.rows import microseconds
from gateway.store import open_engine, translated
from runtime.clock import Clock

MIGRATIONS = Path(__file__).parent / "migrations"
_DAY_US = 86_400_000_000


def open_accounts(url: str, clock: Clock) -> AccountsDatabase:
    """Return the accounts database at ``url``, its tables brought up to date."""
    engine = open_engine(url)
    # Errors of the database go to the log, and parameters may be secrets.
    engine.hide_parameters = True
    if engine.dialect.name == "sqlite":
        _protect(engine)
    upgrade(engine, MIGRATIONS)
    return AccountsDatabase(engine, clock)


def _protect(engine: Engine) -> None:
    """Keep the file from others on this machine, since it holds signing keys; let references between rows hold."""
    if engine.url.database:
        path = Path(engine.url.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys=ON")


class AccountsDatabase:
    """Gives connections. Everything may raise `gateway.store.StoreUnavailable`.

    Attributes:
        generation: Moves with every `change`; what was read under an earlier one may be out of date.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
        self.generation = 0

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that changes nothing."""
        with translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection whose changes are kept together, or not at all."""
        with translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def change(self) -> Iterator[Connection]:
        """Give a connection as `write` does, for what decides who may do what: it holds here at once."""
        try:
            with self.write() as connection:
                yield connection
        finally:
            self.generation += 1

    def now_us(self) -> int:
        """Return the time in microseconds since the epoch."""
        return microseconds(self.clock.now())

    def today(self) -> int:
        """Return the day (UTC) as its number since the epoch: by it is counted what a day brings."""
        return self.now_us() // _DAY_US


def new_row_id(kind: str) -> str:
    """Return a random id whose prefix says what it names, e.g. ``org_`` and 24 hexadecimal digits."""
    return f"{kind}_{token_hex(12)}"
