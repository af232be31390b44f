"""Runs the migrations from code: no configuration file, no command."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

#: Said before anything else, so that of two programs that start at once the second waits, and finds it done.
_ALONE = {
    # Any number that nothing else on the server locks; free again at the end of the transaction.
    "postgresql": "SELECT pg_advisory_xact_lock(7042117096)",
    # Python's driver begins no transaction by itself before a table is made.
    "sqlite": "BEGIN IMMEDIATE",
}


def upgrade(engine: Engine, scripts: Path = Path(__file__).parent) -> None:
    """Bring the tables of ``engine`` to the newest revision of ``scripts``; a new database gets all of them.

    It is done whole or not at all, and by one program at a time.
    """
    config = Config()
    config.set_main_option("script_location", str(scripts))
    with engine.begin() as connection:
        connection.exec_driver_sql(_ALONE[engine.dialect.name])
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
