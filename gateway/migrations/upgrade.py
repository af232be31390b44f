"""Runs the migrations from code: no configuration file, no command."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine


def upgrade(engine: Engine, scripts: Path = Path(__file__).parent) -> None:
    """Bring the tables of ``engine`` to the newest revision of ``scripts``; a new database gets all of them."""
    config = Config()
    config.set_main_option("script_location", str(scripts))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
