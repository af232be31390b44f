"""The tables of accounts: migrations and metadata say the same, and the file is for its owner only."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from gateway.accounts.database import open_accounts
from gateway.accounts.tables import METADATA
from tests.fakes import ManualClock


def differences(engine: Engine) -> list[object]:
    """Return how the migrated tables differ from those of the code."""
    with engine.connect() as connection:
        # On one database with the projection the other tables are not ours.
        options = {
            "version_table": "accounts_version",
            "include_name": lambda name, kind, _parents: kind != "table" or name in METADATA.tables,
            "compare_type": True,
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))


def test_the_migrations_make_the_tables_of_today(tmp_path: Path) -> None:
    database = open_accounts(f"sqlite:///{tmp_path / 'accounts.db'}", ManualClock())

    assert differences(database.engine) == []
    database.engine.dispose()


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    database = open_accounts(f"sqlite:///{tmp_path / 'home' / 'accounts.db'}", ManualClock())
    with database.read():
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "home").iterdir()}
    database.engine.dispose()

    # Goes red without `_protect`: the signing keys stand in it.
    assert modes["accounts.db"] == 0o600
    assert set(modes.values()) == {0o600}
